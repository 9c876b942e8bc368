//! Questions to a model, what calls came to, and answers.

use std::time::Duration;

use domain::answer::{Answer, CallOutcome, Finish};
use domain::budget::Usage;
use domain::ids::{AnswerKey, RunId};

use super::{BadMessage, hash_bytes, required};
use crate::v1;
use crate::v1::call_result::Outcome;

/// Longest answer that is taken, in bytes.
pub const ANSWER_BYTES: usize = 4 << 20;

/// Longest reason of a failed call, in characters.
const REASON_CHARS: usize = 1000;

/// A worker wants the answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireCall {
    /// Counts up over the worker's life.
    pub number: u64,
    /// For which run.
    pub run_id: RunId,
    /// Key of the answer.
    pub key: AnswerKey,
    /// How many tokens question and answer will take, as estimated.
    pub tokens: u64,
    /// Whether the call is under way, allowed on an earlier stream.
    pub under_way: bool,
}

/// A call has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult {
    /// Which question.
    pub number: u64,
    /// For which run.
    pub run_id: RunId,
    /// Key of the answer.
    pub key: AnswerKey,
    /// What came of it.
    pub outcome: CallOutcome,
    /// Tokens that were paid for, also where there is no answer.
    pub usage: Usage,
    /// Calls a minute that the provider says it allows.
    pub advertised_requests: Option<u64>,
    /// Tokens a minute that the provider says it allows.
    pub advertised_tokens: Option<u64>,
}

fn key(field: &'static str, bytes: &[u8]) -> Result<AnswerKey, BadMessage> {
    hash_bytes(field, bytes).map(AnswerKey::from_bytes)
}

fn run_id(field: &'static str, text: String) -> Result<RunId, BadMessage> {
    RunId::new(text).map_err(|error| BadMessage::new(field, error))
}

impl From<&AcquireCall> for v1::AcquireCall {
    fn from(asked: &AcquireCall) -> Self {
        Self {
            number: asked.number,
            run_id: asked.run_id.to_string(),
            key: asked.key.as_bytes().to_vec(),
            tokens: asked.tokens,
            under_way: asked.under_way,
        }
    }
}

impl TryFrom<v1::AcquireCall> for AcquireCall {
    type Error = BadMessage;

    fn try_from(question: v1::AcquireCall) -> Result<Self, BadMessage> {
        Ok(Self {
            number: question.number,
            run_id: run_id("acquire_call.run_id", question.run_id)?,
            key: key("acquire_call.key", &question.key)?,
            tokens: question.tokens,
            under_way: question.under_way,
        })
    }
}

impl From<Usage> for v1::Usage {
    fn from(usage: Usage) -> Self {
        let Usage { prompt, completion, reasoning, cached, total } = usage;
        Self { prompt, completion, reasoning, cached, total }
    }
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Self {
        let v1::Usage { prompt, completion, reasoning, cached, total } = usage;
        Self { prompt, completion, reasoning, cached, total }
    }
}

impl From<Answer> for v1::Answer {
    fn from(answer: Answer) -> Self {
        Self {
            content: answer.content,
            finish: match answer.finish {
                Finish::Stop => "stop".to_owned(),
                Finish::Length => "length".to_owned(),
                Finish::Filtered => "filtered".to_owned(),
                Finish::Other(word) => word,
            },
            usage: Some(answer.usage.into()),
            model: answer.model,
        }
    }
}

impl TryFrom<v1::Answer> for Answer {
    type Error = BadMessage;

    fn try_from(answer: v1::Answer) -> Result<Self, BadMessage> {
        if answer.content.len() > ANSWER_BYTES {
            return Err(BadMessage::new("answer.content", format!("is longer than {ANSWER_BYTES} bytes")));
        }
        Ok(Self {
            content: answer.content,
            finish: match answer.finish.as_str() {
                "stop" => Finish::Stop,
                "length" => Finish::Length,
                "filtered" => Finish::Filtered,
                other => Finish::Other(other.chars().take(50).collect()),
            },
            usage: answer.usage.unwrap_or_default().into(),
            model: answer.model.chars().take(200).collect(),
        })
    }
}

impl From<CallOutcome> for Outcome {
    fn from(outcome: CallOutcome) -> Self {
        match outcome {
            CallOutcome::Answered(answer) => Self::Answer(answer.into()),
            CallOutcome::Throttled { retry_after, tokens } => {
                let ms = retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Self::Throttled(v1::Throttled { retry_after_ms: ms, tokens })
            }
            CallOutcome::Failed { reason, stop } => Self::Failed(v1::CallFailed { reason, stop }),
            CallOutcome::Unsent => Self::Unsent(v1::Unsent {}),
        }
    }
}

impl TryFrom<Outcome> for CallOutcome {
    type Error = BadMessage;

    fn try_from(outcome: Outcome) -> Result<Self, BadMessage> {
        Ok(match outcome {
            Outcome::Answer(answer) => Self::Answered(answer.try_into()?),
            Outcome::Throttled(throttled) => Self::Throttled {
                retry_after: (throttled.retry_after_ms > 0)
                    .then(|| Duration::from_millis(throttled.retry_after_ms)),
                tokens: throttled.tokens,
            },
            Outcome::Failed(failed) => {
                Self::Failed { reason: failed.reason.chars().take(REASON_CHARS).collect(), stop: failed.stop }
            }
            Outcome::Unsent(v1::Unsent {}) => Self::Unsent,
        })
    }
}

impl From<&CallResult> for v1::CallResult {
    fn from(ended: &CallResult) -> Self {
        Self {
            number: ended.number,
            run_id: ended.run_id.to_string(),
            key: ended.key.as_bytes().to_vec(),
            outcome: Some(ended.outcome.clone().into()),
            usage: Some(ended.usage.into()),
            advertised_requests_per_minute: ended.advertised_requests.unwrap_or(0),
            advertised_tokens_per_minute: ended.advertised_tokens.unwrap_or(0),
        }
    }
}

impl TryFrom<v1::CallResult> for CallResult {
    type Error = BadMessage;

    fn try_from(ended: v1::CallResult) -> Result<Self, BadMessage> {
        let told = |limit: u64| (limit > 0).then_some(limit);
        Ok(Self {
            number: ended.number,
            run_id: run_id("call_result.run_id", ended.run_id)?,
            key: key("call_result.key", &ended.key)?,
            outcome: required("call_result.outcome", ended.outcome)?.try_into()?,
            usage: ended.usage.unwrap_or_default().into(),
            advertised_requests: told(ended.advertised_requests_per_minute),
            advertised_tokens: told(ended.advertised_tokens_per_minute),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: CallOutcome) -> CallResult {
        CallResult {
            number: 7,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(b"question"),
            outcome,
            usage: Usage { prompt: 1, completion: 2, reasoning: 3, cached: 4, total: 6 },
            advertised_requests: Some(480),
            advertised_tokens: None,
        }
    }

    #[test]
    fn what_a_call_came_to_survives() {
        let answer = |finish| Answer {
            content: "[]".to_owned(),
            finish,
            usage: Usage { total: 9, ..Usage::default() },
            model: "m".to_owned(),
        };
        for outcome in [
            CallOutcome::Answered(answer(Finish::Stop)),
            CallOutcome::Answered(answer(Finish::Length)),
            CallOutcome::Answered(answer(Finish::Other("tool".to_owned()))),
            CallOutcome::Throttled { retry_after: Some(Duration::from_millis(1500)), tokens: true },
            CallOutcome::Throttled { retry_after: None, tokens: false },
            CallOutcome::Failed { reason: "why".to_owned(), stop: true },
            CallOutcome::Unsent,
        ] {
            let sent = ended(outcome);
            assert_eq!(CallResult::try_from(v1::CallResult::from(&sent)).unwrap(), sent);
        }
    }

    #[test]
    fn a_question_survives_and_a_short_key_is_refused() {
        let asked = AcquireCall {
            number: 1,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(b"q"),
            tokens: 1500,
            under_way: true,
        };
        let mut sent = v1::AcquireCall::from(&asked);
        assert_eq!(AcquireCall::try_from(sent.clone()).unwrap(), asked);
        sent.key.pop();
        assert_eq!(AcquireCall::try_from(sent).unwrap_err().field, "acquire_call.key");
    }

    #[test]
    fn an_answer_too_long_is_refused() {
        let answer = v1::Answer { content: "x".repeat(ANSWER_BYTES + 1), ..v1::Answer::default() };
        assert_eq!(Answer::try_from(answer).unwrap_err().field, "answer.content");
    }
}
