//! Masks secret values of a document before it leaves the process, and restores them in the patch.
//!
//! *Invariant*: a masked value is restored only at its own pointer. A patch that would copy or move it elsewhere is refused,
//! whether it writes the token or moves the node: the check uses the patched document. Errors of a patch that does not
//! apply are computed on the masked document, so that repeated attempts cannot reveal a value.

use std::collections::{BTreeMap, BTreeSet};

use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use sensitive::{Masks, Secret};
use serde_json::{Map, Value};

use crate::verify::{ApplyError, apply};

/// A document without its secrets.
#[derive(Debug, Clone)]
pub struct Masked {
    /// The document with masks in place of secrets.
    pub value: Value,
    masks: Masks,
    secrets: BTreeMap<String, Taken>,
}

/// What a mask stands for and where, by the names on the way there.
#[derive(Debug, Clone)]
struct Taken {
    secret: Secret,
    places: BTreeSet<String>,
}

/// Why a patch for a masked document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum MaskError {
    /// It does not apply.
    #[error("{0}")]
    Apply(String),
    /// It would carry a masked value away.
    #[error("the masked value {token} would move to {place}: masked values must stay where they are")]
    Moved { token: String, place: String },
    /// It writes a token that stands for nothing.
    #[error("{0} stands for no masked value of this document")]
    Unknown(String),
}

impl Masked {
    /// Masks the secrets of `document`, and texts longer than `longest` bytes, which a prompt has no room for.
    pub fn new(document: &Value, longest: usize) -> Self {
        let (masks, value) = Masks::of(document, longest);
        let taken = |secret: &Secret| Taken { secret: secret.clone(), places: BTreeSet::new() };
        let secrets = masks.secrets().iter().map(|secret| (secret.mask.clone(), taken(secret))).collect();
        let mut masked = Self { value, masks, secrets };
        masked.note_places();
        masked
    }

    /// Where each mask stands, by the names of the masked document: a name on the way may itself be masked.
    fn note_places(&mut self) {
        let mut places = Vec::new();
        walk(&self.value, "", &mut |place, text| {
            places.extend(self.tokens(text).into_iter().map(|token| (token, place.to_owned())));
        });
        for (token, place) in places {
            if let Some(taken) = self.secrets.get_mut(&token) {
                taken.places.insert(place);
            }
        }
    }

    /// How many values were masked.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether nothing was masked.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The beginning of every mask.
    pub fn prefix(&self) -> &str {
        self.masks.prefix()
    }

    /// A text (a violation, an error of a gate) without the values that were masked.
    pub fn scrub(&self, text: &str) -> String {
        self.masks.scrub(text)
    }

    /// A patch for the masked document as one for the document itself.
    pub fn restore(&self, patch: &Patch) -> Result<Patch, MaskError> {
        self.restore_applied(patch, apply(&self.value, patch))
    }

    /// [`Self::restore`] where the patch has been applied to [`Self::value`].
    pub(crate) fn restore_applied(
        &self,
        patch: &Patch,
        patched: Result<Value, ApplyError>,
    ) -> Result<Patch, MaskError> {
        let patched = patched.map_err(|error| MaskError::Apply(error.to_string()))?;
        let mut fault = None;
        walk(&patched, "", &mut |place, text| {
            for token in self.tokens(text) {
                let found = match self.secrets.get(&token) {
                    None => MaskError::Unknown(token),
                    Some(taken) if !taken.places.contains(place) => {
                        MaskError::Moved { token, place: place.to_owned() }
                    }
                    Some(_) => continue,
                };
                fault.get_or_insert(found);
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        Ok(Patch(patch.0.iter().map(|op| self.restored(op)).collect()))
    }

    fn restored(&self, op: &Op) -> Op {
        let at = |pointer: &Pointer| {
            pointer.keys().fold(Pointer::ROOT, |pointer, key| pointer.child(&self.put_back_text(&key)))
        };
        let back = |value: &Value| {
            let mut value = value.clone();
            self.put_back(&mut value);
            value
        };
        match op {
            Op::Add { path, value } => Op::Add { path: at(path), value: back(value) },
            Op::Replace { path, value } => Op::Replace { path: at(path), value: back(value) },
            Op::Test { path, value } => Op::Test { path: at(path), value: back(value) },
            Op::Remove { path } => Op::Remove { path: at(path) },
            Op::Move { from, path } => Op::Move { from: at(from), path: at(path) },
            Op::Copy { from, path } => Op::Copy { from: at(from), path: at(path) },
        }
    }

    fn put_back(&self, value: &mut Value) {
        match value {
            Value::String(text) => match self.secrets.get(text.as_str()) {
                // A number comes back as a number.
                Some(taken) => *value = taken.secret.value.clone(),
                None => *text = self.put_back_text(text),
            },
            Value::Array(items) => items.iter_mut().for_each(|item| self.put_back(item)),
            Value::Object(entries) => {
                if entries.keys().any(|key| key.contains(self.prefix())) {
                    let masked = std::mem::take(entries);
                    entries.extend(masked.into_iter().map(|(key, entry)| (self.put_back_text(&key), entry)));
                }
                entries.values_mut().for_each(|entry| self.put_back(entry));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A text with the secrets in place of their masks.
    fn put_back_text(&self, text: &str) -> String {
        let mut back = text.to_owned();
        // Whole masks only: `MASKED_1` is the beginning of `MASKED_12`.
        let mut tokens = self.tokens(text);
        tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
        for token in tokens {
            if let Some(taken) = self.secrets.get(&token) {
                let value = &taken.secret.value;
                back = back.replace(&token, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        back
    }

    fn tokens(&self, text: &str) -> Vec<String> {
        let prefix = self.prefix();
        let found = text.match_indices(prefix).map(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            format!("{prefix}{}", &rest[..digits])
        });
        found.collect()
    }
}

/// Calls `visit` with every text and its place, by the names on the way there.
fn walk(value: &Value, place: &str, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(place, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{place}/{}", step(index, item)), visit);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                visit_key(place, key, visit);
                walk(entry, &format!("{place}/{key}"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A key is a text as well, and no place for a secret.
fn visit_key(place: &str, key: &str, visit: &mut impl FnMut(&str, &str)) {
    visit(&format!("{place}/(key)"), key);
}

/// The name by which an entry of a list is found again when others come and go.
fn step(index: usize, entry: &Value) -> String {
    match entry.as_object().and_then(|map: &Map<String, Value>| map.get("name")).and_then(Value::as_str) {
        Some(name) => format!("[{name}]"),
        None => format!("[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::document;
    use crate::yaml::to_yaml;

    const POD: &str = "
kind: Pod
metadata: {name: web, annotations: {note: ok}}
spec:
  containers:
  - name: app
    image: nginx:1.25
    args: [--db-password=hunter2, --verbose]
    env:
    - {name: DB_PASSWORD, value: hunter2}
    - {name: DATABASE_URL, value: 'postgres://app:s3cr3t@db:5432/x'}
    - {name: MODE, value: production}
";

    fn patch(value: Value) -> Patch {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_secret_is_taken_wherever_it_is_repeated() {
        let yaml = "kind: Pod\nspec: {containers: [{name: a, env: [{name: DB_PASSWORD, value: hunter-1234}, \
                    {name: NOTE, value: log in with hunter-1234 today}]}]}";
        let masked = Masked::new(&document(yaml).value, 4096);
        assert_eq!(masked.value["spec"]["containers"][0]["env"][1]["value"], "log in with MASKED_1 today");
        let patch: Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/spec/containers/0/env/1/value", "value": "today: MASKED_1"}
        ]))
        .unwrap();
        let restored = serde_json::to_value(masked.restore(&patch).unwrap()).unwrap();
        assert_eq!(restored[0]["value"], "today: hunter-1234", "it stood there before");
    }

    #[test]
    fn secrets_leave_no_trace_and_the_rest_stays() {
        let pod = document(POD);
        let masked = Masked::new(&pod.value, 4096);
        let text = to_yaml(&masked.value);
        for secret in ["hunter2", "s3cr3t"] {
            assert!(!text.contains(secret), "{text}");
            assert!(!format!("{masked:?}").contains(secret));
        }
        for kept in
            ["production", "nginx:1.25", "postgres://app:MASKED_", "--db-password=MASKED_", "DB_PASSWORD"]
        {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(masked.len(), 2, "equal values have one token");
        assert_eq!(masked.scrub("value hunter2 is bad"), format!("value {}1 is bad", masked.prefix()));
    }

    #[test]
    fn a_value_comes_back_where_it_stood() {
        let pod = document(POD);
        let masked = Masked::new(&pod.value, 4096);
        let env = masked.value.pointer("/spec/containers/0/env").unwrap().clone();
        let same = patch(json!([
            {"op": "remove", "path": "/spec/containers/0/env/2"},
            {"op": "replace", "path": "/spec/containers/0/env/1", "value": env[1]},
            {"op": "add", "path": "/spec/containers/0/securityContext", "value": {"privileged": false}},
        ]));
        let restored = masked.restore(&same).unwrap();
        let patched = apply(&pod.value, &restored).unwrap();
        assert_eq!(
            patched.pointer("/spec/containers/0/env/1"),
            pod.value.pointer("/spec/containers/0/env/1")
        );
        let shifted = patch(json!([{"op": "remove", "path": "/spec/containers/0/env/0"}]));
        assert!(masked.restore(&shifted).is_ok(), "entries that move up keep their names");
    }

    #[test]
    fn an_entry_whose_name_is_masked_is_found_again() {
        let pod = document(
            "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - {name: B, value: sk-abcdef0123456789abcdef0123}\n    - {name: sk-abcdef0123456789abcdef0123, value: x}\n    - {name: DB_PASSWORD, value: hunter2}\n",
        );
        let masked = Masked::new(&pod.value, 4096);
        assert_ne!(
            masked.value.pointer("/spec/containers/0/env/1/name").unwrap(),
            &pod.value["spec"]["containers"][0]["env"][1]["name"]
        );
        let harmless =
            patch(json!([{"op": "add", "path": "/spec/containers/0/image", "value": "nginx:1.25"}]));
        assert_eq!(masked.restore(&harmless).unwrap(), harmless);
    }

    #[test]
    fn a_value_goes_nowhere_else() {
        let pod = document(POD);
        let masked = Masked::new(&pod.value, 4096);
        let token = format!("{}1", masked.prefix());
        for away in [
            json!([{"op": "add", "path": "/metadata/annotations/leak", "value": token}]),
            json!([{"op": "add", "path": "/metadata/annotations/leak", "value": format!("x{token}y")}]),
            json!([{"op": "move", "from": "/spec/containers/0/env/0/value", "path": "/metadata/annotations/leak"}]),
            json!([{"op": "copy", "from": "/spec/containers/0/env", "path": "/metadata/annotations/leak"}]),
            json!([{"op": "replace", "path": "/spec/containers/0/env/0/name", "value": "PUBLIC"}]),
        ] {
            assert!(matches!(masked.restore(&patch(away)), Err(MaskError::Moved { .. })));
        }
        let unknown =
            json!([{"op": "add", "path": "/metadata/x", "value": format!("{}99", masked.prefix())}]);
        assert!(matches!(masked.restore(&patch(unknown)), Err(MaskError::Unknown(_))));
        let guess = json!([{"op": "test", "path": "/spec/containers/0/env/0/value", "value": "hunter2"}]);
        assert!(
            matches!(masked.restore(&patch(guess)), Err(MaskError::Apply(_))),
            "a right guess fails like a wrong one"
        );
    }

    #[test]
    fn a_document_that_speaks_of_tokens_gets_other_ones() {
        let value = json!({"kind": "Secret", "data": {"a": "eHg="}, "metadata": {"name": "MASKED_1"}});
        let masked = Masked::new(&value, 4096);
        assert_eq!(masked.value["data"]["a"], "XMASKED_1");
        assert_eq!(masked.value["metadata"]["name"], "MASKED_1");
    }

    #[test]
    fn a_number_comes_back_as_a_number_and_a_key_as_itself() {
        let value = json!({"kind": "ConfigMap", "data": {"DB_PASSWORD": 83_620_174, "hunt3r-x": "1", "DB_TOKEN": "hunt3r"}});
        let masked = Masked::new(&value, 4096);
        assert!(!masked.value.to_string().contains("hunt3r"), "{}", masked.value);
        let key = masked.value["data"].as_object().unwrap().keys().nth(1).unwrap().clone();
        let patched = patch(json!([
            {"op": "replace", "path": "/data", "value": masked.value["data"]},
            {"op": "replace", "path": format!("/data/{key}"), "value": "2"},
        ]));
        let restored = masked.restore(&patched).unwrap();
        let mut expected = value.clone();
        expected["data"]["hunt3r-x"] = json!("2");
        assert_eq!(apply(&value, &restored).unwrap(), expected);
    }

    #[test]
    fn every_generated_document_comes_back() {
        for shape in sensitive::testing::shapes(3) {
            let masked = Masked::new(&shape.document, 4096);
            let mut back = masked.value.clone();
            masked.put_back(&mut back);
            assert_eq!(back, shape.document, "{}", shape.label);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn masking_and_putting_back_changes_nothing(value in domain::testing::json(), secret in "[a-zA-Z0-9:{}#'\" -]{3,12}") {
            let whole = json!({"kind": "Secret", "stringData": {"p": secret, "q": &secret}, "spec": value});
            let masked = Masked::new(&whole, 64);
            let parsed = document(&to_yaml(&masked.value));
            prop_assert_eq!(&parsed.value, &masked.value, "the masked text parses to itself");
            let mut back = masked.value.clone();
            masked.put_back(&mut back);
            prop_assert_eq!(back, whole);
        }
    }
}
