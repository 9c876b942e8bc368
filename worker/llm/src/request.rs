//! Body of a request in the OpenAI-compatible format, without fields that the question does not set.

use domain::answer::{AnswerForm, Message, Question, Role};
use serde::Serialize;
use serde_json::{Value, json};

/// JSON of a request.
#[derive(Debug, Serialize)]
struct Body<'q> {
    model: &'q str,
    messages: Vec<WireMessage<'q>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
}

#[derive(Debug, Serialize)]
struct WireMessage<'q> {
    role: &'static str,
    content: &'q str,
}

/// The body of a request for `question`.
pub fn body(question: &Question) -> Vec<u8> {
    let sampling = &question.sampling;
    let body = Body {
        model: &question.model,
        messages: question.messages.iter().map(wire_message).collect(),
        temperature: sampling.temperature,
        seed: sampling.seed,
        max_tokens: sampling.max_tokens,
        response_format: format(&sampling.form),
    };
    // Texts and finite numbers always serialise.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn wire_message(message: &Message) -> WireMessage<'_> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    WireMessage { role, content: &message.content }
}

fn format(form: &AnswerForm) -> Option<Value> {
    match form {
        AnswerForm::Text => None,
        AnswerForm::JsonObject => Some(json!({"type": "json_object"})),
        AnswerForm::JsonSchema { name, schema } => Some(json!({
            "type": "json_schema",
            "json_schema": {"name": name, "strict": false, "schema": schema},
        })),
    }
}

/// A cautious estimate of the tokens of a call: those of the prompt, and `usual_response` for the response.
pub fn estimated_tokens(question: &Question, usual_response: u64) -> u64 {
    prompt_tokens(question)
        + question.sampling.max_tokens.map_or(usual_response, |most| usual_response.min(u64::from(most)))
}

/// An estimate of the tokens of a prompt: one for four bytes, and four for each message.
pub fn prompt_tokens(question: &Question) -> u64 {
    question.bytes() as u64 / 4 + 4 * question.messages.len() as u64
}

#[cfg(test)]
mod tests {
    use domain::answer::Sampling;

    use super::*;

    #[test]
    fn only_fields_that_are_set_are_sent() {
        let mut question = Question {
            endpoint: "http://h/v1/chat/completions".to_owned(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::System, "s"), Message::new(Role::User, "u")],
            sampling: Sampling::default(),
            sample: 0,
        };
        let text = |question: &Question| String::from_utf8(body(question)).unwrap();
        let plain =
            r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#;
        assert_eq!(text(&question), plain);
        question.sampling = Sampling {
            temperature: Some(0.0),
            seed: Some(7),
            max_tokens: Some(100),
            form: AnswerForm::JsonSchema { name: "patch".to_owned(), schema: json!({"type": "object"}) },
        };
        let all = text(&question);
        for part in [
            r#""temperature":0.0,"seed":7,"max_tokens":100"#,
            r#""json_schema":{"name":"patch","strict":false,"schema":{"type":"object"}}"#,
        ] {
            assert!(all.contains(part), "{all}");
        }
        assert_eq!(estimated_tokens(&question, 300), 8 + 100);
    }
}
