//! Why settings are refused.

use std::io;
use std::path::PathBuf;

use super::origin::Origin;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("configuration file {} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    /// The file is not YAML.
    #[error("configuration file {} is not YAML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    /// A flag is not `KEY=VALUE`.
    #[error("--set {flag:?} is not KEY=VALUE")]
    MalformedFlag { flag: String },
    /// The key does not exist.
    #[error("unknown key {key:?} ({origin}){}", nearest.as_ref().map(|key| format!("; did you mean {key:?}?")).unwrap_or_default())]
    UnknownKey { key: String, origin: Origin, nearest: Option<String> },
    /// The value has another type than the default.
    #[error("key {key:?} ({origin}) takes {expected}, not {found}")]
    WrongType { key: String, origin: Origin, expected: &'static str, found: &'static str },
}
