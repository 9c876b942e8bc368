//! The response of a model within a reply.

use domain::answer::Finish;
use serde_json::Value;

use crate::error::{Failure, quoted};

/// Fields that hold the reasoning of a model beside its answer.
const REASONING: [&str; 4] = ["reasoning_content", "reasoning", "thinking", "reasoning_text"];

/// The first response of a reply.
pub(super) struct Choice<'v> {
    message: &'v Value,
    content: String,
    /// The finish reason as the provider spells it; empty where there is none.
    reason: &'v str,
}

/// Whether there is a list of responses with something in it.
pub(super) fn has_choices(value: &Value) -> bool {
    value.get("choices").and_then(Value::as_array).is_some_and(|choices| !choices.is_empty())
}

/// The other API whose form a reply has: its endpoint answers like that every time.
fn other_api(value: &Value) -> Option<&'static str> {
    let is = |key: &str, name: &str| value.get(key).and_then(Value::as_str) == Some(name);
    let has_list = |key: &str| value.get(key).is_some_and(Value::is_array);
    let is_native = value.get("done").is_some_and(Value::is_boolean)
        && (value.get("message").is_some_and(Value::is_object)
            || value.get("response").is_some_and(Value::is_string));
    if is_native {
        Some("Ollama's own API")
    } else if is("object", "response") && has_list("output") {
        Some("the Responses API")
    } else if is("type", "message") && has_list("content") {
        Some("the Messages API")
    } else if has_list("candidates") {
        Some("Gemini's own API")
    } else if value.pointer("/choices/0/text").is_some_and(Value::is_string) {
        Some("the older API of completions")
    } else {
        None
    }
}

/// The first response.
pub(super) fn choice(value: &Value) -> Result<Choice<'_>, Failure> {
    let garbage = |text: &str| match other_api(value) {
        Some(api) => Failure::OtherFormat(format!(
            "it has the form of {api}: set the endpoint of the provider to its address of chat completions"
        )),
        None => Failure::Garbage(text.to_owned()),
    };
    let choice = value
        .pointer("/choices/0")
        .filter(|choice| choice.is_object())
        .ok_or_else(|| garbage("choices is missing or empty: is the endpoint that of chat completions?"))?;
    let Some(message) = choice.get("message").filter(|message| message.is_object()) else {
        return Err(garbage(if choice.get("delta").is_some() {
            "a piece of an event stream came, which was not asked for: switch streaming off at the server or gateway"
        } else {
            "a choice has no message: is the endpoint that of chat completions?"
        }));
    };
    let content = text(&message["content"])?;
    let reason = choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default();
    Ok(Choice { message, content, reason })
}

impl Choice<'_> {
    /// Bytes of text that the model wrote, as far as they are shown.
    pub(super) fn written(&self) -> usize {
        let reasoning =
            REASONING.iter().filter_map(|key| self.message.get(*key)?.as_str()).map(str::len).max();
        self.content.len() + reasoning.unwrap_or(0)
    }

    /// The text, if it is complete, and why the model stopped.
    pub(super) fn whole(self) -> Result<(String, Finish), Failure> {
        if let Some(why) = self.refused() {
            return Err(Failure::Withheld { why: quoted(&why) });
        }
        match self.reason.to_ascii_lowercase().as_str() {
            "length" | "max_tokens" | "max_output_tokens" | "model_length" => Err(Failure::CutOff),
            "content_filter" | "safety" | "recitation" | "prohibited_content" => {
                Err(Failure::Withheld { why: String::new() })
            }
            "error" => Err(Failure::Garbage("the provider broke it off (finish reason error)".to_owned())),
            _ if self.content.trim().is_empty() => Err(Failure::Empty { why: self.instead() }),
            "stop" => Ok((self.content, Finish::Stop)),
            _ => Ok((self.content, Finish::Other(quoted(self.reason)))),
        }
    }

    /// The words of a model that refuses: in a field, or in a part of the content.
    fn refused(&self) -> Option<String> {
        let given = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        let field = self.message.get("refusal").and_then(Value::as_str).and_then(given);
        let parts = || {
            self.message.get("content")?.as_array()?.iter().find_map(|part| given(part["refusal"].as_str()?))
        };
        field.or_else(parts)
    }

    /// What came in place of a text, and the remedy.
    fn instead(&self) -> String {
        let said = |key: &&&str| {
            self.message.get(**key).is_some_and(|value| match value {
                Value::String(text) => !text.trim().is_empty(),
                Value::Array(parts) => !parts.is_empty(),
                _ => false,
            })
        };
        if let Some(name) = self.tool() {
            return format!(
                "a call of the tool {name} came in its place, and no tool was offered: set proposer.answer_form to \
                 json_object or text, or choose another model"
            );
        }
        if let Some(key) = REASONING.iter().find(said) {
            return format!(
                "its text stands in {key} alone: switch off the reasoning parser of the server, or set \
                 proposer.answer_form to text"
            );
        }
        if self.message.get("content").is_some_and(Value::is_array) {
            return "its parts hold no text".to_owned();
        }
        match self.reason {
            "" => String::new(),
            reason => format!("finish reason {}", quoted(reason)),
        }
    }

    /// The name of the tool that is called.
    fn tool(&self) -> Option<String> {
        let calls = self.message.get("tool_calls").and_then(|calls| calls.get(0)?.get("function"));
        let call = calls.or_else(|| self.message.get("function_call"))?;
        let name = call.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(if name.is_empty() { "(without a name)".to_owned() } else { quoted(name) })
    }
}

/// The text of a message: a string, or the joined parts of a list, without those of the model's reasoning.
fn text(content: &Value) -> Result<String, Failure> {
    let part = |part: &Value| match part {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let is_text = fields
                .get("type")
                .and_then(Value::as_str)
                .is_none_or(|kind| matches!(kind, "text" | "output_text"));
            let text = fields.get("text").filter(|_| is_text)?;
            // The text of a part is a string, or an object with a string.
            text.as_str().or_else(|| text.get("value")?.as_str()).map(str::to_owned)
        }
        _ => None,
    };
    match content {
        Value::Null => Ok(String::new()),
        Value::Array(parts) => Ok(parts.iter().filter_map(part).collect()),
        other => {
            part(other).ok_or_else(|| Failure::Garbage("the content of a message is not text".to_owned()))
        }
    }
}
