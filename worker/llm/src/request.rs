//! Body of a request to chat completions or responses, without fields that the question does not set.

use domain::answer::{AnswerForm, Api, CacheName, MaxTokensName, Message, Question, Role, Sampling};
use serde_json::{Map, Value, json};

/// The header that names the calls about one document to xAI.
pub(crate) const CONVERSATION: &str = "x-grok-conv-id";

/// The body of a request for `question`.
pub fn body(question: &Question) -> Vec<u8> {
    let sampling = &question.sampling;
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(question.model));
    let messages: Vec<Value> = question.messages.iter().map(wire_message).collect();
    match sampling.api {
        Api::Chat => chat(&mut body, messages, sampling),
        Api::Responses => responses(&mut body, messages, sampling),
    }
    if let Some(tier) = sampling.service_tier {
        body.insert("service_tier".to_owned(), json!(tier.as_str()));
    }
    if let Some(CacheName::PromptCacheKey(name)) = &sampling.cache_name {
        body.insert("prompt_cache_key".to_owned(), json!(name));
    }
    body.extend(sampling.extra_body.clone());
    // Texts and finite numbers always serialise.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn chat(body: &mut Map<String, Value>, messages: Vec<Value>, sampling: &Sampling) {
    body.insert("messages".to_owned(), Value::Array(messages));
    let longest = match sampling.max_tokens_as {
        MaxTokensName::MaxTokens => "max_tokens",
        MaxTokensName::MaxCompletionTokens => "max_completion_tokens",
    };
    let format = format(&sampling.form).map(|format| match format {
        Format::Object => json!({"type": "json_object"}),
        Format::Schema(schema) => json!({"type": "json_schema", "json_schema": schema}),
    });
    for (key, value) in [
        ("temperature", sampling.temperature.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        (longest, sampling.max_tokens.map(Value::from)),
        ("response_format", format),
        ("reasoning_effort", sampling.reasoning_effort.clone().map(Value::from)),
    ] {
        body.extend(value.map(|value| (key.to_owned(), value)));
    }
}

fn responses(body: &mut Map<String, Value>, messages: Vec<Value>, sampling: &Sampling) {
    body.insert("input".to_owned(), Value::Array(messages));
    // Prompts hold manifests: the provider is not to keep them.
    body.insert("store".to_owned(), json!(false));
    let format = format(&sampling.form).map(|format| match format {
        Format::Object => json!({"format": {"type": "json_object"}}),
        Format::Schema(mut schema) => {
            schema["type"] = json!("json_schema");
            json!({"format": schema})
        }
    });
    for (key, value) in [
        ("temperature", sampling.temperature.map(Value::from)),
        ("max_output_tokens", sampling.max_tokens.map(Value::from)),
        ("text", format),
        ("reasoning", sampling.reasoning_effort.as_ref().map(|effort| json!({"effort": effort}))),
    ] {
        body.extend(value.map(|value| (key.to_owned(), value)));
    }
}

fn wire_message(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({"role": role, "content": message.content})
}

/// A form that is asked for.
enum Format {
    Object,
    /// Name, strictness and schema.
    Schema(Value),
}

fn format(form: &AnswerForm) -> Option<Format> {
    match form {
        AnswerForm::Text => None,
        AnswerForm::JsonObject => Some(Format::Object),
        AnswerForm::JsonSchema { name, schema, strict } => {
            Some(Format::Schema(json!({"name": name, "strict": strict, "schema": schema})))
        }
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
    use std::sync::Arc;

    use domain::answer::ServiceTier;

    use super::*;

    fn question(sampling: Sampling) -> Question {
        Question {
            endpoint: "http://h/v1/chat/completions".to_owned(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::System, "s"), Message::new(Role::User, "u")],
            sampling,
            sample: 0,
        }
    }

    fn text(sampling: Sampling) -> String {
        String::from_utf8(body(&question(sampling))).unwrap()
    }

    /// Everything that can be set.
    fn all(api: Api) -> Sampling {
        Sampling {
            temperature: Some(0.0),
            seed: Some(7),
            max_tokens: Some(100),
            form: AnswerForm::JsonSchema {
                name: "patch".to_owned(),
                schema: Arc::new(json!({"type": "object"})),
                strict: true,
            },
            api,
            max_tokens_as: MaxTokensName::MaxCompletionTokens,
            reasoning_effort: Some("low".to_owned()),
            service_tier: Some(ServiceTier::Flex),
            cache_name: Some(CacheName::PromptCacheKey("d".to_owned())),
            extra_body: Map::from_iter([("top_k".to_owned(), json!(5))]),
            ..Sampling::default()
        }
    }

    #[test]
    fn only_fields_that_are_set_are_sent() {
        let plain =
            r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#;
        assert_eq!(text(Sampling::default()), plain);
        let form = AnswerForm::JsonSchema {
            name: "patch".to_owned(),
            schema: Arc::new(json!({"type": "object"})),
            strict: false,
        };
        let older = Sampling {
            temperature: Some(0.0),
            seed: Some(7),
            max_tokens: Some(100),
            form,
            ..Sampling::default()
        };
        let sent = text(older);
        for part in [
            r#""temperature":0.0,"seed":7,"max_tokens":100"#,
            r#""json_schema":{"name":"patch","strict":false,"schema":{"type":"object"}}"#,
        ] {
            assert!(sent.contains(part), "{sent}");
        }
        assert_eq!(estimated_tokens(&question(all(Api::Chat)), 300), 8 + 100);
    }

    #[test]
    fn every_parameter_has_its_name_in_chat_completions() {
        let expected = concat!(
            r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"temperature":0.0,"#,
            r#""seed":7,"max_completion_tokens":100,"response_format":{"type":"json_schema","json_schema":"#,
            r#"{"name":"patch","strict":true,"schema":{"type":"object"}}},"reasoning_effort":"low","service_tier":"flex","#,
            r#""prompt_cache_key":"d","top_k":5}"#
        );
        assert_eq!(text(all(Api::Chat)), expected);
    }

    #[test]
    fn every_parameter_has_its_name_in_responses_and_nothing_is_stored() {
        let sent: Value = serde_json::from_str(&text(all(Api::Responses))).unwrap();
        let expected = json!({
            "model": "m", "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "store": false, "temperature": 0.0, "max_output_tokens": 100,
            "text": {"format": {"type": "json_schema", "name": "patch", "strict": true, "schema": {"type": "object"}}},
            "reasoning": {"effort": "low"}, "service_tier": "flex", "prompt_cache_key": "d", "top_k": 5,
        });
        assert_eq!(sent, expected);
        let plain = text(Sampling { api: Api::Responses, ..Sampling::default() });
        assert!(plain.ends_with(r#""store":false}"#) && !plain.contains("text"), "{plain}");
    }
}
