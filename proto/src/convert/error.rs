//! Validation error of a message, and the checks that every conversion uses.

use crate::secret::SharedSecret;

/// A field of a received message is missing or invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field} of the message is not legal: {reason}")]
pub struct BadMessage {
    /// Path of the field.
    pub field: &'static str,
    pub(crate) reason: String,
}

impl BadMessage {
    /// Creates an error for a field.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass errors by value in `map_err`")]
    pub fn new(field: &'static str, reason: impl ToString) -> Self {
        Self { field, reason: reason.to_string() }
    }
}

/// The value of a field that must be present.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, BadMessage> {
    value.ok_or_else(|| BadMessage::new(field, "is missing"))
}

/// A hash of exactly 32 bytes.
pub(crate) fn hash_bytes(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], BadMessage> {
    bytes.try_into().map_err(|_| BadMessage::new(field, format!("has {} bytes instead of 32", bytes.len())))
}

/// A secret of exactly 16 bytes.
pub(crate) fn secret(field: &'static str, bytes: &[u8]) -> Result<SharedSecret, BadMessage> {
    let length = SharedSecret::BYTES;
    let reason = || format!("has {} bytes instead of {length}", bytes.len());
    SharedSecret::from_slice(bytes).ok_or_else(|| BadMessage::new(field, reason()))
}
