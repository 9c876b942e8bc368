//! Why a message is refused, and checks that every conversion needs.

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field} of the message is not legal: {reason}")]
pub struct BadMessage {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl BadMessage {
    /// Names the field and says what is wrong with it.
    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over where they are mapped")]
    pub fn new(field: &'static str, reason: impl ToString) -> Self {
        Self { field, reason: reason.to_string() }
    }
}

/// A message of which nothing may be missing.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, BadMessage> {
    value.ok_or_else(|| BadMessage::new(field, "is missing"))
}

/// A hash on the wire: 32 bytes.
pub(crate) fn hash_bytes(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], BadMessage> {
    bytes.try_into().map_err(|_| BadMessage::new(field, format!("has {} bytes instead of 32", bytes.len())))
}
