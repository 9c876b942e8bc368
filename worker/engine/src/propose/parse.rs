//! Parses a response into a patch. Strict: one patch of valid form and bounded size, or an error that the model can act on.

use domain::patch::{Op, Patch};
use serde_json::Value;

/// Longest answer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// Most operations of a patch.
const MOST_OPS: usize = 200;

/// Why an answer holds no patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum ParseError {
    /// The answer is empty.
    #[error("the answer is empty")]
    Empty,
    /// The answer exceeds the limit on its length.
    #[error("the answer is longer than {most} bytes", most = ANSWER_BYTES)]
    TooLong,
    /// The answer has no JSON.
    #[error("the answer holds no JSON array of operations")]
    NoPatch,
    /// The answer has several patches.
    #[error("the answer holds more than one patch: answer with one")]
    Several,
    /// Too many operations.
    #[error("the patch has {count} operations, more than {most}", most = MOST_OPS)]
    TooMany { count: usize },
    /// An operation is not valid.
    #[error("operation {index}: {reason}")]
    BadOp { index: usize, reason: String },
}

/// Reads the patch of an answer: an array of operations, an object with `patch`, or one operation; alone, in a code
/// fence, or between sentences.
pub fn parse(answer: &str) -> Result<Patch, ParseError> {
    if answer.len() > ANSWER_BYTES {
        return Err(ParseError::TooLong);
    }
    let text = answer.trim();
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let operations = match serde_json::from_str::<Value>(text) {
        Ok(value) => operations(value).ok_or(ParseError::NoPatch)?,
        Err(_) => among(text)?,
    };
    if operations.len() > MOST_OPS {
        return Err(ParseError::TooMany { count: operations.len() });
    }
    let op = |(index, value)| {
        serde_json::from_value::<Op>(value).map_err(|error| ParseError::BadOp {
            index,
            reason: error.to_string().chars().take(200).collect(),
        })
    };
    Ok(Patch(operations.into_iter().enumerate().map(op).collect::<Result<_, _>>()?))
}

/// The operations of a value that looks like a patch.
fn operations(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) if items.iter().all(Value::is_object) => Some(items),
        Value::Object(map) if map.contains_key("op") => Some(vec![Value::Object(map)]),
        Value::Object(mut map) => match map.shift_remove("patch") {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        },
        _ => None,
    }
}

/// The one patch among sentences: every JSON value that stands in the text is looked at.
fn among(text: &str) -> Result<Vec<Value>, ParseError> {
    let mut found: Option<Vec<Value>> = None;
    let mut at = 0;
    // Each bracket in prose costs a parse attempt; a text with this many is not prose.
    let mut looks = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find(['[', '{'])) {
        let begin = at + next;
        looks += 1;
        if looks > 1000 {
            return Err(ParseError::NoPatch);
        }
        let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = begin + values.byte_offset();
                match operations(value) {
                    // `[]` is a footnote or a list without entries rather than a second patch.
                    Some(patch) if patch.is_empty() && found.is_some() => {}
                    Some(patch)
                        if found.as_ref().is_none_or(|before| before.is_empty() || *before == patch) =>
                    {
                        found = Some(patch);
                    }
                    Some(_) => return Err(ParseError::Several),
                    None => {}
                }
            }
            _ => at = begin + 1,
        }
    }
    found.ok_or(ParseError::NoPatch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OP: &str = r#"{"op":"remove","path":"/a"}"#;

    #[test]
    fn a_patch_is_found_in_each_of_its_forms() {
        for text in [
            format!("[{OP}]"),
            format!("{{\"patch\": [{OP}]}}"),
            OP.to_owned(),
            format!("```json\n[{OP}]\n```"),
            format!(
                "Sure! [Here] is the patch {{as asked}}:\n\n```\n{{\"patch\":[{OP}]}}\n```\nIt fixes [everything]."
            ),
            format!("[{OP}] and again: [{OP}]"),
        ] {
            assert_eq!(parse(&text).unwrap().to_json(), format!("[{OP}]"), "{text}");
        }
        assert!(parse("{\"patch\": []}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_patch_says_why() {
        let other = r#"[{"op":"remove","path":"/b"}]"#;
        assert_eq!(parse("  "), Err(ParseError::Empty));
        assert_eq!(parse("I cannot do that."), Err(ParseError::NoPatch));
        assert_eq!(parse("[1, 2]"), Err(ParseError::NoPatch));
        assert_eq!(parse("{\"answer\": []}"), Err(ParseError::NoPatch));
        assert_eq!(parse(&format!("[{OP}] or {other}")), Err(ParseError::Several));
        assert_eq!(parse(&"x".repeat(ANSWER_BYTES + 1)), Err(ParseError::TooLong));
        assert_eq!(parse(&format!("[{}]", vec![OP; 201].join(","))), Err(ParseError::TooMany { count: 201 }));
        for bad in [
            r#"[{"op":"merge","path":"/a","value":1}]"#,
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"op":"remove","path":"a"}]"#,
        ] {
            assert!(matches!(parse(bad), Err(ParseError::BadOp { index: 0, .. })), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn nothing_makes_it_panic(text in r#"[\[\]{}",:a-z0-9 `~/é\n\\]{0,80}"#) {
            let _ = parse(&text);
        }
    }
}
