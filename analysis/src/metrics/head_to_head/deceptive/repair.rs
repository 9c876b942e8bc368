//! What a detector is given.

use domain::record::Neighbours;
use serde_json::Value;

/// A repair with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair<'a> {
    /// Canonical id of the target policy.
    pub(super) policy: &'a str,
    /// The document.
    pub(super) before: &'a Value,
    /// The document with the patch applied.
    pub(super) after: &'a Value,
    pub(super) neighbours: &'a Neighbours,
    /// Findings that the document did not have, as `policy: message`.
    pub(super) new_violations: &'a [String],
}
