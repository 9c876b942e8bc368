//! What is said between us and a program: `schemas/question.json` and `schemas/answer.json`.

use domain::patch::Patch;
use serde::{Deserialize, Serialize};

/// A record that a program is asked to repair: a line of protocol `jsonl`, `record.json` of protocol `folder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Identifies the question. It depends on the document, the policy, the message and the attempt alone.
    pub id: String,
    /// Number of the attempt at this record, from 1.
    pub attempt: u32,
    /// The policy that the document violates.
    pub policy_id: String,
    /// The scanner's sentence.
    pub violation_text: String,
    /// The document.
    pub manifest_yaml: String,
    /// Why the earlier attempts were refused; null at the first.
    pub feedback: Option<String>,
}

/// What a program answers. With neither a patch nor a document, it has no repair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// That of the question.
    pub id: String,
    /// A JSON Patch (RFC 6902) of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
    /// The repaired document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patched_yaml: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// What the answer cost, in the program's own count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub total_tokens: Option<u64>,
    pub cost_usd: Option<f64>,
}

impl Answer {
    /// The answer to this question that there is no repair.
    pub fn none(id: &str) -> Self {
        Self { id: id.to_owned(), patch: None, patched_yaml: None, explanation: None, usage: None }
    }

    /// The repaired document of this question.
    pub(crate) fn document(question: &Question, text: String) -> Self {
        Self { patched_yaml: Some(text), ..Self::none(&question.id) }
    }

    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
        let answer: Self = serde_json::from_str(text.trim()).map_err(|error| error.to_string())?;
        if answer.patch.is_some() && answer.patched_yaml.is_some() {
            return Err("it has both `patch` and `patched_yaml`: give one of them".to_owned());
        }
        if let Some(cost) = answer.usage.and_then(|usage| usage.cost_usd)
            && !(0.0..=1e6).contains(&cost)
        {
            return Err("usage.cost_usd is not from 0 to 1000000".to_owned());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn schema(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn names(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Whether a value has one of the types of a property, as the schemas write them.
    fn fits(value: &Value, property: &Value) -> bool {
        let types = match &property["type"] {
            Value::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        types.iter().any(|kind| match kind.as_str().unwrap() {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.as_object().is_some_and(|fields| {
                fields.iter().all(|(name, value)| fits(value, &property["properties"][name]))
            }),
            other => panic!("unknown type {other}"),
        })
    }

    #[test]
    fn the_schema_of_questions_is_that_of_what_is_sent() {
        let schema = schema(include_str!("../schemas/question.json"));
        let question = Question {
            id: "0123456789abcdef-1".to_owned(),
            attempt: 1,
            policy_id: "no_privileged".to_owned(),
            violation_text: "container a is privileged".to_owned(),
            manifest_yaml: "kind: Pod\n".to_owned(),
            feedback: None,
        };
        for feedback in [None, Some("That patch was not accepted".to_owned())] {
            let sent = serde_json::to_value(Question { feedback, ..question.clone() }).unwrap();
            assert_eq!(names(&sent), names(&schema["properties"]));
            let required: BTreeSet<&str> =
                schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(names(&sent), required, "every field is always sent");
            for (name, value) in sent.as_object().unwrap() {
                assert!(fits(value, &schema["properties"][name]), "{name}: {value}");
            }
        }
    }

    #[test]
    fn the_schema_of_answers_is_that_of_what_is_read() {
        let schema = schema(include_str!("../schemas/answer.json"));
        assert_eq!((&schema["additionalProperties"], &schema["required"]), (&json!(false), &json!(["id"])));
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "reasoning_tokens": null,
            "total_tokens": 3, "cost_usd": 0.5});
        let patch = json!([{"op": "remove", "path": "/spec/hostPID"}]);
        let whole = json!({"id": "a", "patch": patch, "explanation": "x", "usage": usage});
        let document = json!({"id": "a", "patched_yaml": "kind: Pod", "usage": null, "explanation": null});
        let mut seen = BTreeSet::new();
        let none = json!({"id": "a"});
        for answer in [&whole, &document, &none] {
            Answer::read(answer.to_string().as_bytes()).unwrap();
            for (name, value) in answer.as_object().unwrap() {
                assert!(fits(value, &schema["properties"][name]), "{name}: {value}");
            }
            seen.extend(names(answer));
        }
        assert_eq!(seen, names(&schema["properties"]), "every field of the schema is read");
        let counted = serde_json::to_value(Usage::default()).unwrap();
        assert_eq!(names(&counted), names(&schema["properties"]["usage"]["properties"]));
        for (answer, word) in [
            (json!({}), "missing field `id`"),
            (json!({"id": "a", "patches": []}), "unknown field `patches`"),
            (json!({"id": "a", "patch": [], "patched_yaml": ""}), "both"),
            (json!({"id": "a", "patch": [["remove", "/a"]]}), "not a list"),
            (json!({"id": "a", "usage": {"cost_usd": -1}}), "cost_usd"),
            (json!({"id": "a", "usage": {"total_tokens": -1}}), "invalid value"),
        ] {
            let error = Answer::read(answer.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(word), "{answer}: {error}");
        }
        let deep = format!(
            r#"{{"id": "a", "patch": [{{"op": "add", "path": "/a", "value": {}"#,
            "[".repeat(100_000)
        );
        assert!(Answer::read(deep.as_bytes()).unwrap_err().contains("recursion limit"));
        assert!(Answer::read(b"\xff").is_err());
    }
}
