//! What a place of results names: a path, or the bucket and prefix of a URL. A URL carries no credentials.

use std::path::PathBuf;

use object_store::path::Path as Key;

use super::error::StoreError;

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    S3,
    Google,
    Azure,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Google),
            "az" => Some(Self::Azure),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// Bucket and prefix of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) scheme: Scheme,
    pub(super) name: String,
    pub(super) prefix: Key,
}

impl Bucket {
    /// The URL in its canonical form.
    pub(super) fn location(&self) -> String {
        let url = format!("{}://{}", self.scheme.as_str(), self.name);
        if self.prefix.as_ref().is_empty() { url } else { format!("{url}/{}", self.prefix) }
    }
}

/// What a place of results names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Folder(PathBuf),
    Bucket(Bucket),
}

impl Location {
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        match split_scheme(text) {
            None => Ok(Self::Folder(PathBuf::from(text))),
            Some("file") => {
                let path = file_url_path(text).ok_or_else(|| StoreError::BadFileUrl(text.to_owned()))?;
                Ok(Self::Folder(path))
            }
            Some(scheme) => {
                let known = Scheme::parse(scheme)
                    .ok_or_else(|| StoreError::UnknownScheme { scheme: scheme.chars().take(20).collect() })?;
                bucket(text, known).map(Self::Bucket)
            }
        }
    }
}

/// Whether a place is the URL of a bucket, of a known scheme or not.
pub fn is_bucket_url(place: &str) -> bool {
    split_scheme(place).is_some_and(|scheme| scheme != "file")
}

fn bucket(url: &str, scheme: Scheme) -> Result<Bucket, StoreError> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let secrets = |part| StoreError::UrlSecrets { scheme: scheme.as_str(), part };
    for (sign, part) in [('?', "query"), ('#', "fragment"), ('@', "user or password")] {
        if rest.contains(sign) {
            return Err(secrets(part));
        }
    }
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let bad = || StoreError::BadUrl(format!("{}://{rest}", scheme.as_str()));
    if name.is_empty() || !name.chars().all(legal) {
        return Err(if name.contains(':') { secrets("port or password") } else { bad() });
    }
    let prefix = prefix.trim_end_matches('/');
    let key = Key::parse(prefix).map_err(|_| bad())?;
    if key.as_ref() != prefix {
        return Err(bad());
    }
    Ok(Bucket { scheme, name: name.to_owned(), prefix: key })
}

/// The scheme of a URL, in its own spelling; `None` for a path.
fn split_scheme(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once("://")?;
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    legal.then_some(scheme)
}

/// The absolute path of a `file://` URL, percent-decoded (RFC 3986 §2.1).
fn file_url_path(url: &str) -> Option<PathBuf> {
    let encoded = url.strip_prefix("file://")?;
    let encoded = encoded.strip_prefix("localhost").unwrap_or(encoded);
    if !encoded.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, left) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = left;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Location::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn a_url_is_bucket_and_prefix() {
        for (url, name, prefix) in [
            ("s3://b", "b", ""),
            ("gs://b-1/", "b-1", ""),
            ("az://c/a/b/", "c", "a/b"),
            ("s3://x.y/p", "x.y", "p"),
        ] {
            let Location::Bucket(bucket) = Location::parse(url).unwrap() else { panic!("{url}") };
            assert_eq!((bucket.name.as_str(), bucket.prefix.as_ref()), (name, prefix));
            assert_eq!(bucket.location(), url.trim_end_matches('/'));
        }
        assert_eq!(Location::parse("a/b").unwrap(), Location::Folder("a/b".into()));
        assert!(is_bucket_url("s3://b") && !is_bucket_url("file:///x") && !is_bucket_url("a/b"));
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for url in [
            "s3://AKIA:hush@bucket/p",
            "s3://hush@bucket",
            "az://container/p?sig=hush",
            "gs://bucket/p#hush",
            "s3://AKIA:hush/p",
            "https://user:hush@host/p?sig=hush",
        ] {
            let refused = refusal(url);
            assert!(!refused.contains("hush"), "{refused}");
        }
        assert!(refusal("s3://a:b@c/p").contains("credentials come from the environment"));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["s3://", "s3:///p", "s3://b/../x", "s3://b//x", "gs://b/a/./x"] {
            assert!(refusal(url).contains("SCHEME://BUCKET/PREFIX"), "{url}: {}", refusal(url));
        }
        assert!(refusal("ftp://x").contains("unknown scheme 'ftp'"));
        assert!(refusal("file://host/x").contains("file:///absolute/path"));
    }
}
