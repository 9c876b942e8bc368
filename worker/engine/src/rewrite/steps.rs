//! Splits an operation into the smallest text edits.

use domain::pointer::Pointer;
use serde_json::Value;

/// One edit of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The node gets another value as a whole.
    Set(Pointer, Value),
    /// A mapping with entries gets a further one.
    InsertKey(Pointer, String, Value),
    /// A mapping loses an entry.
    RemoveKey(Pointer),
    /// A list with entries gets a further one before the entry at this index (behind the last: at its length).
    InsertItem(Pointer, usize, Value),
    /// A list loses an entry.
    RemoveItem(Pointer, usize),
}

impl Step {
    /// Whether `document` is already as it is after this step. Insertion and removal in a list are never done twice.
    pub(super) fn is_done(&self, document: &Value) -> bool {
        match self {
            Self::Set(at, value) => at.resolve(document) == Some(value),
            Self::InsertKey(map, key, value) => map.child(key).resolve(document) == Some(value),
            Self::RemoveKey(at) => at.resolve(document).is_none(),
            Self::InsertItem(..) | Self::RemoveItem(..) => false,
        }
    }
}

/// The steps from `old` to `new`, the value of the node at `at`. What is the same in both is not touched.
pub(super) fn between(old: &Value, new: &Value, at: &Pointer, steps: &mut Vec<Step>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !before.is_empty() && !after.is_empty() => {
            let shared = before.keys().any(|key| after.contains_key(key));
            if !shared {
                steps.push(Step::Set(at.clone(), new.clone()));
                return;
            }
            for (key, value) in after {
                match before.get(key) {
                    Some(old) => between(old, value, &at.child(key), steps),
                    None => steps.push(Step::InsertKey(at.clone(), key.clone(), value.clone())),
                }
            }
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            steps.extend(gone.map(|key| Step::RemoveKey(at.child(key))));
        }
        (Value::Array(before), Value::Array(after)) if !before.is_empty() && !after.is_empty() => {
            lists(before, after, at, steps);
        }
        _ => steps.push(Step::Set(at.clone(), new.clone())),
    }
}

fn lists(before: &[Value], after: &[Value], at: &Pointer, steps: &mut Vec<Step>) {
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let (before_rest, after_rest) = (&before[head..], &after[head..]);
    let tail =
        before_rest.iter().rev().zip(after_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let old = &before_rest[..before_rest.len() - tail];
    let new = &after_rest[..after_rest.len() - tail];
    for (index, (old, new)) in old.iter().zip(new).enumerate() {
        between(old, new, &at.index(head + index), steps);
    }
    let paired = old.len().min(new.len());
    for index in (paired..old.len()).rev() {
        steps.push(Step::RemoveItem(at.clone(), head + index));
    }
    for (index, value) in new.iter().enumerate().skip(paired) {
        steps.push(Step::InsertItem(at.clone(), head + index, value.clone()));
    }
}
