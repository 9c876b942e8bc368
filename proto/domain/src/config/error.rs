//! Why a configuration is refused.

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidConfig {
    /// The key, dotted.
    pub key: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}
