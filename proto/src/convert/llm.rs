//! LLM requests, call results and responses.

use std::fmt;
use std::time::Duration;

use domain::answer::{Answer, CallOutcome, FailureKind, Finish, LONGEST_WAIT};
use domain::budget::{Charge, Tier, Usage, Usd};
use domain::ids::{AnswerKey, RunId};

use super::{BadMessage, hash_bytes, required};
use crate::v1;
use crate::v1::call_result::Outcome;

/// Longest accepted response, in bytes.
pub const ANSWER_BYTES: usize = 4 << 20;

/// Characters after which the reason of a failed call is cut off.
const REASON_CHARS: usize = 1000;

/// Characters after which the name of a model is cut off.
const MODEL_CHARS: usize = 200;

/// Largest limit of calls or tokens a minute that is believed.
const MOST_A_MINUTE: u64 = 1_000_000_000_000;

/// Shows that the coordinator permitted a call, or opened a stream: 32 bytes that only it can make, and only the worker that it
/// sent them to has. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket([u8; 32]);

impl Ticket {
    /// The ticket of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the ticket of a message; `None` where it has none.
    pub fn from_wire(field: &'static str, bytes: &[u8]) -> Result<Option<Self>, BadMessage> {
        if bytes.is_empty() { Ok(None) } else { hash_bytes(field, bytes).map(|bytes| Some(Self(bytes))) }
    }

    /// The field of a message.
    pub fn to_wire(ticket: Option<Self>) -> Vec<u8> {
        ticket.map_or_else(Vec::new, |ticket| ticket.0.to_vec())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

/// Requests a response: from the cache, or by a permit to call the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquireCall {
    /// Request id, unique over the life of the worker.
    pub number: u64,
    /// The run that makes the call.
    pub run_id: RunId,
    /// Key in the response cache.
    pub key: AnswerKey,
    /// Estimated tokens of prompt and response together.
    pub tokens: u64,
    /// Whether the call is in progress under a permit of an earlier stream.
    pub under_way: bool,
    /// Ticket of that permit.
    pub ticket: Option<Ticket>,
}

/// Result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult {
    /// Request id.
    pub number: u64,
    /// The run that makes the call.
    pub run_id: RunId,
    /// Key in the response cache.
    pub key: AnswerKey,
    /// The response, or why there is none.
    pub outcome: CallOutcome,
    /// Billed tokens, also of calls without a response.
    pub usage: Usage,
    /// What the provider says of the price.
    pub charge: Charge,
    /// Limit of calls a minute from the provider's headers.
    pub advertised_requests: Option<u64>,
    /// Limit of tokens a minute from the provider's headers.
    pub advertised_tokens: Option<u64>,
    /// Ticket of the permit.
    pub ticket: Option<Ticket>,
    /// Calls of this request so far that gave no answer, this one included.
    pub tries: u32,
    /// The worker does not repeat the call by itself.
    pub last: bool,
}

fn key(field: &'static str, bytes: &[u8]) -> Result<AnswerKey, BadMessage> {
    hash_bytes(field, bytes).map(AnswerKey::from_bytes)
}

fn run_id(field: &'static str, text: String) -> Result<RunId, BadMessage> {
    RunId::new(text).map_err(|error| BadMessage::new(field, error))
}

impl From<&AcquireCall> for v1::AcquireCall {
    fn from(request: &AcquireCall) -> Self {
        Self {
            number: request.number,
            run_id: request.run_id.to_string(),
            key: request.key.as_bytes().to_vec(),
            tokens: request.tokens,
            under_way: request.under_way,
            ticket: Ticket::to_wire(request.ticket),
        }
    }
}

impl TryFrom<v1::AcquireCall> for AcquireCall {
    type Error = BadMessage;

    fn try_from(request: v1::AcquireCall) -> Result<Self, BadMessage> {
        Ok(Self {
            number: request.number,
            run_id: run_id("acquire_call.run_id", request.run_id)?,
            key: key("acquire_call.key", &request.key)?,
            tokens: request.tokens.min(Usage::MOST),
            under_way: request.under_way,
            ticket: Ticket::from_wire("acquire_call.ticket", &request.ticket)?,
        })
    }
}

impl From<Usage> for v1::Usage {
    fn from(usage: Usage) -> Self {
        let Usage { prompt, completion, reasoning, cached, total, estimated } = usage;
        Self { prompt, completion, reasoning, cached, total, estimated }
    }
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Self {
        let v1::Usage { prompt, completion, reasoning, cached, total, estimated } = usage;
        Self { prompt, completion, reasoning, cached, total, estimated }
    }
}

/// A charge on the wire; one that says nothing is left out.
fn charge_to_wire(charge: Charge) -> Option<v1::Charge> {
    (!charge.is_usual()).then(|| v1::Charge {
        billed_ticks: charge.billed.map(Usd::ticks),
        tier: charge.tier.as_str().to_owned(),
    })
}

fn charge_from_wire(charge: Option<v1::Charge>) -> Charge {
    let v1::Charge { billed_ticks, tier } = charge.unwrap_or_default();
    Charge { billed: billed_ticks.map(Usd::from_ticks), tier: Tier::read(&tier) }.of_one_call()
}

impl From<Answer> for v1::Answer {
    fn from(answer: Answer) -> Self {
        Self {
            content: answer.content,
            finish: match answer.finish {
                Finish::Stop => "stop".to_owned(),
                Finish::Length => "length".to_owned(),
                Finish::Filtered => "filtered".to_owned(),
                Finish::Other(reason) => reason,
            },
            usage: Some(answer.usage.into()),
            model: answer.model,
            charge: charge_to_wire(answer.charge),
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
            usage: Usage::from(answer.usage.unwrap_or_default()).of_one_call(),
            model: answer.model.chars().take(MODEL_CHARS).collect(),
            charge: charge_from_wire(answer.charge),
        })
    }
}

impl From<CallOutcome> for Outcome {
    fn from(outcome: CallOutcome) -> Self {
        match outcome {
            CallOutcome::Answered(answer) => Self::Answer(answer.into()),
            CallOutcome::Throttled { retry_after, tokens, reason } => {
                let ms = retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Self::Throttled(v1::Throttled { retry_after_ms: ms, tokens, reason })
            }
            CallOutcome::Failed { reason, kind, model } => {
                let stop = kind == FailureKind::Account;
                Self::Failed(v1::CallFailed { reason, stop, kind: kind.as_str().to_owned(), model })
            }
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
                    .then(|| Duration::from_millis(throttled.retry_after_ms).min(LONGEST_WAIT)),
                tokens: throttled.tokens,
                reason: throttled.reason.chars().take(REASON_CHARS).collect(),
            },
            Outcome::Failed(failed) => Self::Failed {
                reason: failed.reason.chars().take(REASON_CHARS).collect(),
                kind: match FailureKind::parse(&failed.kind) {
                    Some(kind) => kind,
                    // An older worker, or a word of a later one.
                    None if failed.stop => FailureKind::Account,
                    None => FailureKind::Unknown,
                },
                model: failed.model.chars().take(MODEL_CHARS).collect(),
            },
            Outcome::Unsent(v1::Unsent {}) => Self::Unsent,
        })
    }
}

impl From<&CallResult> for v1::CallResult {
    fn from(result: &CallResult) -> Self {
        Self {
            number: result.number,
            run_id: result.run_id.to_string(),
            key: result.key.as_bytes().to_vec(),
            outcome: Some(result.outcome.clone().into()),
            usage: Some(result.usage.into()),
            advertised_requests_per_minute: result.advertised_requests.unwrap_or(0),
            advertised_tokens_per_minute: result.advertised_tokens.unwrap_or(0),
            ticket: Ticket::to_wire(result.ticket),
            tries: result.tries,
            last: result.last,
            charge: charge_to_wire(result.charge),
        }
    }
}

impl TryFrom<v1::CallResult> for CallResult {
    type Error = BadMessage;

    fn try_from(result: v1::CallResult) -> Result<Self, BadMessage> {
        let advertised = |limit: u64| (limit > 0).then(|| limit.min(MOST_A_MINUTE));
        Ok(Self {
            number: result.number,
            run_id: run_id("call_result.run_id", result.run_id)?,
            key: key("call_result.key", &result.key)?,
            outcome: required("call_result.outcome", result.outcome)?.try_into()?,
            usage: Usage::from(result.usage.unwrap_or_default()).of_one_call(),
            advertised_requests: advertised(result.advertised_requests_per_minute),
            advertised_tokens: advertised(result.advertised_tokens_per_minute),
            ticket: Ticket::from_wire("call_result.ticket", &result.ticket)?,
            tries: result.tries,
            last: result.last,
            charge: charge_from_wire(result.charge),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: CallOutcome) -> CallResult {
        CallResult {
            number: 7,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(b"prompt"),
            outcome,
            usage: Usage { prompt: 1, completion: 2, reasoning: 3, cached: 4, total: 6, estimated: 5 },
            advertised_requests: Some(480),
            advertised_tokens: None,
            ticket: Some(Ticket::from_bytes([7; 32])),
            tries: 3,
            last: true,
            charge: Charge { billed: Some(Usd::from_ticks(37)), tier: Tier::Flex },
        }
    }

    #[test]
    fn a_call_result_round_trips() {
        let answer = |finish| Answer {
            content: "[]".to_owned(),
            finish,
            usage: Usage { total: 9, ..Usage::default() },
            charge: Charge { billed: None, tier: Tier::Unknown },
            model: "m".to_owned(),
        };
        for outcome in [
            CallOutcome::Answered(answer(Finish::Stop)),
            CallOutcome::Answered(answer(Finish::Length)),
            CallOutcome::Answered(answer(Finish::Other("tool".to_owned()))),
            CallOutcome::Throttled {
                retry_after: Some(Duration::from_millis(1500)),
                tokens: true,
                reason: "slow down".to_owned(),
            },
            CallOutcome::Throttled { retry_after: None, tokens: false, reason: String::new() },
            CallOutcome::Unsent,
        ]
        .into_iter()
        .chain(FailureKind::ALL.map(|kind| {
            let (reason, model) = ("why".to_owned(), "m".to_owned());
            CallOutcome::Failed { reason, kind, model }
        })) {
            let sent = result(outcome);
            assert_eq!(CallResult::try_from(v1::CallResult::from(&sent)).unwrap(), sent);
        }
    }

    #[test]
    fn an_absurd_bill_is_not_believed_and_a_usual_charge_is_not_sent() {
        let mut sent = v1::CallResult::from(&result(CallOutcome::Unsent));
        sent.charge = Some(v1::Charge { billed_ticks: Some(u64::MAX), tier: "new".to_owned() });
        let read = CallResult::try_from(sent).unwrap().charge;
        assert_eq!(read, Charge { billed: None, tier: Tier::Unknown });
        assert_eq!((charge_to_wire(Charge::default()), charge_from_wire(None)), (None, Charge::default()));
    }

    #[test]
    fn a_failure_of_an_older_worker_has_a_kind() {
        for (stop, kind) in [(true, FailureKind::Account), (false, FailureKind::Unknown)] {
            let failed = v1::CallFailed { reason: "why".to_owned(), stop, ..v1::CallFailed::default() };
            let read = CallOutcome::try_from(Outcome::Failed(failed)).unwrap();
            let (reason, model) = ("why".to_owned(), String::new());
            assert_eq!(read, CallOutcome::Failed { reason, kind, model });
        }
    }

    #[test]
    fn a_request_round_trips_and_a_short_key_is_refused() {
        let request = AcquireCall {
            number: 1,
            run_id: RunId::new("r").unwrap(),
            key: AnswerKey::of(b"q"),
            tokens: 1500,
            under_way: true,
            ticket: None,
        };
        let mut sent = v1::AcquireCall::from(&request);
        assert_eq!(AcquireCall::try_from(sent.clone()).unwrap(), request);
        sent.key.pop();
        assert_eq!(AcquireCall::try_from(sent).unwrap_err().field, "acquire_call.key");
    }

    #[test]
    fn a_ticket_is_not_printed_and_a_short_one_is_refused() {
        assert_eq!(format!("{:?}", result(CallOutcome::Unsent).ticket), "Some(Ticket(…))");
        let mut sent = v1::CallResult::from(&result(CallOutcome::Unsent));
        sent.ticket.pop();
        assert_eq!(CallResult::try_from(sent).unwrap_err().field, "call_result.ticket");
    }

    #[test]
    fn a_response_over_the_limit_is_refused() {
        let answer = v1::Answer { content: "x".repeat(ANSWER_BYTES + 1), ..v1::Answer::default() };
        assert_eq!(Answer::try_from(answer).unwrap_err().field, "answer.content");
    }
}
