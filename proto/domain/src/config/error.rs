//! Error of an invalid configuration.

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidConfig {
    pub(crate) key: &'static str,
    pub(crate) reason: String,
}
