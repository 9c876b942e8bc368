//! A request for a completion, to either API, and the reply to it.

use domain::ids::AnswerKey;
use serde_json::{Value, json};

/// Which API a request is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/responses`.
    Responses,
}

impl Api {
    /// The one that a line of a batch names.
    pub(crate) fn of_line(line: &Value) -> Self {
        if line["url"] == "/v1/responses" { Self::Responses } else { Self::Chat }
    }
}

/// A parsed request.
pub(crate) struct ChatRequest {
    pub(crate) api: Api,
    pub(crate) model: String,
    /// Hash of all messages.
    pub(crate) key: AnswerKey,
    /// The first user message.
    pub(crate) prompt: String,
    pub(crate) bytes: usize,
    pub(crate) samples: usize,
}

/// Tokens of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) prompt: usize,
    pub(crate) answer: usize,
    /// Those of the prompt that were in the cache.
    pub(crate) cached: usize,
}

impl Tokens {
    /// Tokens of a prompt of so many bytes, of which a share is in the cache, and of its answer.
    pub(crate) fn of(prompt_bytes: usize, answer: &str, cached_share: f64) -> Self {
        let prompt = prompt_bytes.div_ceil(4);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let cached = (prompt as f64 * cached_share.clamp(0.0, 1.0)) as usize;
        Self { prompt, answer: answer.len().div_ceil(4), cached }
    }

    /// Those of prompt and answer.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let count = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
        (count(self.prompt), count(self.answer))
    }

    pub(crate) const fn total(&self) -> usize {
        self.prompt + self.answer
    }
}

/// The body of a reply with this text.
pub(crate) fn completion(request: &ChatRequest, text: &str, tokens: Tokens) -> Value {
    let id = format!("mock-{}", &request.key.to_string()[..16]);
    if request.api == Api::Responses {
        return json!({
            "id": id, "object": "response", "status": "completed",
            "output": [
                {"type": "reasoning", "id": "rs-1", "summary": []},
                {"type": "message", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]},
            ],
            "usage": {
                "input_tokens": tokens.prompt, "input_tokens_details": {"cached_tokens": tokens.cached},
                "output_tokens": tokens.answer, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": tokens.total(),
            },
        });
    }
    let choice = |index: usize| json!({"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let choices: Vec<Value> = (0..request.samples).map(choice).collect();
    json!({
        "id": id, "object": "chat.completion",
        "choices": choices,
        "usage": {
            "prompt_tokens": tokens.prompt, "completion_tokens": tokens.answer, "total_tokens": tokens.total(),
            "prompt_tokens_details": {"cached_tokens": tokens.cached},
        },
    })
}

/// Random generator of one call: the same for the same seed, prompt and number.
pub(crate) fn random(seed: u64, key: &AnswerKey, time: u64) -> fastrand::Rng {
    let mut text = key.as_bytes().to_vec();
    text.extend(seed.to_le_bytes());
    text.extend(time.to_le_bytes());
    let hash = AnswerKey::of(&text);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    fastrand::Rng::with_seed(u64::from_le_bytes(first))
}

/// Reads the body of a request.
pub(crate) fn read(api: Api, body: &[u8]) -> Result<ChatRequest, &'static str> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "the body is not valid JSON")?;
    let (list, missing) = match api {
        Api::Chat => (&value["messages"], "messages is missing"),
        Api::Responses => (&value["input"], "input is missing"),
    };
    let messages = list.as_array().filter(|list| !list.is_empty()).ok_or(missing)?;
    let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    let user = messages
        .iter()
        .find(|message| message["role"] == "user")
        .ok_or("a message with the role user is missing")?;
    let whole = serde_json::to_vec(messages).map_err(|_| "messages cannot be read")?;
    Ok(ChatRequest {
        api,
        model: value["model"].as_str().ok_or("model is missing")?.to_owned(),
        key: AnswerKey::of(&whole),
        prompt: text(user),
        bytes: messages.iter().map(|message| text(message).len()).sum(),
        samples: value["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1).clamp(1, 16),
    })
}
