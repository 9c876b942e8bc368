//! Parses a response into a patch. Strict: the answer is one whole JSON value, or an error that the model can act on. Never a
//! part of an answer: what is cut off, ambiguous or unreadable is refused as a whole.

use domain::patch::{Op, Patch};
use domain::strict_json;
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
    #[error("the answer holds no JSON Patch: answer with a JSON object {{\"patch\": [operations]}} alone")]
    NoPatch,
    /// A JSON value that cannot be read.
    #[error("the answer is not one whole JSON value: {0}")]
    Syntax(String),
    /// The reasoning of the model does not end, so that the answer has not begun.
    #[error("the answer is cut off: its reasoning ({0}) does not end")]
    Unfinished(&'static str),
    /// A code fence does not end.
    #[error("the answer is cut off: its code fence (```) does not end")]
    OpenFence,
    /// The patch is a text.
    #[error("`patch` is a text: give the array of operations itself, not a text that holds it")]
    Text,
    /// The answer has several patches.
    #[error("the answer holds more than one JSON value: answer with one patch alone")]
    Several,
    /// Too many operations.
    #[error("the patch has {count} operations, more than {most}", most = MOST_OPS)]
    TooMany { count: usize },
    /// An operation is not valid.
    #[error("operation {index}: {reason}")]
    BadOp { index: usize, reason: String },
}

/// Reads the patch of an answer: an array of operations, an object with `patch`, or one operation; alone, in a code fence,
/// or between sentences without brackets, and after the reasoning of a model that shows it (`<think>…</think>` and the like).
pub fn parse(answer: &str) -> Result<Patch, ParseError> {
    if answer.len() > ANSWER_BYTES {
        return Err(ParseError::TooLong);
    }
    let text = trim(answer);
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let value = match strict_json::from_str(text) {
        Ok(value) => value,
        Err(_) => inside(after_reasoning(text)?)?,
    };
    let operations = operations(value)?;
    if operations.len() > MOST_OPS {
        return Err(ParseError::TooMany { count: operations.len() });
    }
    let op = |(index, value)| {
        serde_json::from_value::<Op>(plain(value)).map_err(|error| ParseError::BadOp {
            index,
            reason: error.to_string().chars().take(200).collect(),
        })
    };
    Ok(Patch(operations.into_iter().enumerate().map(op).collect::<Result<_, _>>()?))
}

/// An operation in the form of RFC 6902. In that of the strict schema the value is JSON text in `value_json`, and what does not
/// belong to the operation is null. A text that is not JSON stands for itself.
fn plain(mut operation: Value) -> Value {
    let Some(fields) = operation.as_object_mut() else { return operation };
    let Some(text) = fields.shift_remove("value_json") else { return operation };
    if fields.get("from").is_some_and(Value::is_null) {
        fields.shift_remove("from");
    }
    let value = match text {
        Value::Null => None,
        Value::String(text) => Some(strict_json::from_str(&text).unwrap_or(Value::String(text))),
        other => Some(other),
    };
    let takes_value = matches!(fields.get("op").and_then(Value::as_str), Some("add" | "replace" | "test"));
    if let Some(value) = value.filter(|_| takes_value && !fields.contains_key("value")) {
        fields.insert("value".to_owned(), value);
    }
    operation
}

/// Without white space and byte order marks at both ends.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The operations of a value, which may be invalid ones.
fn operations(value: Value) -> Result<Vec<Value>, ParseError> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(map) if map.contains_key("op") && map.contains_key("patch") => Err(ParseError::Several),
        Value::Object(map) if map.contains_key("op") => Ok(vec![Value::Object(map)]),
        Value::Object(mut map) => match map.shift_remove("patch") {
            Some(Value::Array(items)) => Ok(items),
            Some(Value::String(_)) => Err(ParseError::Text),
            _ => Err(ParseError::NoPatch),
        },
        _ => Err(ParseError::NoPatch),
    }
}

/// How models mark the beginning and the end of their reasoning, in their chat templates or by habit.
const REASONING: [(&str, &str); 8] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
];

/// What a message of the harmony response format begins with (gpt-oss): `<|channel|>final<|message|>` before the answer,
/// other channels before the reasoning.
const CHANNEL: &str = "<|channel|>";

/// What follows the reasoning of a model. Servers without a reasoning parser leave it in the answer, some without its
/// opening tag; drafts in it are not the answer.
fn after_reasoning(text: &str) -> Result<&str, ParseError> {
    let mut answer = text;
    for (_, end) in REASONING {
        answer = answer.rsplit_once(end).map_or(answer, |(_, after)| after);
    }
    if let Some((begin, _)) = REASONING.iter().find(|(begin, _)| answer.contains(begin)) {
        return Err(ParseError::Unfinished(begin));
    }
    let Some((_, last)) = answer.rsplit_once(CHANNEL) else { return Ok(trim(answer)) };
    match last.split_once("<|message|>") {
        Some((channel, answer)) if channel.trim_start().starts_with("final") => Ok(trim(answer)),
        _ => Err(ParseError::Unfinished(CHANNEL)),
    }
}

/// The one JSON value of a text that is more than that.
fn inside(text: &str) -> Result<Value, ParseError> {
    if text.starts_with(['[', '{']) {
        return between_sentences(text);
    }
    let (blocks, outside) = fenced(text)?;
    if blocks.is_empty() {
        return between_sentences(text);
    }
    let mut json = blocks.iter().map(|block| trim(block)).filter(|block| block.starts_with(['[', '{']));
    let value = read(json.next().ok_or(ParseError::NoPatch)?)?;
    for again in json {
        if read(again)? != value {
            return Err(ParseError::Several);
        }
    }
    // An operation in a sentence beside the fence: which of them counts?
    if outside.contains("\"op\"") { Err(ParseError::Several) } else { Ok(value) }
}

/// The contents of the code fences, and the text around them. Only a line can open or close a fence, so that back-ticks in a
/// JSON text, which has no line breaks, do not.
fn fenced(text: &str) -> Result<(Vec<String>, String), ParseError> {
    let (mut blocks, mut outside, mut open) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
            if open {
                blocks.push(String::new());
            }
            continue;
        }
        let to = if open { blocks.last_mut().unwrap_or(&mut outside) } else { &mut outside };
        to.push_str(line);
        to.push('\n');
    }
    if open { Err(ParseError::OpenFence) } else { Ok((blocks, outside)) }
}

/// The value in a text without fences: the sentences around it may hold no bracket, for a bracket may be the rest of a value
/// that is broken.
fn between_sentences(text: &str) -> Result<Value, ParseError> {
    let begin = text.find(['[', '{']).ok_or(ParseError::NoPatch)?;
    let rest = text.get(begin..).unwrap_or_default();
    let (value, length) = strict_json::first_of(rest).map_err(|error| syntax(rest, &error))?;
    let after = rest.get(length..).unwrap_or_default();
    if after.contains(['[', ']', '{', '}']) {
        return Err(ParseError::Several);
    }
    // `[]` in a sentence is a footnote or a list without entries.
    if value.as_array().is_some_and(Vec::is_empty) { Err(ParseError::NoPatch) } else { Ok(value) }
}

/// Reads a text that is one JSON value, and tells several of them from one that is broken.
fn read(text: &str) -> Result<Value, ParseError> {
    strict_json::from_str(text).map_err(|error| match strict_json::first_of(text) {
        Ok((_, length)) if text.get(length..).is_some_and(|after| after.contains(['[', '{'])) => {
            ParseError::Several
        }
        _ => syntax(text, &error),
    })
}

/// What is wrong with a text, in words that a model can act on.
fn syntax(text: &str, error: &serde_json::Error) -> ParseError {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let at = line.as_bytes().get(error.column().saturating_sub(1)).copied();
    let hint = match at {
        _ if error.is_eof() => "; it is cut off",
        Some(b'/') => "; JSON has no comments",
        Some(b'N' | b'I') => "; NaN and Infinity are not JSON",
        Some(b'\'') => "; JSON texts stand in double quotes",
        _ => "",
    };
    ParseError::Syntax(format!("{error}{hint}").chars().take(200).collect())
}

#[cfg(test)]
mod tests;
