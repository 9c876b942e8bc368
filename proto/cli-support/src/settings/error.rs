//! Why settings are refused.

use std::io;
use std::path::PathBuf;

use super::origin::Origin;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("configuration file {} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The file is not YAML.
    #[error("configuration file {} is not YAML: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A flag is not `KEY=VALUE`.
    #[error("--set {flag:?} is not KEY=VALUE")]
    MalformedFlag {
        /// What was given.
        flag: String,
    },
    /// No such key.
    #[error("unknown key {key:?} ({origin}){}", nearest.as_ref().map(|key| format!("; did you mean {key:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The most similar key.
        nearest: Option<String>,
    },
    /// The value has another type than the default.
    #[error("key {key:?} ({origin}) takes {expected}, not {found}")]
    WrongType {
        /// The key, dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What the key takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
}
