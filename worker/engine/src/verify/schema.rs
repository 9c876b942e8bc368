//! Gate *schema*, at its embedded depth: the structure of built-in kinds.

use std::collections::BTreeMap;

use domain::outcome::GateResult;
use serde_json::Value;

use crate::document::Document;
use crate::schema::{Report, Structural};

/// The verdict on a document as it was written.
pub(super) fn of_document(document: &Document) -> GateResult {
    result(&Structural::embedded().validate(&document.value, &document.duplicate_keys))
}

/// The verdict on a document after its patch. A key that was written twice still is, unless the patch removed it.
pub fn of_patched(document: &Document, patched: &Value) -> GateResult {
    let twice: Vec<_> =
        document.duplicate_keys.iter().filter(|key| key.resolve(patched).is_some()).cloned().collect();
    result(&Structural::embedded().validate(patched, &twice))
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

/// Whether a patch adds an error to those that the document had. A patch that takes an entry out of a list, or puts one
/// in, moves the entries behind it: list indices are not compared, only how often an error occurs.
pub(super) fn is_worse(before: &[String], after: &[String]) -> bool {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for error in before {
        *known.entry(without_indices(error)).or_default() += 1;
    }
    after.iter().any(|error| match known.get_mut(&without_indices(error)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    })
}

/// `spec.containers[0].name` → `spec.containers[].name`.
fn without_indices(error: &str) -> String {
    let mut text = String::with_capacity(error.len());
    let mut is_index = false;
    for c in error.chars() {
        is_index = c == '[' || (is_index && c.is_ascii_digit());
        if !is_index || c == '[' {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_worse_in(before: &[&str], after: &[&str]) -> bool {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        is_worse(&owned(before), &owned(after))
    }

    #[test]
    fn errors_that_move_are_the_documents() {
        assert!(!is_worse_in(&["env[3].value: x"], &["env[2].value: x"]));
        assert!(!is_worse_in(&["env[3].value: x"], &[]));
        assert!(is_worse_in(&["env[3].value: x"], &["env[2].value: x", "env[3].value: x"]), "one more");
        assert!(is_worse_in(&["env[3].value: x"], &["env[3].name: x"]));
        assert!(is_worse_in(&[], &["spec: x"]));
        assert!(is_worse_in(&["port 80"], &["port 81"]), "numbers outside of brackets count");
    }
}
