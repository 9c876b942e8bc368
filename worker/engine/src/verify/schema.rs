//! Gate *schema*, at its embedded depth: the structure of built-in kinds.

use domain::outcome::GateResult;
use serde_json::Value;

use crate::document::Document;
use crate::schema::{Report, Structural};

/// The verdict on a document as it was written.
pub(super) fn of_document(document: &Document) -> GateResult {
    result(&Structural::embedded().validate(&document.value, &document.duplicate_keys))
}

/// The verdict on an object that was made here: it has no duplicate keys.
pub(super) fn of_value(value: &Value) -> GateResult {
    result(&Structural::embedded().validate(value, &[]))
}

/// A kind that the schemas do not know has no verdict.
fn result(report: &Report) -> GateResult {
    match report {
        Report::Valid => GateResult::from_errors(Vec::new()),
        Report::Invalid(errors) => GateResult::from_errors(errors.iter().map(ToString::to_string).collect()),
        Report::UnknownKind { .. } => GateResult::NOT_RUN,
    }
}
