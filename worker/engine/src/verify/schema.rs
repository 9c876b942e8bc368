//! Gate *schema*, at its embedded depth: what a server would say of built-in kinds.

use std::collections::BTreeMap;

use domain::api_server::KubernetesRelease;
use domain::outcome::GateResult;
use serde_json::Value;

use crate::document::Document;
use crate::schema::{Report, Structural};

/// The verdict on a document as it was written.
pub(super) fn of_document(document: &Document, release: KubernetesRelease) -> GateResult {
    result(&Structural::of(release).validate(&document.value, &document.duplicate_keys))
}

/// The verdict on a document after its patch. A key that was written twice still is, unless the patch removed it.
pub fn of_patched(document: &Document, patched: &Value, release: KubernetesRelease) -> GateResult {
    let twice: Vec<_> =
        document.duplicate_keys.iter().filter(|key| key.resolve(patched).is_some()).cloned().collect();
    result(&Structural::of(release).validate(patched, &twice))
}

/// The verdict on an object that was made here: it has no duplicate keys.
pub(super) fn of_value(value: &Value, release: KubernetesRelease) -> GateResult {
    result(&Structural::of(release).validate(value, &[]))
}

/// A kind that the schemas do not know has no verdict.
fn result(report: &Report) -> GateResult {
    match report {
        Report::Valid => GateResult::from_errors(Vec::new()),
        Report::Invalid(errors) => GateResult::from_errors(errors.iter().map(ToString::to_string).collect()),
        Report::UnknownKind { .. } => GateResult::NOT_RUN,
    }
}

/// Whether a patch adds an error to those that the document had, or had behind others: the server looks no further than
/// what it cannot decode, so that a patch that mends this brings to light what was wrong all along.
pub(super) fn is_worse(
    document: &Document,
    before: &[String],
    after: &[String],
    release: KubernetesRelease,
) -> bool {
    if !adds(before, after) {
        return false;
    }
    let hidden = Structural::of(release).hidden_errors(&document.value);
    let known: Vec<String> = before.iter().cloned().chain(hidden.iter().map(ToString::to_string)).collect();
    adds(&known, after)
}

/// Whether errors occur more often than before. A patch that takes an entry out of a list, or puts one in, moves the entries
/// behind it: list indices are not compared. Nor are the other fields of a duplicate entry, which its error repeats.
fn adds(before: &[String], after: &[String]) -> bool {
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

/// `spec.containers[0].name` → `spec.containers[].name`. An object or a list that an error shows is left out: a patch of
/// another field in it changes how it is shown.
fn without_indices(error: &str) -> String {
    const DUPLICATE: &str = ": Duplicate value";
    let error = error.find(DUPLICATE).and_then(|at| error.get(..at + DUPLICATE.len())).unwrap_or(error);
    let whole = without_shown(error);
    let error = whole.as_deref().unwrap_or(error);
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

/// `x: Invalid value: {"a":1}: message` → `x: Invalid value: message`; `None`: no object or list is shown. An object that is
/// absent is shown as `null`, and some errors have no message.
fn without_shown(error: &str) -> Option<String> {
    const INVALID: &str = ": Invalid value: ";
    let (place, rest) = error.split_once(INVALID)?;
    let message = match rest.as_bytes().first()? {
        b'{' => behind(rest, '}')?,
        b'[' => behind(rest, ']')?,
        _ => rest.strip_prefix("null: ")?,
    };
    Some(format!("{place}{INVALID}{message}"))
}

/// What follows the last bracket that ends a shown value.
fn behind(rest: &str, bracket: char) -> Option<&str> {
    let mut at = rest.rmatch_indices(bracket).map(|(at, _)| at + 1);
    let ends = |at: &usize| rest.get(*at..).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "));
    let behind = rest.get(at.find(ends)?..)?;
    Some(behind.strip_prefix(": ").unwrap_or(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: KubernetesRelease = KubernetesRelease::NEWEST;

    fn is_worse_in(before: &[&str], after: &[&str]) -> bool {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        adds(&owned(before), &owned(after))
    }

    #[test]
    fn what_stood_behind_an_unknown_field_is_the_documents() {
        let pod = |container: &str| {
            crate::testing::document(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: a, image: i, {container}}}]}}\n"
            ))
        };
        let judge = |document: &Document| of_document(document, NEWEST);
        let document = pod("foo: 1, imagePullPolicy: Sometimes");
        let (before, after) = (judge(&document), judge(&pod("imagePullPolicy: Sometimes")));
        assert_eq!(before.errors, ["strict decoding error: unknown field \"spec.containers[0].foo\""]);
        assert_eq!(after.errors.len(), 1, "{:?}", after.errors);
        assert!(!is_worse(&document, &before.errors, &after.errors, NEWEST));
        let other = judge(&pod("terminationMessagePolicy: Never"));
        assert!(is_worse(&document, &before.errors, &other.errors, NEWEST));
    }

    #[test]
    fn errors_that_move_are_the_documents() {
        assert!(!is_worse_in(&["env[3].value: x"], &["env[2].value: x"]));
        assert!(!is_worse_in(&["env[3].value: x"], &[]));
        assert!(is_worse_in(&["env[3].value: x"], &["env[2].value: x", "env[3].value: x"]), "one more");
        assert!(is_worse_in(&["env[3].value: x"], &["env[3].name: x"]));
        assert!(is_worse_in(&[], &["spec: x"]));
        assert!(!is_worse_in(&["p[1]: Duplicate value: {a: 1}"], &["p[1]: Duplicate value: {a: 2}"]));
        assert!(is_worse_in(&["p[1]: Duplicate value: {a: 1}"], &["q[1]: Duplicate value: {a: 1}"]));
        assert!(is_worse_in(&["port 80"], &["port 81"]), "numbers outside of brackets count");
        let shown =
            |value: &str| format!("spec.c[0].securityContext: Invalid value: {value}: cannot set `a`");
        assert!(
            !is_worse_in(&[&shown("{\"b\":1}")], &[&shown("{\"b\":1,\"c\":{\"d\":2}}")]),
            "another field of it"
        );
        let unlike = |labels: &str| format!("labels: Invalid value: {labels}: `selector` does not match");
        assert!(!is_worse_in(&[&unlike("null")], &[&unlike("{\"app\":\"web\"}")]), "labels where none were");
        assert!(!is_worse_in(&["s: Invalid value: {\"a\":1}"], &["s: Invalid value: {\"a\":\"1\"}"]));
        assert!(is_worse_in(&[&shown("\"text\"")], &[&shown("\"other\"")]));
        assert!(is_worse_in(&["x: Invalid value: [1]: a"], &["x: Invalid value: [1]: b"]));
    }
}
