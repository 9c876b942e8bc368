//! One call of a probe: what was sent when, and what came of it.

use domain::budget::Usage;
use llm::client::Reply;
use llm::error::Failure;
use llm::limit::Scarce;
use llm::retry::is_throttled;

use super::Seconds;

/// Longest text of an answer that is kept.
const CONTENT: usize = 200;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Not yet.
    Pending,
    /// With an answer, good or bad: the provider did its work.
    Answered,
    /// Refused: too many calls or tokens.
    Throttled(Scarce),
    /// In any other way; it passed the limits.
    Failed,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Counts from 1.
    pub id: u64,
    /// To which step it belongs, from 0.
    pub step: usize,
    /// When it was sent.
    pub sent: Seconds,
    /// How long it took: one attempt, no wait before it.
    pub took: Seconds,
    /// How it ended.
    pub ended: Ended,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Seconds>,
    /// Tokens, as the provider counts them.
    pub usage: Usage,
    /// What the provider says its limits are, on calls and on tokens.
    pub stated: (Option<u64>, Option<u64>),
    /// The beginning of the answer.
    pub content: Option<String>,
    /// Why there is no answer.
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
            stated: (None, None),
            content: None,
            error: None,
        }
    }

    /// Takes what came of it.
    pub fn end(&mut self, reply: &Reply) {
        self.took = reply.took.as_secs_f64();
        self.usage = reply.usage;
        self.retry_after = reply.headers.retry_after.map(|wait| wait.as_secs_f64());
        self.stated = (reply.headers.requests.limit, reply.headers.tokens.limit);
        match &reply.result {
            Ok(answer) => {
                (self.ended, self.status) = (Ended::Answered, Some(200));
                self.content = Some(answer.content.chars().take(CONTENT).collect());
            }
            // The answer is cut off at the few tokens that a probe allows: that is what was asked for.
            Err(Failure::CutOff | Failure::Empty) => {
                (self.ended, self.status) = (Ended::Answered, Some(200));
                self.content = Some(String::new());
            }
            Err(failure) => {
                self.status = match failure {
                    Failure::Status { code, .. } => Some(*code),
                    Failure::Garbage(_) | Failure::Withheld { .. } | Failure::TooLarge { .. } => Some(200),
                    _ => None,
                };
                let throttled = is_throttled(failure);
                self.ended = if throttled { Ended::Throttled(scarce(failure, reply)) } else { Ended::Failed };
                self.error = Some(failure.to_string());
            }
        }
    }

    /// When it ended; never, as long as it has not.
    pub fn done(&self) -> Seconds {
        if self.ended == Ended::Pending { f64::INFINITY } else { self.sent + self.took }
    }

    /// Whether the provider refused it for its limits.
    pub const fn is_throttled(&self) -> bool {
        matches!(self.ended, Ended::Throttled(_))
    }

    /// Whether it has an answer.
    pub fn is_answered(&self) -> bool {
        self.ended == Ended::Answered
    }
}

/// What ran out: the provider's words, else its headers.
fn scarce(failure: &Failure, reply: &Reply) -> Scarce {
    let said = failure.to_string().to_ascii_lowercase();
    let by_words = match (said.contains("token"), said.contains("request")) {
        (true, false) => Some(Scarce::Tokens),
        (false, true) => Some(Scarce::Requests),
        _ => None,
    };
    let (calls, tokens) = (reply.headers.requests.remaining, reply.headers.tokens.remaining);
    let by_headers = match (calls, tokens) {
        (Some(1..) | None, Some(0)) => Some(Scarce::Tokens),
        _ => None,
    };
    by_words.or(by_headers).unwrap_or(Scarce::Requests)
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
        call.end(&Reply { result: Err(failure), usage: Usage::default(), headers, took });
        call
    }

    fn status(code: u16, message: &str) -> Failure {
        Failure::Status { code, reason: String::new(), message: message.to_owned() }
    }

    #[test]
    fn what_ran_out_is_told_by_words_and_by_headers() {
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
    fn an_answer_cut_short_is_an_answer_and_a_failure_is_none() {
        assert_eq!(ended(Failure::CutOff, RateHeaders::default()).ended, Ended::Answered);
        let call = ended(status(500, "boom"), RateHeaders::default());
        assert_eq!((call.ended, call.status), (Ended::Failed, Some(500)));
        assert!((call.done() - 11.5).abs() < 1e-9);
        let call = ended(Failure::Reset("gone".to_owned()), RateHeaders::default());
        assert_eq!((call.status, call.error.as_deref()), (None, Some("the connection broke: gone")));
    }
}
