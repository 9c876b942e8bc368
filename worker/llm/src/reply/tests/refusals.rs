use serde_json::{Value, json};

use super::answer;
use crate::error::{Failure, Refusal};
use crate::mask::KeyMask;
use crate::reply::refusal;

/// The body of an error, the code, and the first words.
fn bodies() -> Vec<(String, &'static str, &'static str)> {
    let json = |value: Value, code, words| (value.to_string(), code, words);
    let text = |text: &str, words| (text.to_owned(), "", words);
    vec![
        // OpenAI, Azure, Mistral, Groq.
        json(json!({"error": {"message": "Bad model", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}), "model_not_found", "Bad model"),
        json(json!({"error": {"message": "Too long", "type": "invalid_request_error", "code": null}}), "invalid_request_error", "Too long"),
        json(json!({"error": {"code": "DeploymentNotFound", "message": "No deployment", "innererror": {"code": "X"}}}), "DeploymentNotFound", "No deployment"),
        json(json!({"statusCode": 401, "message": "Access denied due to invalid subscription key."}), "401", "Access denied due to invalid subscription key."),
        json(json!({"object": "error", "message": "Unauthorized", "type": "auth_error", "request_id": "r"}), "auth_error", "Unauthorized"),
        // xAI, Anthropic, Gemini (object and list), Vertex.
        json(json!({"code": "Client specified an invalid argument", "error": "Argument not supported on this model: temperature"}), "Client specified an invalid argument", "Argument not supported on this model: temperature"),
        json(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), "overloaded_error", "Overloaded"),
        json(json!({"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}), "INVALID_ARGUMENT", "API key not valid."),
        json(json!([{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [{"reason": "R"}]}}]), "RESOURCE_EXHAUSTED", "Quota exceeded"),
        json(json!([{"error": {"code": 503, "message": "busy"}}]), "503", "busy"),
        // OpenRouter, Z.ai, MiniMax, Cohere, vLLM, TGI, Ollama, Hugging Face.
        json(json!({"error": {"message": "Rate limit exceeded", "code": 429, "metadata": {}}, "user_id": "u"}), "429", "Rate limit exceeded"),
        json(json!({"error": {"code": "1113", "message": "Insufficient balance."}}), "1113", "Insufficient balance."),
        json(json!({"code": 1113, "msg": "no balance"}), "1113", "no balance"),
        json(json!({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), "1004", "login fail"),
        json(json!({"message": "invalid api token"}), "", "invalid api token"),
        json(json!({"object": "error", "message": "maximum context length is 4096", "type": "BadRequestError", "param": null, "code": 400}), "BadRequestError", "maximum context length is 4096"),
        json(json!({"error": "Input validation error", "error_type": "validation"}), "", "Input validation error"),
        json(json!({"error": "model \"x\" not found, try pulling it first"}), "", "model \"x\" not found, try pulling it first"),
        json(json!({"error": ["first", "second"]}), "", "first"),
        json(json!({"errors": [{"code": 10000, "message": "Authentication error"}], "success": false}), "10000", "Authentication error"),
        // FastAPI, Spring, NestJS, AWS, Apigee, OAuth, problem details.
        json(json!({"detail": "Not Found"}), "", "Not Found"),
        json(json!({"detail": [{"type": "missing", "loc": ["body", "messages", 0, "content"], "msg": "Field required"}]}), "", "Field required (body.messages.0.content)"),
        json(json!({"timestamp": "t", "status": 404, "error": "Not Found", "path": "/v1"}), "404", "Not Found"),
        json(json!({"statusCode": 403, "message": "Forbidden resource", "error": "Forbidden"}), "Forbidden", "Forbidden resource"),
        json(json!({"Message": "The security token is invalid"}), "", "The security token is invalid"),
        json(json!({"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit"}}}), "", "Rate limit quota violation"),
        json(json!({"error": "invalid_client", "error_description": "Unknown client"}), "invalid_client", "Unknown client"),
        json(json!({"type": "https://example.com/probs/out-of-credit", "title": "Out of credit.", "status": 403, "detail": "Your balance is 30."}), "Out of credit.", "Your balance is 30."),
        json(json!({"type": "about:blank", "title": "Service Unavailable", "status": 503}), "503", "Service Unavailable"),
        json(json!({"error": {"error": {"message": "deep", "code": "inner"}}}), "inner", "deep"),
        json(json!({"error": {"message": ""}, "detail": "beside"}), "", "beside"),
        json(json!({"error": true, "message": "flagged"}), "", "flagged"),
        json(json!({"unknown": 1}), "", "{\"unknown\":1}"),
        json(json!("a text in JSON"), "", "a text in JSON"),
        json(json!({}), "", ""),
        json(json!([]), "", ""),
        json(json!(null), "", ""),
        json(json!(404), "", ""),
        // No JSON.
        text("", ""),
        text(" \r\n", ""),
        text("upstream connect error or disconnect/reset before headers", "upstream connect error or disconnect/reset before headers"),
        text("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>cloudflare</body></html>", "502 Bad Gateway"),
        text("<html><body><h1>404 page not found</h1></body></html>", "404 page not found"),
        text("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>No entry</Message></Error>", "AccessDenied No entry"),
        text("{\"error\": {\"message\": \"cut", "{\"error\": {\"message\": \"cut"),
        ("\u{feff}{\"error\": {\"message\": \"marked\"}}".to_owned(), "", "marked"),
        ("data: {\"error\": {\"message\": \"streamed\", \"code\": \"c\"}}\n\ndata: [DONE]\n\n".to_owned(), "c", "streamed"),
        ("event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"api_error\", \"message\": \"broke\"}}\n\n".to_owned(), "api_error", "broke"),
        text("caf\u{e9} \u{1b}[31mred", "caf\u{e9} [31mred"),
    ]
}

fn of(status: u16, body: &[u8], mask: &KeyMask) -> Refusal {
    match refusal(status, body, mask) {
        Failure::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn an_error_is_read_in_every_form() {
    for (body, code, words) in bodies() {
        let refusal = of(499, body.as_bytes(), &KeyMask::default());
        assert_eq!(refusal.status, Some(499), "{body}");
        assert_eq!(refusal.code.as_deref().unwrap_or_default(), code, "{body}");
        assert_eq!(refusal.words, words, "{body}");
    }
}

#[test]
fn bytes_that_are_no_text_have_words_too() {
    assert_eq!(of(500, b"caf\xe9", &KeyMask::default()).words, "caf\u{fffd}");
    let long = vec![b'x'; 1 << 20];
    assert!(of(500, &long, &KeyMask::default()).words.len() < 400);
}

#[test]
fn an_error_with_status_200_has_the_status_that_it_names() {
    for (body, status, code, words) in [
        (
            json!({"error": {"message": "Rate limit exceeded", "code": 429}}),
            Some(429),
            Some("429"),
            "Rate limit exceeded",
        ),
        (json!({"error": {"message": "slow", "code": "429"}, "choices": []}), Some(429), Some("429"), "slow"),
        (
            json!({"error": {"message": "slow", "type": "overloaded"}, "choices": null}),
            None,
            Some("overloaded"),
            "slow",
        ),
        (json!({"error": "slow"}), None, None, "slow"),
        (
            json!([{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}]),
            Some(503),
            Some("UNAVAILABLE"),
            "busy",
        ),
        (
            json!({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
            None,
            Some("1004"),
            "login fail",
        ),
        (json!({"detail": "Not Found"}), None, None, "Not Found"),
        (json!({"type": "about:blank", "title": "Gone", "status": 410}), Some(410), Some("410"), "Gone"),
        (
            json!({"choices": [{"error": {"message": "cut", "code": 502}, "message": {"content": "x"}}]}),
            Some(502),
            Some("502"),
            "cut",
        ),
        (json!({"error": "both", "choices": [{"message": {"content": "x"}}]}), None, None, "both"),
    ] {
        let expected = Refusal { status, code: code.map(str::to_owned), words: words.to_owned() };
        let read = answer(body.to_string().as_bytes(), 1, &KeyMask::default()).0;
        assert_eq!(read, Err(Failure::Refused(expected)), "{body}");
    }
}

#[test]
fn an_error_that_says_nothing_beside_an_answer_is_none() {
    for error in
        [json!(""), json!(" "), json!(null), json!({}), json!([]), json!(false), json!({"message": ""})]
    {
        let body =
            json!({"error": error, "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]});
        let read = answer(body.to_string().as_bytes(), 1, &KeyMask::default()).0;
        assert_eq!(read.unwrap().content, "x", "{body}");
        let alone = json!({"error": body["error"], "object": "chat.completion"});
        let read = answer(alone.to_string().as_bytes(), 1, &KeyMask::default()).0;
        assert!(matches!(read, Err(Failure::Garbage(_))), "{alone}: {read:?}");
    }
}

/// A key wherever it stands in the body of an error, whatever its form: it is in no text of the failure.
#[test]
fn no_text_of_an_error_holds_the_key() {
    const KEY: &str = "Prod/Key+7=unlike-any-other";
    let mask = KeyMask::new(KEY);
    let percent = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let forms =
        [KEY.to_owned(), percent, KEY.replace('/', "\\/"), format!("Bearer {KEY}"), format!("'{KEY}',")];
    let mut random = fastrand::Rng::with_seed(11);
    let bodies = bodies();
    for _ in 0..4000 {
        let (body, ..) = &bodies[random.usize(..bodies.len())];
        let form = &forms[random.usize(..forms.len())];
        // In the place of a word, where the body stays what it is, or anywhere.
        let broken = match serde_json::from_str::<Value>(body) {
            Ok(value) if random.bool() => with_key(&value, form, &mut random).to_string(),
            _ => {
                let places: Vec<usize> = body.char_indices().map(|(at, _)| at).chain([body.len()]).collect();
                let mut text = body.clone();
                text.insert_str(places[random.usize(..places.len())], form);
                text
            }
        };
        for status in [200, 400, 401, 429, 500] {
            let failure = refusal(status, broken.as_bytes(), &mask);
            let within = answer(broken.as_bytes(), 1, &mask).0;
            let shown = format!("{failure} {failure:?} {within:?}");
            for piece in [KEY, "Key+7=unlike", "%50%72%6F%64"] {
                assert!(!shown.contains(piece), "{broken}: {shown}");
            }
        }
    }
}

/// The value with `form` appended to one of its texts.
fn with_key(value: &Value, form: &str, random: &mut fastrand::Rng) -> Value {
    match value {
        Value::String(text) => Value::String(format!("{text} {form}")),
        Value::Array(items) => items.iter().map(|item| with_key(item, form, random)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| {
                (key.clone(), if random.bool() { with_key(field, form, random) } else { field.clone() })
            })
            .collect(),
        other => other.clone(),
    }
}
