//! How a model is asked beside its prompt: the form of its answer, the parameters that are sent, what another model means.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::InvalidConfig;
use crate::answer::Api;

/// What happens when another model answers than the one that was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnModelMismatch {
    /// The run stops at the first such answer, and can be resumed.
    #[default]
    Stop,
    /// The log says it once, and the answers are used.
    Warn,
}

impl OnModelMismatch {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(super) fn is_stop(&self) -> bool {
        *self == Self::Stop
    }
}

/// The form that a provider is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// The strictest form that the provider takes: from `strict_schema` down, once for a run.
    #[default]
    Auto,
    /// JSON of our schema, which the provider is to keep strictly.
    StrictSchema,
    /// JSON of our schema, as far as the provider keeps it.
    JsonSchema,
    /// Any JSON object.
    JsonObject,
    /// Plain text.
    Text,
}

impl AnswerFormat {
    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::StrictSchema => "strict_schema",
            Self::JsonSchema => "json_schema",
            Self::JsonObject => "json_object",
            Self::Text => "text",
        }
    }

    /// The form that is asked for first.
    #[must_use]
    pub const fn first(self) -> Self {
        match self {
            Self::Auto => Self::StrictSchema,
            form => form,
        }
    }

    /// The next weaker form; `None`: there is none.
    pub const fn weaker(self) -> Option<Self> {
        match self {
            Self::Auto | Self::StrictSchema => Some(Self::JsonSchema),
            Self::JsonSchema => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Text),
            Self::Text => None,
        }
    }
}

/// Keys of a request's body that we send ourselves, or that would change the form of the reply.
const OWN_KEYS: [&str; 18] = [
    "model",
    "messages",
    "input",
    "instructions",
    "temperature",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "response_format",
    "text",
    "reasoning",
    "reasoning_effort",
    "service_tier",
    "prompt_cache_key",
    "store",
    "stream",
    "n",
];

/// What is wrong with the parameters of a request.
pub(super) fn check(
    api: Api,
    seed: Option<u64>,
    effort: &str,
    extra_body: &Map<String, Value>,
) -> Result<(), InvalidConfig> {
    let refuse = |key, reason: String| Err(InvalidConfig { key, reason });
    if effort.len() > 20 || !effort.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
        return refuse("proposer.reasoning_effort", "must be a word in lower case, such as low".to_owned());
    }
    if api == Api::Responses && seed.is_some() {
        return refuse(
            "proposer.seed",
            "must be null where proposer.api is responses, which has none".to_owned(),
        );
    }
    if let Some(own) = extra_body.keys().find(|key| OWN_KEYS.contains(&key.as_str())) {
        let reason =
            format!("must not hold {own}: the harness sends it itself, or reads its effect in the reply");
        return refuse("proposer.extra_body", reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_answers_grow_weaker_to_text() {
        let mut form = AnswerFormat::Auto.first();
        let mut forms = vec![form.as_str()];
        while let Some(weaker) = form.weaker() {
            form = weaker;
            forms.push(form.as_str());
        }
        assert_eq!(forms, ["strict_schema", "json_schema", "json_object", "text"]);
        assert_eq!(AnswerFormat::JsonObject.first(), AnswerFormat::JsonObject);
    }
}
