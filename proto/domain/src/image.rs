//! References of container images: `[registry/]repository[:tag][@digest]`.
//!
//! Grammar and defaults: the `reference` package of the distribution project (`docker.io`, `library/`).

/// The parts of an image reference, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageParts<'t> {
    /// Registry and repository: `registry.example.com:5000/team/web`.
    pub name: &'t str,
    /// What stands after the colon behind the name; may be empty.
    pub tag: Option<&'t str>,
    /// `sha256:…`.
    pub digest: Option<&'t str>,
}

impl<'t> ImageParts<'t> {
    /// Splits any text; what surrounds it of blanks is no part of it. A colon before the last slash belongs to the port of a
    /// registry.
    pub fn of(text: &'t str) -> Self {
        let text = text.trim();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let name_at = rest.rfind('/').map_or(0, |slash| slash + 1);
        let colon = rest.get(name_at..).and_then(|name| name.find(':')).map(|colon| name_at + colon);
        let (name, tag) = match colon.and_then(|colon| Some((rest.get(..colon)?, rest.get(colon + 1..)?))) {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        Self { name, tag, digest }
    }

    /// Registry and repository with Docker Hub's defaults filled in: `docker.io/library/nginx` for `nginx`.
    pub fn repository(&self) -> String {
        let (registry, rest) = match self.name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", self.name),
        };
        let hub = matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io");
        let registry = if hub { "docker.io" } else { registry };
        let library = if hub && !rest.contains('/') { "library/" } else { "" };
        format!("{}/{library}{rest}", registry.to_ascii_lowercase())
    }

    /// Whether a node that has the image asks for a newer one by default: `latest`, or neither a tag nor a digest
    /// (Kubernetes documentation, *Images*, *Default image pull policy*).
    pub fn is_always_pulled(&self) -> bool {
        self.digest.is_none() && matches!(self.tag, None | Some("latest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        for (text, name, tag, digest) in [
            ("nginx", "nginx", None, None),
            (" nginx:1.27 ", "nginx", Some("1.27"), None),
            ("r:5000/x", "r:5000/x", None, None),
            ("r:5000/x:1", "r:5000/x", Some("1"), None),
            ("r:5000/a/x:1@sha256:ab", "r:5000/a/x", Some("1"), Some("sha256:ab")),
            ("x@sha256:ab", "x", None, Some("sha256:ab")),
            ("x:", "x", Some(""), None),
            ("", "", None, None),
        ] {
            assert_eq!(ImageParts::of(text), ImageParts { name, tag, digest }, "{text:?}");
        }
    }

    #[test]
    fn one_repository_has_many_names() {
        let same = |a: &str, b: &str| ImageParts::of(a).repository() == ImageParts::of(b).repository();
        for (a, b) in [
            ("nginx", "docker.io/library/nginx:1"),
            ("index.docker.io/library/nginx", "library/nginx"),
            ("GHCR.io/a/b:1", "ghcr.io/a/b@sha256:00"),
            ("localhost/a", "localhost/a:2"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in
            [("nginx", "ghcr.io/library/nginx"), ("nginx", "a/nginx"), ("r:1/a", "r:2/a"), ("", "a")]
        {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_pulled_by_default() {
        for text in ["x", "x:latest", "r:5000/x"] {
            assert!(ImageParts::of(text).is_always_pulled(), "{text}");
        }
        for text in ["x:1", "x:stable", "x@sha256:ab", "x:latest@sha256:ab"] {
            assert!(!ImageParts::of(text).is_always_pulled(), "{text}");
        }
    }
}
