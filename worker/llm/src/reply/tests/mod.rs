use domain::answer::Finish;
use serde_json::json;

use super::*;

mod refusals;
mod responses;
mod usage;

fn read(value: &Value) -> Result<Answer, Failure> {
    answer(value.to_string().as_bytes(), 0, &KeyMask::default()).0
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
    let usage = Usage { prompt: 407, completion: 148, reasoning: 1345, cached: 7, total: 1900, estimated: 0 };
    assert_eq!(answer.usage, usage);
}

#[test]
fn formats_of_different_providers_are_parsed() {
    let message = |message: Value| read(&json!({"choices": [{"message": message}]}));
    for (content, text) in [
        (json!("x"), "x"),
        (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        (json!([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]), "a"),
        (
            json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]),
            "a",
        ),
        (json!([{"type": "output_text", "text": "a"}, {"text": "b"}, "c"]), "abc"),
        (json!([{"type": "text", "text": {"value": "a", "annotations": []}}, null, 7]), "a"),
        (json!({"type": "text", "text": "a"}), "a"),
    ] {
        assert_eq!(message(json!({"content": content, "refusal": null})).unwrap().content, text, "{content}");
    }
    // An answer counts; what was thought beside it does not.
    let beside = json!({"content": "a", "reasoning_content": "hm", "tool_calls": []});
    assert_eq!(message(beside).unwrap().content, "a");
    let marked = "\u{feff}{\"choices\": [{\"message\": {\"content\": \"x\"}}]}";
    assert_eq!(answer(marked.as_bytes(), 0, &KeyMask::default()).0.unwrap().content, "x");
}

#[test]
fn an_incomplete_response_is_a_failure_with_its_reason() {
    let choice = |content: &str, reason: &str| {
        read(&json!({"choices": [{"message": {"content": content}, "finish_reason": reason}]})).unwrap_err()
    };
    assert_eq!(choice("[{", "length"), Failure::CutOff);
    assert_eq!(choice("", "stop"), Failure::Empty { why: "finish reason stop".to_owned() });
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
            matches!(answer(body.as_bytes(), 0, &KeyMask::default()).0, Err(Failure::Garbage(_))),
            "{body}"
        );
    }
}

#[test]
fn the_form_of_another_api_is_named_and_comes_again() {
    let text = json!([{"type": "text", "text": "[]"}]);
    for (body, api) in [
        (json!({"message": {"role": "assistant", "content": "[]"}, "done": true}), "Ollama's own API"),
        (json!({"model": "x", "response": "[]", "done": false}), "Ollama's own API"),
        (
            json!({"object": "response", "output": [{"type": "message", "content": text}]}),
            "the Responses API",
        ),
        (json!({"type": "message", "content": text, "stop_reason": "end_turn"}), "the Messages API"),
        (json!({"candidates": [{"content": {"parts": [{"text": "[]"}]}}]}), "Gemini's own API"),
        (
            json!({"object": "text_completion", "choices": [{"text": "[]", "index": 0}]}),
            "the older API of completions",
        ),
    ] {
        let (answer, _) = super::answer(body.to_string().as_bytes(), 1, &KeyMask::default());
        let failure = answer.unwrap_err();
        assert!(matches!(failure, Failure::OtherFormat(_)), "{body}: {failure:?}");
        assert!(failure.to_string().contains(&format!("the form of {api}: set the endpoint")), "{failure}");
    }
    let lines = "{\"message\": {\"content\": \"[\"}, \"done\": false}\n{\"message\": {\"content\": \"]\"}, \"done\": true}\n";
    let (answer, _) = super::answer(lines.as_bytes(), 1, &KeyMask::default());
    assert!(matches!(&answer, Err(Failure::OtherFormat(why)) if why.contains("JSON lines")), "{answer:?}");
    // A list without entries can be a hiccup, and a reply of chat completions is none of these.
    let (answer, _) = super::answer(br#"{"choices": [], "done": true}"#, 1, &KeyMask::default());
    assert!(matches!(answer, Err(Failure::Garbage(_))), "{answer:?}");
}

/// What came in place of an answer, and a piece of the sentence that says so.
#[test]
fn what_came_in_place_of_an_answer_is_said() {
    let choice = |message: Value, reason: &str| {
        json!({"choices": [{"message": message, "finish_reason": reason}]}).to_string()
    };
    for (body, expected) in [
        (String::new(), "cannot be read: its body is empty"),
        ("\r\n ".to_owned(), "cannot be read: its body is empty"),
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"[\"}}]}\n\ndata: [DONE]\n".to_owned(),
            "an event stream came",
        ),
        (": OPENROUTER PROCESSING\n\n".to_owned(), "an event stream came"),
        ("event: message\ndata: {}\n".to_owned(), "switch streaming off"),
        (json!({"choices": [{"delta": {"content": "["}}]}).to_string(), "a piece of an event stream came"),
        (
            "<!DOCTYPE html><title>Sign in to the network</title>".to_owned(),
            "a page came in place of JSON (Sign in to the network): is the endpoint right",
        ),
        ("upstream request timeout".to_owned(), "a text came in place of JSON: upstream request timeout"),
        ("{\"choices\": [{".to_owned(), "it is cut off"),
        ("{'choices': []}".to_owned(), "not valid JSON"),
        (
            json!({"choices": null}).to_string(),
            "choices is missing or empty: is the endpoint that of chat completions?",
        ),
        (
            json!({"choices": [{"index": 0}]}).to_string(),
            "a choice has no message: is the endpoint that of chat completions?",
        ),
        (choice(json!({"content": null}), "stop"), "the answer is empty: finish reason stop"),
        (choice(json!({"content": null}), ""), "the answer is empty"),
        (choice(json!({"content": "  "}), "end_turn"), "the answer is empty: finish reason end_turn"),
        (choice(json!({}), "stop"), "the answer is empty"),
        (choice(json!({"content": []}), "stop"), "its parts hold no text"),
        (
            choice(json!({"content": null, "reasoning_content": "[]"}), "stop"),
            "its text stands in reasoning_content alone: switch off the reasoning parser",
        ),
        (choice(json!({"content": "", "reasoning": "hm"}), "stop"), "its text stands in reasoning alone"),
        (
            choice(
                json!({"content": null, "tool_calls": [{"function": {"name": "patch", "arguments": "{}"}}]}),
                "tool_calls",
            ),
            "a call of the tool patch came",
        ),
        (
            choice(json!({"content": null, "function_call": {"arguments": "{}"}}), "function_call"),
            "a call of the tool (without a name) came",
        ),
        (choice(json!({"content": null, "reasoning_content": "hm"}), "length"), "raise proposer.max_tokens"),
        (
            choice(json!({"content": "[", "reasoning_content": "hm"}), "MAX_TOKENS"),
            "raise proposer.max_tokens",
        ),
        (choice(json!({"content": ""}), "error"), "finish reason error"),
        (choice(json!({"content": "x"}), "SAFETY"), "withheld"),
        (
            choice(json!({"content": [{"type": "refusal", "refusal": "I will not"}]}), "stop"),
            "withheld: I will not",
        ),
    ] {
        let failure = answer(body.as_bytes(), 0, &KeyMask::default()).0.unwrap_err().to_string();
        assert!(failure.contains(expected), "{body}: {failure}");
        assert_eq!(failure.lines().count(), 1, "{failure}");
    }
    let latin: &[u8] = b"{\"choices\": [{\"message\": {\"content\": \"caf\xe9\"}}]}";
    let failure = answer(latin, 0, &KeyMask::default()).0.unwrap_err().to_string();
    assert!(failure.contains("not text in UTF-8"), "{failure}");
}

#[test]
fn the_usage_of_a_failed_call_is_kept() {
    let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
    let (answer, paid) = answer(body.as_bytes(), 0, &KeyMask::default());
    assert_eq!((answer, paid.usage.total), (Err(Failure::CutOff), 14));
}

#[test]
fn the_key_is_masked_in_every_text() {
    let mask = KeyMask::new("my-own-kind-of-key");
    let body = r#"{"model": "my-own-kind-of-key", "choices": [{"message": {"content": "a my\u002down-kind-of-key"},
        "finish_reason": "my-own-kind-of-key"}]}"#;
    let answer = answer(body.as_bytes(), 0, &mask).0.unwrap();
    assert_eq!((answer.content.as_str(), answer.model.as_str()), ("a ***", "***"));
    assert_eq!(answer.finish, Finish::Other("***".to_owned()));
    let body = br#"{"error": {"message": "'my-own-kind-of-key' is wrong", "code": "my-own-kind-of-key"}}"#;
    let expected = Failure::refused(401, "***", "'***' is wrong");
    assert_eq!(refusal(401, body, &mask), expected);
    assert!(super::answer(body, 0, &mask).0.unwrap_err().to_string().ends_with("'***' is wrong"));
    assert!(refusal(502, b"<p>key=my-own-kind-of-key</p>", &mask).to_string().ends_with("key=***"));
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
