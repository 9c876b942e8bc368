//! Rate limits that a provider advertises in the headers of a reply.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Upper bound of a wait: longer ones are cut to it.
const LONGEST: Duration = domain::answer::LONGEST_WAIT;

/// State of one limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Left {
    /// The limit, in the provider's own period.
    pub limit: Option<u64>,
    /// Remaining part of it.
    pub remaining: Option<u64>,
    /// Time until it is reset.
    pub reset: Option<Duration>,
}

/// Rate limits in the headers of a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RateHeaders {
    /// Wait before the next call.
    pub retry_after: Option<Duration>,
    /// Limit on calls.
    pub requests: Left,
    /// Limit on tokens.
    pub tokens: Left,
}

impl RateHeaders {
    /// Reads the headers; one that is not valid counts as absent. `now` turns a date into a wait.
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let left = |[limit, remaining, until]: [String; 3]| Left {
            // 0 and -1 stand for a limit that is not set.
            limit: text(&limit).and_then(count).filter(|limit| *limit > 0),
            remaining: text(&remaining).and_then(count),
            reset: text(&until).and_then(|text| reset(text, now)),
        };
        let openai = |what: &str| {
            left(["limit", "remaining", "reset"].map(|part| format!("x-ratelimit-{part}{what}")))
        };
        let anthropic = |what: &str| {
            left(["limit", "remaining", "reset"].map(|part| format!("anthropic-ratelimit-{what}-{part}")))
        };
        // Without a name it is the limit on calls, of a period that may be a day: how many it allows is not believed.
        let unnamed = Left { limit: None, ..openai("") };
        let requests = [openai("-requests"), openai("-project-requests"), anthropic("requests")];
        let tokens = [openai("-tokens"), openai("-project-tokens"), anthropic("tokens")];
        let exact = text("retry-after-ms").and_then(|text| seconds(text, 1e-3));
        Self {
            retry_after: exact.or_else(|| text("retry-after").and_then(|text| retry_after(text, now))),
            requests: tightest(requests).unwrap_or(unnamed),
            tokens: tightest(tokens).unwrap_or_default(),
        }
    }

    /// With the wait that a refusal asks for in other words, where no header does: in its body, or (429) until a limit that
    /// is used up is reset. `status` is `None` where the refusal came with status 200.
    #[must_use]
    pub(crate) fn of_refusal(mut self, status: Option<StatusCode>, body: &[u8], now: SystemTime) -> Self {
        let used_up = |left: Left| left.reset.filter(|_| left.remaining == Some(0));
        if self.retry_after.is_none() {
            self.retry_after = of_body(body, now);
        }
        if self.retry_after.is_none() && status == Some(StatusCode::TOO_MANY_REQUESTS) {
            self.retry_after = used_up(self.requests).into_iter().chain(used_up(self.tokens)).max();
        }
        self
    }
}

/// Of the limits that count at the same time (of an organisation, and of a project in it), the lowest; of their states, the one
/// with the least left.
fn tightest(all: [Left; 3]) -> Option<Left> {
    let said = || all.iter().copied().filter(|left| *left != Left::default());
    let state =
        said().min_by_key(|left| (left.remaining.unwrap_or(u64::MAX), std::cmp::Reverse(left.reset)))?;
    Some(Left { limit: said().filter_map(|left| left.limit).min(), ..state })
}

/// Parses a count, which some providers write with a fraction; a negative one stands for a limit that is not set.
fn count(text: &str) -> Option<u64> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let number: f64 = text.parse().ok().filter(|number| (0.0..1e15).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range")]
    let whole = number as u64;
    Some(whole)
}

/// The wait that the body of a refusal asks for: `retryDelay` of Google, the headers that `OpenRouter` passes on, or a sentence.
fn of_body(body: &[u8], now: SystemTime) -> Option<Duration> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.pointer("/error").or_else(|| value.pointer("/0/error"))?;
    let details = error.get("details").and_then(Value::as_array);
    let delay = details.into_iter().flatten().find_map(|detail| units(detail.get("retryDelay")?.as_str()?));
    let passed_on = || {
        let headers = error.pointer("/metadata/headers")?.as_object()?;
        let named = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .and_then(|(_, value)| value.as_str())
        };
        let reset = || named("x-ratelimit-reset").and_then(|text| reset(text, now));
        named("retry-after").and_then(|text| retry_after(text, now)).or_else(reset)
    };
    let said = || {
        let message = error.get("message").and_then(Value::as_str).or_else(|| error.as_str())?;
        let (_, after) = ["retry in ", "try again in "].iter().find_map(|words| message.split_once(words))?;
        units(after.split_whitespace().next()?.trim_end_matches(['.', ',', ')']))
    };
    delay.or_else(passed_on).or_else(said)
}

/// Parses `Retry-After`: seconds, or a date.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    seconds(text, 1.0).or_else(|| until(text, now))
}

/// Parses `x-ratelimit-reset-*`: `6m0s`, `1s`, `20ms`, seconds, a date of either form, or seconds or milliseconds since 1970.
pub fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let plain = seconds(text, 1.0);
    if plain == Some(LONGEST)
        && let Ok(stamp) = text.parse::<f64>()
        && stamp > 1e9
    {
        let stamp = if stamp > 1e11 { stamp / 1e3 } else { stamp };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        return Some(Duration::try_from_secs_f64((stamp - since).max(0.0)).unwrap_or(LONGEST).min(LONGEST));
    }
    plain.or_else(|| units(text)).or_else(|| until(text, now))
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    if !(number >= 0.0 && number.is_finite()) {
        return None;
    }
    Some(Duration::try_from_secs_f64(number * unit).unwrap_or(LONGEST).min(LONGEST))
}

fn until(text: &str, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(text).ok().or_else(|| humantime::parse_rfc3339_weak(text).ok())?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// Parses numbers with units: `1h2m3.5s`, `20ms`.
fn units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).unwrap_or(LONGEST).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn resets_come_in_many_forms() {
        let now = at(1_763_929_952);
        for (text, ms) in [
            ("6m0s", 360_000),
            ("1s", 1000),
            ("20ms", 20),
            ("1m2.5s", 62_500),
            ("59.70s", 59_700),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("30d", 604_800_000),
            ("7", 7000),
            ("0.25", 250),
            ("1763929955", 3000),
            ("1763929955500", 3500),
            ("1763929000000", 0),
        ] {
            assert_eq!(reset(text, now).map(|wait| wait.as_millis()), Some(ms), "{text}");
        }
        for bad in ["", "soon", "-1", "1x", "s", "1m2", "NaN", "..s"] {
            assert_eq!(reset(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, at(784_111_770)), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(date, at(784_111_999)), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(retry_after("2", at(0)), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("1e30", at(0)), Some(LONGEST), "a wait is bounded");
        assert_eq!(retry_after("-3", at(0)), None);
    }

    #[test]
    fn the_headers_of_a_reply_are_read_together() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("retry-after", "9"),
            ("retry-after-ms", "1500"),
            ("x-ratelimit-limit-requests", "480"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "125ms"),
            ("x-ratelimit-remaining-tokens", "many"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let read = RateHeaders::read(&headers, at(0));
        assert_eq!(read.retry_after, Some(Duration::from_millis(1500)), "the exact one wins");
        assert_eq!(
            read.requests,
            Left { limit: Some(480), remaining: Some(0), reset: Some(Duration::from_millis(125)) }
        );
        assert_eq!(read.tokens, Left::default());
    }

    fn read(pairs: &[(&'static str, &'static str)], now: SystemTime) -> RateHeaders {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        RateHeaders::read(&headers, now)
    }

    #[test]
    fn limits_come_in_many_styles() {
        let now = at(1_763_929_952);
        let minute = Some(Duration::from_secs(60));
        for (pairs, requests, tokens) in [
            (&[][..], Left::default(), Left::default()),
            (
                &[("x-ratelimit-limit-requests", "0"), ("x-ratelimit-limit-tokens", "-1")],
                Left::default(),
                Left::default(),
            ),
            (
                &[("x-ratelimit-limit-requests", "480.0"), ("x-ratelimit-remaining-requests", "3.7")],
                Left { limit: Some(480), remaining: Some(3), reset: None },
                Left::default(),
            ),
            (
                &[
                    ("x-ratelimit-limit-tokens", "150000000"),
                    ("x-ratelimit-remaining-tokens", "149984992"),
                    ("x-ratelimit-reset-tokens", "6ms"),
                    ("x-ratelimit-limit-project-tokens", "1000000"),
                    ("x-ratelimit-remaining-project-tokens", "0"),
                    ("x-ratelimit-reset-project-tokens", "60s"),
                ],
                Left::default(),
                Left { limit: Some(1_000_000), remaining: Some(0), reset: minute },
            ),
            (
                &[
                    ("anthropic-ratelimit-requests-limit", "50"),
                    ("anthropic-ratelimit-requests-remaining", "0"),
                    ("anthropic-ratelimit-requests-reset", "2025-11-23T20:33:32Z"),
                    ("anthropic-ratelimit-tokens-limit", "40000"),
                ],
                Left { limit: Some(50), remaining: Some(0), reset: minute },
                Left { limit: Some(40_000), ..Left::default() },
            ),
        ] {
            let found = read(pairs, now);
            assert_eq!((found.requests, found.tokens), (requests, tokens), "{pairs:?}");
        }
    }

    #[test]
    fn a_wait_comes_in_many_styles() {
        let now = at(1_763_929_952);
        for (pairs, ms) in [
            (&[("retry-after", "3")][..], Some(3000)),
            (&[("retry-after", "2.5")], Some(2500)),
            (&[("retry-after", "Sun, 23 Nov 2025 20:33:32 GMT")], Some(60_000)),
            (&[("retry-after-ms", "125.5")], Some(125)),
            (&[("retry-after", "1"), ("retry-after-ms", "125")], Some(125)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(read(pairs, now).retry_after.map(|wait| wait.as_millis()), ms, "{pairs:?}");
        }
    }

    #[test]
    fn a_refusal_may_ask_for_a_wait_in_its_body() {
        let now = at(1_763_929_952);
        let none = RateHeaders::default();
        for (body, ms) in [
            (
                r#"{"error": {"details": [{"@type": "QuotaFailure"}, {"retryDelay": "2s"}], "message": "retry in 9s"}}"#,
                Some(2000),
            ),
            (r#"[{"error": {"code": 429, "details": [{"retryDelay": "2.5s"}]}}]"#, Some(2500)),
            (r#"{"error": {"message": "Quota exceeded. Please retry in 2.51s."}}"#, Some(2510)),
            (
                r#"{"error": {"message": "Rate limit reached. Please try again in 1m2s, or pay."}}"#,
                Some(62_000),
            ),
            (r#"{"error": "Please try again in 20ms."}"#, Some(20)),
            (r#"{"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1763929955000"}}}}"#, Some(3000)),
            (
                r#"{"error": {"metadata": {"headers": {"retry-after": "7", "X-RateLimit-Reset": "1763929955000"}}}}"#,
                Some(7000),
            ),
            (r#"{"error": {"message": "try again in a while"}}"#, None),
            (r#"{"error": {"details": "soon"}}"#, None),
            ("please retry in 2s", None),
            ("", None),
        ] {
            let read = none.of_refusal(None, body.as_bytes(), now).retry_after;
            assert_eq!(read, ms.map(Duration::from_millis), "{body}");
        }
        let own = RateHeaders { retry_after: Some(Duration::from_secs(1)), ..none };
        let body = br#"{"error": {"details": [{"retryDelay": "2s"}]}}"#;
        assert_eq!(own.of_refusal(None, body, now), own, "a header wins");
    }

    #[test]
    fn a_limit_that_is_used_up_is_waited_for() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit", "20"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1763929955000"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let now = at(1_763_929_952);
        let read = RateHeaders::read(&headers, now);
        assert_eq!((read.retry_after, read.requests.limit), (None, None), "20 calls of which period?");
        let refused = |status| read.of_refusal(status, b"", now).retry_after;
        assert_eq!(refused(Some(StatusCode::TOO_MANY_REQUESTS)), Some(Duration::from_secs(3)));
        assert_eq!(refused(Some(StatusCode::INTERNAL_SERVER_ERROR)), None);
        assert_eq!(refused(None), None);
    }
}
