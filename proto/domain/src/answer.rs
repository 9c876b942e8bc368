//! A prompt to a model, its response, and the key of the response in the cache.
//!
//! *Invariant*: the key depends on everything that may change the response, and on nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Usage;
use crate::ids::AnswerKey;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The harness sets the rules.
    System,
    /// The harness asks.
    User,
    /// The model answers.
    Assistant,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// The form that an answer is asked to have.
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
        /// Names the schema.
        name: String,
        /// The schema.
        schema: Value,
    },
}

/// How the model is to choose its words.
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
    /// The provider held the answer back.
    Filtered,
    /// Anything else, as the provider says it; empty when it says nothing.
    Other(String),
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The text.
    pub content: String,
    /// Why it ends.
    pub finish: Finish,
    /// What it used.
    pub usage: Usage,
    /// The model that answered, as it names itself; empty when it does not.
    pub model: String,
}

impl Answer {
    /// Whether the answer is whole, so that it may be kept and used again. An empty, cut-off or withheld answer is a
    /// failure of the call: kept, it would be served for ever.
    pub fn is_whole(&self) -> bool {
        !self.content.trim().is_empty() && !matches!(self.finish, Finish::Length | Finish::Filtered)
    }
}

/// What came of a call to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// A whole answer.
    Answered(Answer),
    /// Too many calls.
    Throttled {
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
        /// Whether there were too many tokens, not too many calls.
        tokens: bool,
    },
    /// Something else went wrong; an answer that is not whole counts among it.
    Failed {
        /// Why, without keys.
        reason: String,
        /// Every call would fail: a person has to mend the settings.
        stop: bool,
    },
    /// It was never made.
    Unsent,
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
    fn every_part_of_a_question_changes_its_key() {
        let changes: [fn(&mut Question); 8] = [
            |question| question.endpoint.push('x'),
            |question| question.model.push('x'),
            |question| question.messages[1].content.push('x'),
            |question| question.messages[1].role = Role::Assistant,
            |question| question.sampling.temperature = Some(0.0),
            |question| question.sampling.seed = Some(1),
            |question| question.sampling.form = AnswerForm::JsonObject,
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
        assert_eq!(keys.len(), 9);
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
            model: String::new(),
        };
        assert!(answer("[]", Finish::Stop).is_whole());
        assert!(answer("[]", Finish::Other(String::new())).is_whole());
        assert!(!answer(" \n", Finish::Stop).is_whole());
        assert!(!answer("[{", Finish::Length).is_whole());
        assert!(!answer("no", Finish::Filtered).is_whole());
    }
}
