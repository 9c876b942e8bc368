//! References of container images, normalised as container runtimes do.

use domain::image::ImageParts;

/// An image reference: `[registry/]repository[:tag][@digest]`, with Docker Hub's defaults filled in.
///
/// Grammar and defaults: the `reference` package of the distribution project (`docker.io`, `library/`, `latest`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ImageRef {
    /// Registry and repository: `docker.io/library/nginx`.
    pub(crate) repository: String,
    /// `None` where only a digest is given.
    pub(crate) tag: Option<String>,
    /// `sha256:…`.
    pub(crate) digest: Option<String>,
}

impl ImageRef {
    /// `None` for an empty text or one with blanks.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_whitespace) {
            return None;
        }
        let parts = ImageParts::of(text);
        let tag = parts.tag.or(if parts.digest.is_none() { Some("latest") } else { None });
        Some(Self {
            repository: parts.repository(),
            tag: tag.map(str::to_owned),
            digest: parts.digest.map(str::to_ascii_lowercase),
        })
    }

    /// Whether both name one image: the digest decides where both have one, else the tag.
    pub(crate) fn names_same_image(&self, other: &Self) -> bool {
        self.repository == other.repository
            && match (&self.digest, &other.digest) {
                (Some(own), Some(others)) => own == others,
                _ => self.tag.is_some() && self.tag == other.tag,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_has_many_names() {
        let same =
            |a: &str, b: &str| ImageRef::parse(a).unwrap().names_same_image(&ImageRef::parse(b).unwrap());
        for (a, b) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "index.docker.io/library/nginx:1.27"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("localhost/a", "localhost/a:latest"),
            ("GHCR.io/a/b:1", "ghcr.io/a/b:1"),
            ("nginx@sha256:AB", "docker.io/nginx@sha256:ab"),
            ("nginx:1.27@sha256:ab", "nginx:1.26@sha256:ab"),
            ("nginx:1.27@sha256:ab", "nginx:1.27"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("nginx", "nginx:1"),
            ("nginx", "ghcr.io/library/nginx"),
            ("nginx", "a/nginx"),
            ("nginx:1@sha256:ab", "nginx:1@sha256:cd"),
            ("nginx@sha256:ab", "nginx"),
            ("localhost:5000/a", "localhost:5001/a"),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
        assert_eq!(ImageRef::parse("  "), None);
        assert_eq!(ImageRef::parse("a b"), None);
    }
}
