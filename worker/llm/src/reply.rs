//! Body of a reply: parsed leniently, because providers differ, and accepted only if the response is complete.

use domain::answer::{Answer, Finish};
use domain::budget::Usage;
use serde_json::Value;

use crate::error::{Failure, quoted};
use crate::mask::KeyMask;

/// Parses the body of a reply with status 2xx; the key is masked in every text of it. The usage is returned also for a
/// failure, because it was paid for.
pub fn answer(body: &[u8], mask: &KeyMask) -> (Result<Answer, Failure>, Usage) {
    let mut value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return (Err(Failure::Garbage(format!("not valid JSON: {error}"))), Usage::default()),
    };
    if value.get("error").is_some() {
        mask.error(&mut value);
    } else {
        mask.answer(&mut value);
    }
    let usage = usage(&value["usage"]);
    (content(&value, usage), usage)
}

fn content(value: &Value, usage: Usage) -> Result<Answer, Failure> {
    // Some gateways send an error with status 200.
    if let Some(message) =
        value.pointer("/error/message").or_else(|| value.get("error")).and_then(Value::as_str)
    {
        return Err(Failure::Garbage(format!("an error with status 200: {}", quoted(message))));
    }
    let choice = value
        .pointer("/choices/0")
        .ok_or_else(|| Failure::Garbage("choices is missing or empty".to_owned()))?;
    let message =
        choice.get("message").ok_or_else(|| Failure::Garbage("a choice has no message".to_owned()))?;
    let finish = match choice.get("finish_reason").and_then(Value::as_str) {
        Some("stop") => Finish::Stop,
        Some("length" | "max_tokens") => Finish::Length,
        Some("content_filter") => Finish::Filtered,
        other => Finish::Other(quoted(other.unwrap_or_default())),
    };
    if let Some(refusal) = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        return Err(Failure::Withheld { why: quoted(refusal) });
    }
    let content = text(&message["content"])?;
    match finish {
        Finish::Length => Err(Failure::CutOff),
        Finish::Filtered => Err(Failure::Withheld { why: String::new() }),
        _ if content.trim().is_empty() => Err(Failure::Empty { why: String::new() }),
        finish => {
            let model = value.get("model").and_then(Value::as_str).unwrap_or_default();
            Ok(Answer { content, finish, usage, model: model.chars().take(200).collect() })
        }
    }
}

/// The text of a message: a string, or the joined parts of a list.
fn text(content: &Value) -> Result<String, Failure> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Array(parts) => Ok(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => Err(Failure::Garbage("the content of a message is not text".to_owned())),
    }
}

/// Parses `usage`; a count that is missing, not valid or absurd ([`Usage::of_one_call`]) is 0, a missing total is the sum of
/// the others.
fn usage(value: &Value) -> Usage {
    let count = |path: &str| value.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        prompt: count("/prompt_tokens"),
        completion: count("/completion_tokens"),
        reasoning: count("/completion_tokens_details/reasoning_tokens"),
        cached: count("/prompt_tokens_details/cached_tokens"),
        total: count("/total_tokens"),
    }
    .of_one_call()
}

/// Parses the body of a reply with an error status; the key is masked in it.
pub fn refusal(code: u16, body: &[u8], mask: &KeyMask) -> Failure {
    let mut value: Value = serde_json::from_slice(body).unwrap_or_default();
    mask.error(&mut value);
    let text = |paths: &[&str]| {
        paths.iter().find_map(|path| value.pointer(path).and_then(Value::as_str)).unwrap_or_default()
    };
    let message = text(&["/error/message", "/error", "/message", "/detail"]);
    // A proxy answers with an HTML page: keep its first words.
    let page = || mask.text(&String::from_utf8_lossy(body.get(..500).unwrap_or(body)));
    let message = if message.is_empty() && value.is_null() { page() } else { message.to_owned() };
    let reason = text(&["/error/code", "/error/type", "/code", "/type"]);
    Failure::refused(code, &quoted(reason), &quoted(&message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Answer, Failure> {
        answer(value.to_string().as_bytes(), &KeyMask::default()).0
    }

    #[test]
    fn a_complete_response_is_parsed_with_its_usage() {
        let body = json!({
            "model": "grok-4", "choices": [{"message": {"content": "[]"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 407, "completion_tokens": 148, "total_tokens": 1900,
                "prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 1345}},
        });
        let answer = read(&body).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.model.as_str(), answer.finish),
            ("[]", "grok-4", Finish::Stop)
        );
        let usage = Usage { prompt: 407, completion: 148, reasoning: 1345, cached: 7, total: 1900 };
        assert_eq!(answer.usage, usage);
    }

    #[test]
    fn formats_of_different_providers_are_parsed() {
        let message = |message: Value| read(&json!({"choices": [{"message": message}]}));
        assert_eq!(message(json!({"content": "x", "refusal": null})).unwrap().content, "x");
        let parts = json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
        assert_eq!(message(parts).unwrap().content, "ab");
        assert_eq!(usage(&json!({"prompt_tokens": 5, "completion_tokens": 2})).total, 7);
        assert_eq!(usage(&json!({"prompt_tokens": -5, "total_tokens": "x"})), Usage::default());
        let absurd = json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9_223_372_036_854_775_807_u64});
        assert_eq!(usage(&absurd), Usage { prompt: 5, completion: 2, total: 7, ..Usage::default() });
    }

    #[test]
    fn an_incomplete_response_is_a_failure_with_its_reason() {
        let choice = |content: &str, reason: &str| {
            read(&json!({"choices": [{"message": {"content": content}, "finish_reason": reason}]}))
                .unwrap_err()
        };
        assert_eq!(choice("[{", "length"), Failure::CutOff);
        assert_eq!(choice("", "stop"), Failure::Empty { why: String::new() });
        assert_eq!(choice("x", "content_filter"), Failure::Withheld { why: String::new() });
        let refused = read(&json!({"choices": [{"message": {"content": null, "refusal": "I cannot"}}]}));
        assert_eq!(refused.unwrap_err(), Failure::Withheld { why: "I cannot".to_owned() });
        for body in [
            "",
            "{",
            "[]",
            "{\"choices\": []}",
            "{\"choices\": [{}]}",
            "{\"choices\": [{\"message\": {\"content\": 5}}]}",
        ] {
            assert!(
                matches!(answer(body.as_bytes(), &KeyMask::default()).0, Err(Failure::Garbage(_))),
                "{body}"
            );
        }
        assert!(matches!(read(&json!({"error": {"message": "overloaded"}})), Err(Failure::Garbage(_))));
    }

    #[test]
    fn the_usage_of_a_failed_call_is_kept() {
        let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
        let (answer, usage) = answer(body.as_bytes(), &KeyMask::default());
        assert_eq!((answer, usage.total), (Err(Failure::CutOff), 14));
    }

    #[test]
    fn the_key_is_masked_in_every_text() {
        let mask = KeyMask::new("my-own-kind-of-key");
        let body = r#"{"model": "my-own-kind-of-key", "choices": [{"message": {"content": "a my\u002down-kind-of-key"},
            "finish_reason": "my-own-kind-of-key"}]}"#;
        let answer = answer(body.as_bytes(), &mask).0.unwrap();
        assert_eq!((answer.content.as_str(), answer.model.as_str()), ("a ***", "***"));
        assert_eq!(answer.finish, Finish::Other("***".to_owned()));
        let body =
            br#"{"error": {"message": "'my-own-kind-of-key' is wrong", "code": "my-own-kind-of-key"}}"#;
        let expected = Failure::refused(401, "***", "'***' is wrong");
        assert_eq!(refusal(401, body, &mask), expected);
        assert!(super::answer(body, &mask).0.unwrap_err().to_string().ends_with("'***' is wrong"));
        assert!(refusal(502, b"<p>key=my-own-kind-of-key</p>", &mask).to_string().contains("key=***<"));
    }

    #[test]
    fn an_error_reply_is_parsed_with_its_reason() {
        let refusal = |code, body: &[u8]| refusal(code, body, &KeyMask::default());
        let openai = br#"{"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}"#;
        let expected = Failure::refused(404, "model_not_found", "The model `x` does not exist");
        assert_eq!(refusal(404, openai), expected);
        let xai = br#"{"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xai-ab123."}"#;
        assert!(refusal(400, xai).to_string().ends_with("Incorrect API key provided: ***"));
        assert!(refusal(502, b"<html>Bad gateway</html>").to_string().contains("Bad gateway"));
    }
}
