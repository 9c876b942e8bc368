//! One request to a server, sent until there is an answer: bounded in number, time and size.
//!
//! *Never* follows a redirect: credentials and documents go to the configured server alone. *Never* writes into a cluster
//! that is not ours: a request that is more than a question is refused here, whoever asks for it.

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WARNING};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::error::Unreachable;
use crate::limits::Limits;

/// Words of a server or a library that are kept.
const LONGEST_WORDS: usize = 1_000;
/// `Warning` headers of one answer that are kept.
const MOST_WARNINGS: usize = 100;

/// What is asked. Sent again as it is, so it must have no effect, or the same one twice.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    /// Type and bytes of what is sent.
    pub(crate) content: Option<(&'static str, Vec<u8>)>,
}

impl Ask {
    /// A GET of JSON.
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), accept: "application/json", content: None }
    }

    /// Something sent, answered in JSON.
    pub(crate) fn send(
        method: Method,
        path: String,
        content_type: &'static str,
        content: impl Into<Vec<u8>>,
    ) -> Self {
        Self { method, path, accept: "application/json", content: Some((content_type, content.into())) }
    }
}

/// What was answered: 2xx with the kind that the body names, or a `Status`.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// The `Status` of a refusal; of a 2xx answer nothing but its kind.
    pub(crate) status: Status,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// A `Status` as the API machinery writes it. Unknown fields are allowed: it grows with releases.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) kind: String,
    pub(crate) message: Option<String>,
    pub(crate) reason: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Option<Vec<StatusCause>>,
}

/// One cause of a refusal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StatusCause {
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Status {
    pub(crate) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    pub(crate) fn causes(&self) -> &[StatusCause] {
        self.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default()
    }
}

/// The parameter that makes a request a question.
pub(crate) const DRY_RUN: &str = "dryRun=All";

/// Whether the objects of a server may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Of a throw-away control plane of ours.
    Write,
    /// Of everything else: questions alone.
    AskOnly,
}

/// A server, and how much it may be asked at a time.
pub(crate) struct Http {
    client: kube::Client,
    server: String,
    access: Access,
    in_flight: Semaphore,
    limits: Limits,
}

/// Result of one attempt.
enum Attempt {
    Done(Reply),
    /// Worth another attempt: why, and the wait that the server asks for.
    Again(Again, Option<Duration>),
    Refused(Unreachable),
}

enum Again {
    Connection(String),
    Timeout,
    Busy(Reply),
}

impl Http {
    pub(crate) fn new(client: kube::Client, server: String, access: Access, limits: Limits) -> Self {
        Self { client, server, access, in_flight: Semaphore::new(limits.in_flight.max(1)), limits }
    }

    /// URL of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends `ask` until it is answered. A refusal is an answer; 429 and 5xx are none.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Reply, Unreachable> {
        if !self.may_send(ask) {
            return Err(self.odd("not sent: it would change a cluster that is not ours"));
        }
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Err(self.odd("the client is closed"));
        };
        let mut attempts = 1;
        loop {
            let (why, asked) = match self.attempt(ask).await {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Refused(error) => return Err(error),
                Attempt::Again(why, asked) => (why, asked),
            };
            if attempts >= self.limits.attempts.max(1) {
                return self.give_up(why, attempts);
            }
            tokio::time::sleep(self.wait(attempts, asked)).await;
            attempts += 1;
        }
    }

    fn may_send(&self, ask: &Ask) -> bool {
        let query = ask.path.split_once('?').map_or("", |(_, query)| query);
        let question = ask.method == Method::GET || query.split('&').any(|pair| pair == DRY_RUN);
        question || self.access == Access::Write
    }

    /// Half of a doubling wait, and a random share of the other half; what the server asks for is waited at least.
    fn wait(&self, attempts: u32, asked: Option<Duration>) -> Duration {
        let most = self.limits.longest_wait;
        let doubled = self.limits.first_wait.saturating_mul(1 << (attempts - 1).min(16)).min(most);
        let jittered = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
        jittered.max(asked.unwrap_or_default().min(most))
    }

    fn give_up(&self, why: Again, attempts: u32) -> Result<Reply, Unreachable> {
        let server = self.server.clone();
        Err(match why {
            Again::Connection(why) => Unreachable::Connection { server, attempts, why },
            Again::Timeout => {
                Unreachable::Timeout { server, attempts, seconds: self.limits.timeout.as_secs() }
            }
            // A server that fails at one document again and again has an answer to it: the caller sees whether it is well.
            Again::Busy(reply) if reply.code == 500 && reply.status.kind == "Status" => return Ok(reply),
            Again::Busy(reply) => {
                Unreachable::Busy { server, attempts, code: reply.code, message: cut(reply.status.message()) }
            }
        })
    }

    async fn attempt(&self, ask: &Ask) -> Attempt {
        match tokio::time::timeout(self.limits.timeout, self.exchange(ask)).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Again(Again::Timeout, None),
        }
    }

    async fn exchange(&self, ask: &Ask) -> Attempt {
        let mut request =
            Request::builder().method(ask.method.clone()).uri(&ask.path).header(ACCEPT, ask.accept);
        let mut body = Vec::new();
        if let Some((content_type, content)) = &ask.content {
            request = request.header(CONTENT_TYPE, *content_type);
            body.clone_from(content);
        }
        let request = match request.body(Body::from(body)) {
            Ok(request) => request,
            Err(error) => return Attempt::Refused(self.odd(&format!("{}: {error}", ask.path))),
        };
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) => return self.failed(&error),
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, self.limits.answer_bytes).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                let what = format!("an answer of more than {} bytes", self.limits.answer_bytes);
                return Attempt::Refused(self.odd(&what));
            }
            Err(error) => return Attempt::Again(Again::Connection(cut(&error.to_string())), None),
        };
        self.judge(head.status, &head.headers, body)
    }

    /// A request that got no response. Credentials that cannot be had do not come by asking again.
    fn failed(&self, error: &kube::Error) -> Attempt {
        let words = chain(error);
        match error {
            kube::Error::Auth(_) => {
                Attempt::Refused(Unreachable::Credentials { server: self.server.clone(), message: words })
            }
            _ => Attempt::Again(Again::Connection(words), None),
        }
    }

    fn judge(&self, code: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Attempt {
        // Of an object the kind alone is read, which is what tells an API server from anything else that says 201.
        let status = serde_json::from_slice::<Status>(&body).unwrap_or_default();
        let server = self.server.clone();
        if code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error() {
            let reply = Reply { code: code.as_u16(), warnings: Vec::new(), body, status };
            return Attempt::Again(Again::Busy(reply), retry_after(headers));
        }
        if code == StatusCode::UNAUTHORIZED {
            return Attempt::Refused(Unreachable::Credentials { server, message: cut(status.message()) });
        }
        let answered = if code.is_success() { !body.is_empty() } else { status.kind == "Status" };
        if !answered || code.is_redirection() || code.is_informational() {
            return Attempt::Refused(self.odd(&format!("HTTP {} without a Status", code.as_u16())));
        }
        Attempt::Done(Reply { code: code.as_u16(), warnings: warnings(headers), body, status })
    }

    /// An answer that no API server gives.
    pub(crate) fn odd(&self, what: &str) -> Unreachable {
        Unreachable::NotAnApiServer { server: self.server.clone(), what: cut(what) }
    }
}

/// Seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

/// The texts of the headers `Warning: 299 - "text"`.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let texts = headers.get_all(WARNING).iter().filter_map(|value| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        let quoted = value.split_once('"')?.1;
        let mut text = String::new();
        let mut escaped = false;
        for character in quoted.chars() {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => break,
                other => {
                    text.push(other);
                    escaped = false;
                }
            }
        }
        Some(cut(&text))
    });
    texts.take(MOST_WARNINGS).collect()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    cut(&text)
}

/// A text of a bounded length.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let pairs = values.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn warnings_are_unquoted() {
        let found = warnings(&headers(&[
            (WARNING, "299 - \"use \\\"a\\\" instead\""),
            (WARNING, "299 - \"b\" \"Mon, 01 Jan 2026 00:00:00 GMT\""),
            (WARNING, "garbage"),
        ]));
        assert_eq!(found, ["use \"a\" instead", "b"]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text| retry_after(&headers(&[(RETRY_AFTER, text)]));
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("-7"), None);
        assert_eq!(after("Thu, 01 Jan 1970 00:00:00 GMT"), None);
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn words_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ä".repeat(2_000)).chars().count(), LONGEST_WORDS + 1);
    }
}
