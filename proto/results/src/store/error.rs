//! Errors of a store, and what of a failed request may be said.
//!
//! *Invariant*: no message holds what a server sent or what a URL carries beyond bucket and key: bodies of errors repeat access
//! keys and signatures.

use std::error::Error;
use std::path::PathBuf;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum StoreError {
    /// A kind of store this build does not have.
    #[error("{location}: this program has no '{scheme}' stores; name a folder")]
    NotBuilt { location: String, scheme: &'static str },
    /// An unknown URL scheme. The rest of the URL may hold a secret and is not repeated.
    #[error("unknown scheme '{scheme}' of a store; use a path or file://, s3://, gs:// or az://")]
    UnknownScheme { scheme: String },
    /// A URL with more than bucket and prefix, which may be a secret and is not repeated.
    #[error(
        "the {scheme}:// URL has a {part}: it is {scheme}://BUCKET/PREFIX alone, and credentials come from the environment"
    )]
    UrlSecrets { scheme: &'static str, part: &'static str },
    /// A URL without a bucket, or with a prefix that no store can hold.
    #[error("{0}: the URL of a store has the form SCHEME://BUCKET/PREFIX")]
    BadUrl(String),
    /// The environment has settings with which no request can be made.
    #[error("{location}: {reason}")]
    Settings { location: String, reason: String },
    /// A `file://` URL that names no absolute path on this machine.
    #[error("{0}: a file URL has the form file:///absolute/path")]
    BadFileUrl(String),
    /// The folder cannot be made or opened.
    #[error("cannot open the folder {}: {}; name a folder that can be written to", path.display(), why(error))]
    Folder { path: PathBuf, error: std::io::Error },
    /// An empty text.
    #[error("the folder has no name; . is the current one")]
    NoName,
    /// A key that the store cannot hold.
    #[error("{0:?} is not a legal key")]
    BadKey(String),
    /// The object does not exist.
    #[error("{location}/{key} does not exist")]
    Missing { location: String, key: String },
    /// An object is not what its reader was told, or more than it reads into memory.
    #[error("{location}/{key} has {found} bytes, {expected}")]
    Size { location: String, key: String, found: u64, expected: String },
    /// An operation of the store failed.
    #[error("cannot {action} {location}/{key}: {source}")]
    Failed { action: &'static str, location: String, key: String, source: Box<dyn Error + Send + Sync> },
}

/// What is in the way of a folder.
fn why(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => "a file of that name is in its place".to_owned(),
        std::io::ErrorKind::NotADirectory => "a part of the path is a file".to_owned(),
        _ => error.to_string(),
    }
}

/// What is said of a request of a bucket that failed: kind, status, code of the error, and the fault of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct RequestFailed(String);

impl RequestFailed {
    pub(super) fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let text = error.to_string();
        let kind = match error {
            E::PermissionDenied { .. } => "access is denied",
            E::Unauthenticated { .. } => "the credentials are not accepted",
            E::NotImplemented { .. } | E::NotSupported { .. } => "the server does not support the request",
            _ if lacks_bucket(error) => "there is no such bucket",
            E::Precondition { .. } => "a condition of the request was not met",
            _ if asks_for_credentials(&text) => {
                "no credentials were found in the environment, and this machine provides none"
            }
            _ => "the request failed",
        };
        let details: Vec<String> = [status(&text), code(&text), fault(error)].into_iter().flatten().collect();
        if details.is_empty() {
            Self(kind.to_owned())
        } else {
            Self(format!("{kind} ({})", details.join(", ")))
        }
    }
}

/// Whether not the object is missing, but its bucket.
pub(super) fn lacks_bucket(error: &object_store::Error) -> bool {
    let text = error.to_string();
    ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"].iter().any(|code| text.contains(code))
}

/// Whether a request was made to where a cloud gives its machines their credentials.
fn asks_for_credentials(text: &str) -> bool {
    ["169.254.169.254", "169.254.170.2", "metadata.google.internal"].iter().any(|host| text.contains(host))
}

/// The HTTP status in the text of an error.
fn status(text: &str) -> Option<String> {
    let (_, after) = text.split_once("status code: ")?;
    let digits: String = after.chars().take(3).take_while(char::is_ascii_digit).collect();
    (digits.len() == 3).then(|| format!("HTTP {digits}"))
}

/// The code of an error in XML, such as `NoSuchBucket`.
fn code(text: &str) -> Option<String> {
    let (_, after) = text.split_once("<Code>")?;
    let (code, _) = after.split_once("</Code>")?;
    ((1..=40).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .then(|| code.to_owned())
}

/// The fault of the connection, which its operating system or TLS names.
fn fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    let mut found = None;
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            found = Some(io.to_string());
        }
        next = error.source();
    }
    found.filter(|text| text.len() <= 200 && !text.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn what_a_server_sends_is_not_repeated() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                    <AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId><StringToSign>secret</StringToSign></Error>";
        let denied = object_store::Error::PermissionDenied { path: "k".to_owned(), source: body.into() };
        assert_eq!(
            RequestFailed::of(&denied).to_string(),
            "access is denied (HTTP 403, SignatureDoesNotMatch)"
        );
        let sas =
            failed("Error performing GET https://a.blob.core.windows.net/c?sig=secret: status code: 500");
        assert_eq!(RequestFailed::of(&sas).to_string(), "the request failed (HTTP 500)");
        let odd = failed("<Code>AKIA 1234</Code>");
        assert_eq!(RequestFailed::of(&odd).to_string(), "the request failed");
    }

    #[test]
    fn missing_credentials_and_faults_of_connections_are_named() {
        let none = failed("Error performing PUT http://169.254.169.254/latest/api/token: timed out");
        assert!(RequestFailed::of(&none).to_string().starts_with("no credentials were found"));
        let refused = std::io::Error::from_raw_os_error(111);
        let refused = object_store::Error::Generic { store: "S3", source: refused.into() };
        assert!(RequestFailed::of(&refused).to_string().contains("Connection refused"));
    }
}
