//! A prompt to a model, its response, and the key of the response in the cache.
//!
//! *Invariant*: the key depends on everything that may change the response, and on nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::{Charge, Usage};
use crate::ids::AnswerKey;

mod parameters;
mod served;

pub use parameters::{Api, CacheName, MaxTokensName, ServiceTier, StickyCache};
pub use served::ServedModel;

/// Longest wait after a refused call that a provider is believed to ask for; a longer one is cut to it. Limits by the day and
/// by the week exist.
pub const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86_400);

/// Role of the author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions of the harness.
    System,
    /// A request of the harness.
    User,
    /// A response of the model.
    Assistant,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Role of its author.
    pub role: Role,
    /// Text of the message, shared by the questions of a conversation.
    pub content: Arc<str>,
}

impl Message {
    /// Creates a message.
    pub fn new(role: Role, content: impl Into<Arc<str>>) -> Self {
        Self { role, content: content.into() }
    }
}

/// The format requested for a response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// Plain text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema.
    JsonSchema {
        /// Name of the schema, which providers require.
        name: String,
        /// The JSON schema itself, shared by all questions.
        schema: Arc<Value>,
        /// Whether the provider is to keep it strictly.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// How the model is to choose its words, and how it is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// `None`: the provider's default.
    pub temperature: Option<f64>,
    /// Seed that is sent along. `None`: none is.
    pub seed: Option<u64>,
    /// Longest answer in tokens. `None`: the provider's default.
    pub max_tokens: Option<u32>,
    /// The form that is asked for.
    pub form: AnswerForm,
    /// The API that is called.
    #[serde(default, skip_serializing_if = "Api::is_chat")]
    pub api: Api,
    /// The name by which the longest answer is sent.
    #[serde(default, skip_serializing_if = "MaxTokensName::is_older")]
    pub max_tokens_as: MaxTokensName,
    /// How much the model is to reason, a word of the provider. `None`: its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// The tier that is asked for. `None`: the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// The name that the calls about a document share. `None`: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_name: Option<CacheName>,
    /// Further keys of the body, as they are.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// Further headers, as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
}

/// Everything that decides an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Where the model is asked.
    pub endpoint: String,
    /// The model.
    pub model: String,
    /// What is said to it.
    pub messages: Vec<Message>,
    /// How it is to answer.
    pub sampling: Sampling,
    /// Which of several samples of the same question, from 0.
    pub sample: u32,
}

impl Question {
    /// The key of its answer.
    pub fn key(&self) -> AnswerKey {
        // Struct fields keep their order, and texts in JSON cannot run into each other.
        let mut bytes = b"answer 1\n".to_vec();
        bytes.extend(serde_json::to_vec(self).unwrap_or_default());
        AnswerKey::of(&bytes)
    }

    /// How many bytes of text are sent.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.content.len()).sum()
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It had said everything.
    Stop,
    /// The longest answer was reached: what there is, is cut off.
    Length,
    /// The provider withheld the response.
    Filtered,
    /// The provider's own finish reason; empty when it gives none.
    Other(String),
}

/// Response of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Text of the response.
    pub content: String,
    /// Finish reason of the response.
    pub finish: Finish,
    /// Tokens of the call.
    pub usage: Usage,
    /// What the provider says of its price.
    pub charge: Charge,
    /// Model name in the provider's response; empty when it has none.
    pub model: String,
}

impl Answer {
    /// Whether the response is complete and may be cached. An empty, cut-off or withheld response is a failed call: cached,
    /// it would be returned for every later request.
    pub fn is_whole(&self) -> bool {
        !self.content.trim().is_empty() && !matches!(self.finish, Finish::Length | Finish::Filtered)
    }
}

/// Result of a call to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// A complete response.
    Answered(Answer),
    /// The provider refused the call because of a rate limit.
    Throttled {
        /// Wait from the provider's `Retry-After`.
        retry_after: Option<Duration>,
        /// Whether the limit of tokens was exceeded; false: the limit of calls.
        tokens: bool,
        /// The provider's first words, without API keys.
        reason: String,
    },
    /// The call failed for another reason; an incomplete response counts as a failure.
    Failed {
        /// Error text without API keys.
        reason: String,
        /// What the failure belongs to.
        kind: FailureKind,
        /// The model that an incomplete response names; empty: there is none, or it names none.
        model: String,
    },
    /// It was never made.
    Unsent,
}

impl CallOutcome {
    /// A failure without any response.
    pub fn failed(reason: &(impl ToString + ?Sized), kind: FailureKind) -> Self {
        Self::Failed { reason: reason.to_string(), kind, model: String::new() }
    }
}

/// What a failed call belongs to, and so what becomes of its record and its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The prompt, as one that a content policy refuses or that is too long: this record alone goes without an answer.
    Prompt,
    /// The provider or the network at this moment, as a 503 or a refused connection: the same call may succeed later.
    Passing,
    /// The API key is refused. Every call would fail; but where calls with this key were answered before, it may be a
    /// passing error of a gateway.
    Key,
    /// The account or the configuration, as an account without credit, an unknown model or an unsupported parameter:
    /// every call would fail.
    Account,
    /// The form of answers that was asked for: the worker asks for a weaker one from now on.
    Form,
    /// Not known to be any of these.
    Unknown,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Prompt, Self::Passing, Self::Key, Self::Account, Self::Form, Self::Unknown];

    /// The word for messages and the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Passing => "passing",
            Self::Key => "key",
            Self::Account => "account",
            Self::Form => "form",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            endpoint: "http://localhost/v1/chat/completions".to_owned(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::System, "a"), Message::new(Role::User, "b")],
            sampling: Sampling::default(),
            sample: 0,
        }
    }

    #[test]
    fn a_question_of_an_earlier_release_has_the_key_that_it_had() {
        let mut old = question();
        old.sampling.temperature = Some(0.0);
        old.sampling.form =
            AnswerForm::JsonSchema { name: "n".to_owned(), schema: Arc::new(Value::Null), strict: false };
        let text = concat!(
            r#"{"endpoint":"http://localhost/v1/chat/completions","model":"m","messages":[{"role":"system","content":"a"},"#,
            r#"{"role":"user","content":"b"}],"sampling":{"temperature":0.0,"seed":null,"max_tokens":null,"#,
            r#""form":{"json_schema":{"name":"n","schema":null}}},"sample":0}"#
        );
        assert_eq!(serde_json::to_string(&old).unwrap(), text, "recorded answers stay usable");
        assert_eq!(old.key(), AnswerKey::of(format!("answer 1\n{text}").as_bytes()));
        assert_eq!(serde_json::from_str::<Question>(text).unwrap(), old);
    }

    #[test]
    fn every_part_of_a_question_changes_its_key() {
        let changes: [fn(&mut Question); 17] = [
            |question| question.endpoint.push('x'),
            |question| question.model.push('x'),
            |question| question.messages[1].content = "b ".into(),
            |question| question.messages[1].role = Role::Assistant,
            |question| question.sampling.temperature = Some(0.0),
            |question| question.sampling.seed = Some(1),
            |question| question.sampling.max_tokens = Some(1),
            |question| question.sampling.form = AnswerForm::JsonObject,
            |question| {
                question.sampling.form = AnswerForm::JsonSchema {
                    name: String::new(),
                    schema: Arc::new(Value::Null),
                    strict: true,
                };
            },
            |question| question.sampling.api = Api::Responses,
            |question| question.sampling.max_tokens_as = MaxTokensName::MaxCompletionTokens,
            |question| question.sampling.reasoning_effort = Some("low".to_owned()),
            |question| question.sampling.service_tier = Some(ServiceTier::Flex),
            |question| question.sampling.cache_name = Some(CacheName::XGrokConvId("d".to_owned())),
            |question| drop(question.sampling.extra_body.insert("k".to_owned(), Value::Null)),
            |question| drop(question.sampling.extra_headers.insert("k".to_owned(), String::new())),
            |question| question.sample = 1,
        ];
        let mut keys = vec![question().key()];
        for change in changes {
            let mut other = question();
            change(&mut other);
            keys.push(other.key());
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 18);
        assert_eq!(question().key(), question().key());
    }

    #[test]
    fn text_cannot_move_from_one_message_to_the_next() {
        let mut joined = question();
        joined.messages = vec![Message::new(Role::System, "ab"), Message::new(Role::User, "")];
        assert_ne!(joined.key(), question().key());
    }

    #[test]
    fn an_answer_that_is_not_whole_is_not_kept() {
        let answer = |content: &str, finish| Answer {
            content: content.to_owned(),
            finish,
            usage: Usage::default(),
            charge: Charge::default(),
            model: String::new(),
        };
        assert!(answer("[]", Finish::Stop).is_whole());
        assert!(answer("[]", Finish::Other(String::new())).is_whole());
        assert!(!answer(" \n", Finish::Stop).is_whole());
        assert!(!answer("[{", Finish::Length).is_whole());
        assert!(!answer("no", Finish::Filtered).is_whole());
    }
}
