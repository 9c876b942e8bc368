//! A call of a probe: when it was sent, and its result.

use domain::budget::{Charge, Usage};
use llm::client::Reply;
use llm::error::Failure;
use llm::limit::Scarce;
use llm::retry::is_throttled;

use super::Seconds;

/// Most characters of an answer that are recorded.
const CONTENT: usize = 200;

/// Result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The call has not ended.
    Pending,
    /// The provider answered, well or badly.
    Answered,
    /// The provider refused the call: too many calls or tokens.
    Throttled(Scarce),
    /// The call failed otherwise; it passed the limits.
    Failed,
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Number of the call, from 1.
    pub id: u64,
    /// Index of its step.
    pub step: usize,
    /// When it was sent.
    pub sent: Seconds,
    /// Latency of its single attempt, without any wait before it.
    pub took: Seconds,
    /// Its result.
    pub ended: Ended,
    /// HTTP status, if any.
    pub status: Option<u16>,
    /// `Retry-After` of the response, if any.
    pub retry_after: Option<Seconds>,
    /// Tokens as the provider counts them.
    pub usage: Usage,
    /// What the provider says of its price.
    pub charge: Charge,
    /// The model that answered, as the reply names it; empty: it names none.
    pub model: String,
    /// Limits on calls and tokens that the provider advertises.
    pub advertised: (Option<u64>, Option<u64>),
    /// The beginning of the answer.
    pub content: Option<String>,
    /// Why there is no answer, if there is none.
    pub error: Option<String>,
}

impl Call {
    /// A call that was just sent.
    pub fn sent(id: u64, step: usize, sent: Seconds) -> Self {
        Self {
            id,
            step,
            sent,
            took: 0.0,
            ended: Ended::Pending,
            status: None,
            retry_after: None,
            usage: Usage::default(),
            charge: Charge::default(),
            model: String::new(),
            advertised: (None, None),
            content: None,
            error: None,
        }
    }

    /// Records the reply.
    pub fn end(&mut self, reply: &Reply) {
        self.took = reply.took.as_secs_f64();
        (self.usage, self.charge) = (reply.usage, reply.charge);
        self.model.clone_from(&reply.model);
        self.retry_after = reply.headers.retry_after.map(|wait| wait.as_secs_f64());
        self.advertised = (reply.headers.requests.limit, reply.headers.tokens.limit);
        match &reply.result {
            Ok(answer) => {
                (self.ended, self.status) = (Ended::Answered, Some(200));
                self.content = Some(answer.content.chars().take(CONTENT).collect());
            }
            // An answer that is cut off at the few tokens that a probe allows is as requested.
            Err(Failure::CutOff | Failure::Empty { .. }) => {
                (self.ended, self.status) = (Ended::Answered, Some(200));
                self.content = Some(String::new());
            }
            Err(failure) => {
                self.status = match failure {
                    Failure::Refused(refusal) => Some(refusal.status.unwrap_or(200)),
                    Failure::Redirected { status, .. } | Failure::RedirectLoop { status, .. } => {
                        Some(*status)
                    }
                    Failure::Garbage(_)
                    | Failure::OtherFormat(_)
                    | Failure::Withheld { .. }
                    | Failure::TooLarge { .. } => Some(200),
                    _ => None,
                };
                let throttled = is_throttled(failure);
                self.ended = if throttled { Ended::Throttled(scarce(failure, reply)) } else { Ended::Failed };
                self.error = Some(failure.to_string());
            }
        }
    }

    /// When it ended; infinity while it is pending.
    pub fn done(&self) -> Seconds {
        if self.ended == Ended::Pending { f64::INFINITY } else { self.sent + self.took }
    }

    /// Whether the provider refused it because of a limit.
    pub const fn is_throttled(&self) -> bool {
        matches!(self.ended, Ended::Throttled(_))
    }

    /// Whether it has an answer.
    pub fn is_answered(&self) -> bool {
        self.ended == Ended::Answered
    }
}

/// Which limit refused the call: by the error message, otherwise by the headers.
fn scarce(failure: &Failure, reply: &Reply) -> Scarce {
    let message = failure.to_string().to_ascii_lowercase();
    let by_message = match (message.contains("token"), message.contains("request")) {
        (true, false) => Some(Scarce::Tokens),
        (false, true) => Some(Scarce::Requests),
        _ => None,
    };
    let (calls, tokens) = (reply.headers.requests.remaining, reply.headers.tokens.remaining);
    let by_headers = match (calls, tokens) {
        (Some(1..) | None, Some(0)) => Some(Scarce::Tokens),
        _ => None,
    };
    by_message.or(by_headers).unwrap_or(Scarce::Requests)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A call of 100 tokens.
    pub(crate) fn call(sent: Seconds, took: Seconds, ended: Ended) -> Call {
        let usage = Usage { prompt: 90, completion: 10, total: 100, ..Usage::default() };
        let status = if matches!(ended, Ended::Throttled(_)) { 429 } else { 200 };
        Call { took, ended, usage, status: Some(status), ..Call::sent(1, 0, sent) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use llm::headers::{Left, RateHeaders};

    use super::*;

    fn ended(failure: Failure, headers: RateHeaders) -> Call {
        let took = Duration::from_millis(1500);
        let mut call = Call::sent(1, 0, 10.0);
        call.end(&Reply {
            result: Err(failure),
            usage: Usage::default(),
            charge: Charge::default(),
            model: "served".to_owned(),
            headers,
            took,
        });
        call
    }

    fn status(code: u16, message: &str) -> Failure {
        Failure::refused(code, "", message)
    }

    #[test]
    fn the_limit_is_recognised_by_message_and_by_headers() {
        let none = RateHeaders::default();
        let by = |message, headers| ended(status(429, message), headers).ended;
        assert_eq!(by("Rate limit reached on tokens per min", none), Ended::Throttled(Scarce::Tokens));
        assert_eq!(by("Rate limit reached on requests per min", none), Ended::Throttled(Scarce::Requests));
        let left = |remaining| Left { limit: Some(9), remaining: Some(remaining), reset: None };
        let headers = RateHeaders { requests: left(3), tokens: left(0), retry_after: None };
        assert_eq!(by("slow down", headers), Ended::Throttled(Scarce::Tokens));
        assert_eq!(by("slow down", none), Ended::Throttled(Scarce::Requests));
    }

    #[test]
    fn a_cut_off_answer_counts_as_an_answer_and_a_failure_does_not() {
        assert_eq!(ended(Failure::CutOff, RateHeaders::default()).ended, Ended::Answered);
        let call = ended(status(500, "boom"), RateHeaders::default());
        assert_eq!((call.ended, call.status), (Ended::Failed, Some(500)));
        assert!((call.done() - 11.5).abs() < 1e-9);
        let call = ended(Failure::Reset("gone".to_owned()), RateHeaders::default());
        assert_eq!((call.status, call.error.as_deref()), (None, Some("the connection broke: gone")));
    }
}
