//! Errors of providers: objects, lists, texts, pages, problem details, and errors in a reply with status 200. Each gives the
//! status, the code and the provider's own first words.

use serde_json::{Map, Value};

use super::{content, page};
use crate::error::{Failure, Refusal, quoted};
use crate::mask::KeyMask;

/// How deep the words of an error may lie.
const DEEPEST: usize = 6;

/// Keys below which an error lies.
const INNER: [&str; 5] = ["error", "errors", "fault", "base_resp", "Error"];

/// Keys of the words of an error, the best first.
const WORDS: [&str; 19] = [
    "message",
    "error_description",
    "msg",
    "detail",
    "details",
    "error_message",
    "error_msg",
    "errorMessage",
    "errMsg",
    "status_msg",
    "faultstring",
    "description",
    "Message",
    "error",
    "errors",
    "fault",
    "base_resp",
    "reason",
    "title",
];

/// Keys of a code.
const CODES: [&str; 9] =
    ["code", "error_code", "errorCode", "err_code", "Code", "status", "type", "error", "title"];

/// Keys of a code that is a number, or a status in a body.
const NUMBERS: [&str; 7] =
    ["code", "status", "status_code", "statusCode", "error_code", "errorCode", "http_status"];

/// Parses the body of a reply with an error status; the key is masked in it.
pub fn refusal(status: u16, body: &[u8], mask: &KeyMask) -> Failure {
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
    let first = || first_event(body).and_then(read);
    let Refusal { code, words, .. } = match read(page::without_mark(body)).or_else(first) {
        Some(mut value) => {
            mask.error(&mut value);
            said(&value)
        }
        None => Refusal { words: page::words(body, mask), ..Refusal::default() },
    };
    Failure::Refused(Refusal { status: Some(status), code, words })
}

/// The error in the body of a reply with status 2xx, if it holds one. An `error` that says nothing, beside a whole answer, is
/// none.
pub(super) fn within_answer(value: &Value) -> Option<Refusal> {
    let within = |error: &Value| Some(said(error)).filter(|refusal| !refusal.words.is_empty());
    if content::has_choices(value) {
        let of_choice = || value.pointer("/choices/0/error").and_then(within);
        return if has_error(value) { Some(said(value)) } else { of_choice() };
    }
    // No answer: whatever speaks of an error is one.
    let refusal = if value.is_object() || value.is_array() { said(value) } else { Refusal::default() };
    (has_error(value) || refusal.status.is_some() || words(value, DEEPEST).is_some()).then_some(refusal)
}

/// Whether `error` says something.
pub(super) fn has_error(value: &Value) -> bool {
    value.get("error").is_some_and(|error| words(error, DEEPEST).is_some() || number(error).is_some())
}

/// What a body says of an error.
fn said(value: &Value) -> Refusal {
    let words = words(value, DEEPEST).unwrap_or_else(|| match value {
        Value::Object(fields) if !fields.is_empty() => value.to_string(),
        Value::Array(items) if !items.is_empty() => value.to_string(),
        _ => String::new(),
    });
    let inner = inner(value, DEEPEST);
    let places = [inner, value.as_object()];
    let word = places.iter().flatten().find_map(|fields| code(fields, &words));
    let number = places.iter().flatten().find_map(|fields| numbers(fields).next());
    Refusal {
        status: places.iter().flatten().flat_map(|fields| numbers(fields)).find_map(as_status),
        code: word
            .map(quoted)
            .or_else(|| number.map(|number| number.to_string()))
            .filter(|code| !code.is_empty()),
        words: quoted(&words),
    }
}

/// The words of an error.
fn words(value: &Value, depth: usize) -> Option<String> {
    let below = depth.checked_sub(1)?;
    match value {
        Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
        Value::Array(items) => items.iter().take(DEEPEST).find_map(|item| words(item, below)),
        Value::Object(fields) => {
            // An error of its own inside is better than a title beside it.
            let nested = INNER.iter().filter_map(|key| fields.get(*key)).filter(|value| !value.is_string());
            let found = nested.into_iter().find_map(|value| words(value, below));
            let found = found.or_else(|| {
                WORDS.iter().filter_map(|key| fields.get(*key)).find_map(|value| words(value, below))
            })?;
            Some(match place(fields) {
                Some(place) => format!("{found} ({place})"),
                None => found,
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Which part of the request an error of `FastAPI` names.
fn place(fields: &Map<String, Value>) -> Option<String> {
    let steps = fields.get("loc")?.as_array()?.iter().take(DEEPEST);
    let steps: Vec<String> =
        steps.map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned)).collect();
    (!steps.is_empty()).then(|| steps.join("."))
}

/// The innermost object that is an error.
fn inner(value: &Value, depth: usize) -> Option<&Map<String, Value>> {
    let below = depth.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().take(DEEPEST).find_map(|item| inner(item, below)),
        Value::Object(fields) => {
            let nested = INNER.iter().filter_map(|key| fields.get(*key));
            nested.into_iter().find_map(|value| inner(value, below)).or(Some(fields))
        }
        _ => None,
    }
}

/// The code among the fields of an error: a word, and not its words again, nor the address of a kind of problem.
fn code<'f>(fields: &'f Map<String, Value>, words: &str) -> Option<&'f str> {
    let is_code = |text: &&str| {
        !text.trim().is_empty()
            && *text != words
            && *text != "error"
            && *text != "about:blank"
            && !text.contains("://")
    };
    CODES.iter().filter_map(|key| fields.get(*key)?.as_str()).find(is_code)
}

fn number(error: &Value) -> Option<i64> {
    error.as_object().and_then(|fields| numbers(fields).next())
}

/// The numbers that stand for a code or a status; a text that is a number counts.
fn numbers(fields: &Map<String, Value>) -> impl Iterator<Item = i64> {
    NUMBERS.iter().filter_map(|key| match fields.get(*key)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// A number that is an HTTP status of an error.
fn as_status(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// The JSON text of the first event of a stream.
fn first_event(body: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(body).ok()?.trim_start();
    let line = text.lines().find_map(|line| line.strip_prefix("data:"))?;
    page::is_event_stream(text).then(|| line.trim().as_bytes())
}
