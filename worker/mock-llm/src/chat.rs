//! A request for a chat completion, and the reply to it.

use domain::ids::AnswerKey;
use serde_json::{Value, json};

/// A parsed request.
pub(crate) struct ChatRequest {
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

    pub(crate) const fn total(&self) -> usize {
        self.prompt + self.answer
    }
}

/// The body of a reply with this text.
pub(crate) fn completion(request: &ChatRequest, text: &str, tokens: Tokens) -> Value {
    let choice = |index: usize| json!({"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let choices: Vec<Value> = (0..request.samples).map(choice).collect();
    json!({
        "id": format!("mock-{}", &request.key.to_string()[..16]), "object": "chat.completion", "model": request.model,
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
pub(crate) fn read(body: &[u8]) -> Result<ChatRequest, &'static str> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "the body is not valid JSON")?;
    let messages =
        value["messages"].as_array().filter(|list| !list.is_empty()).ok_or("messages is missing")?;
    let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    let user = messages
        .iter()
        .find(|message| message["role"] == "user")
        .ok_or("a message with the role user is missing")?;
    let whole = serde_json::to_vec(messages).map_err(|_| "messages cannot be read")?;
    Ok(ChatRequest {
        model: value["model"].as_str().ok_or("model is missing")?.to_owned(),
        key: AnswerKey::of(&whole),
        prompt: text(user),
        bytes: messages.iter().map(|message| text(message).len()).sum(),
        samples: value["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1).clamp(1, 16),
    })
}
