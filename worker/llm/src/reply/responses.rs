//! A reply of the responses API in the form of one of chat completions, so that both are read by the same rules.

use serde_json::{Map, Value, json};

/// Fields that mean the same in both.
const SHARED: [&str; 4] = ["model", "usage", "service_tier", "error"];

/// The reply as one of chat completions; one without a list of outputs stays as it is. `most`: the tokens that it was allowed.
pub(super) fn as_chat(reply: Value, most: Option<u32>) -> Value {
    let Some(output) = reply.get("output").and_then(Value::as_array) else { return reply };
    let mut chat = Map::new();
    for key in SHARED {
        chat.extend(reply.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    // A reply that failed has the reason in `error`.
    if reply.get("status").and_then(Value::as_str) != Some("failed") {
        let message = message(output);
        chat.insert(
            "choices".to_owned(),
            json!([{"message": message, "finish_reason": finish(&reply, most)}]),
        );
    }
    Value::Object(chat)
}

/// Text, refusal and reasoning of all outputs.
fn message(output: &[Value]) -> Value {
    let parts = |kind: &str, list: &str| {
        let items = output.iter().filter(|item| item.get("type").and_then(Value::as_str) == Some(kind));
        let parts = items.filter_map(|item| item.get(list)?.as_array()).flatten();
        parts.cloned().collect::<Vec<Value>>()
    };
    let content = parts("message", "content");
    let joined = |of: Vec<Value>, key: &str| {
        of.iter().filter_map(|part| part.get(key)?.as_str()).collect::<Vec<_>>().concat()
    };
    let mut message = json!({"content": joined(content.clone(), "text")});
    for (name, text) in [
        ("refusal", joined(content, "refusal")),
        ("reasoning", joined(parts("reasoning", "summary"), "text")),
    ] {
        if !text.is_empty() {
            message[name] = json!(text);
        }
    }
    let called = output.iter().find(|item| item.get("type").and_then(Value::as_str) == Some("function_call"));
    if let Some(call) = called {
        message["function_call"] = json!({"name": call.get("name")});
    }
    message
}

/// The finish reason by the names of chat completions. Servers call a response *completed* that ended at the tokens that it
/// was allowed (llama.cpp does).
fn finish(reply: &Value, most: Option<u32>) -> &str {
    let written = reply.pointer("/usage/output_tokens").and_then(Value::as_u64);
    let is_full = most.zip(written).is_some_and(|(most, written)| written >= u64::from(most));
    match reply.pointer("/incomplete_details/reason").and_then(Value::as_str) {
        Some(reason) => reason,
        None => match reply.get("status").and_then(Value::as_str) {
            Some("completed") if is_full => "length",
            Some("completed") => "stop",
            Some(status) => status,
            None => "",
        },
    }
}
