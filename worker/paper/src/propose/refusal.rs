//! Reasons of a rule that yields no operation.

/// Why a rule made no operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The document has nothing that the rule changes.
    NothingToFix,
    /// The rule does not dare, or cannot.
    Refused(&'static str),
}
