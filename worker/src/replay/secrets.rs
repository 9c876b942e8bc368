//! Masks the secrets of a recorded patch, as if the model had been shown the masked document.
//!
//! *Invariant*: a response contains no more of a secret than its prompt.

use std::collections::{BTreeMap, BTreeSet};

use domain::patch::Patch;
use engine::propose::mask::{MaskError, Masked};
use serde_json::Value;

/// Most texts of a patch that are checked for secrets.
const MOST_TEXTS: usize = 64;

/// Replaces a masked text by its token where the patch repeats it at its own place. At another place an equal text is a
/// coincidence (a name, a number), and stays.
pub(super) fn without_secrets(patch: &Value, original: &Value, masked: &Masked) -> Value {
    let mut tokens = BTreeMap::new();
    pairs(original, &masked.value, &mut |value, shown| {
        if value != shown {
            tokens.insert(value.to_string(), shown.clone());
        }
    });
    let mut chosen = BTreeSet::new();
    let (_, texts) = replaced(patch, &tokens, &chosen);
    for index in 0..texts.min(MOST_TEXTS) {
        chosen.insert(index);
        let (candidate, _) = replaced(patch, &tokens, &chosen);
        let restored = serde_json::from_value::<Patch>(candidate).map(|patch| masked.restore(&patch));
        if matches!(restored, Ok(Err(MaskError::Moved { .. } | MaskError::Unknown(_)))) {
            chosen.remove(&index);
        }
    }
    replaced(patch, &tokens, &chosen).0
}

/// Calls `visit` with every scalar of `a` and its counterpart in `b`, which has the same form.
fn pairs(a: &Value, b: &Value, visit: &mut impl FnMut(&Value, &Value)) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            for (a, b) in a.iter().zip(b) {
                pairs(a, b, visit);
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            // Keys may be masked, and keep their order.
            for (a, b) in a.values().zip(b.values()) {
                pairs(a, b, visit);
            }
        }
        (a, b) => visit(a, b),
    }
}

/// Replaces the `chosen` masked texts of the patch; returns the number of masked texts too.
fn replaced(patch: &Value, tokens: &BTreeMap<String, Value>, chosen: &BTreeSet<usize>) -> (Value, usize) {
    let mut patch = patch.clone();
    let mut texts = 0;
    for op in patch.as_array_mut().into_iter().flatten() {
        if let Some(value) = op.get_mut("value") {
            replace(value, tokens, chosen, &mut texts);
        }
    }
    (patch, texts)
}

fn replace(value: &mut Value, tokens: &BTreeMap<String, Value>, chosen: &BTreeSet<usize>, texts: &mut usize) {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            if let Some(token) = tokens.get(&value.to_string()) {
                if chosen.contains(texts) {
                    value.clone_from(token);
                }
                *texts += 1;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, tokens, chosen, texts)),
        Value::Object(entries) => {
            entries.values_mut().for_each(|entry| replace(entry, tokens, chosen, texts));
        }
        Value::Null => {}
    }
}
