//! Rate limits that a provider advertises in the headers of a reply.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

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
        let left = |what: &str| Left {
            limit: text(&format!("x-ratelimit-limit-{what}")).and_then(|text| text.parse().ok()),
            remaining: text(&format!("x-ratelimit-remaining-{what}")).and_then(|text| text.parse().ok()),
            reset: text(&format!("x-ratelimit-reset-{what}")).and_then(|text| reset(text, now)),
        };
        let exact = text("retry-after-ms").and_then(|text| seconds(text, 1e-3));
        Self {
            retry_after: exact.or_else(|| text("retry-after").and_then(|text| retry_after(text, now))),
            requests: left("requests"),
            tokens: left("tokens"),
        }
    }
}

/// Parses `Retry-After`: seconds, or a date.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    seconds(text, 1.0).or_else(|| until(text, now))
}

/// Parses `x-ratelimit-reset-*`: `6m0s`, `1s`, `20ms`, seconds, a date, or seconds since 1970.
pub fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let plain = seconds(text, 1.0);
    if plain == Some(LONGEST)
        && let Ok(stamp) = text.parse::<f64>()
        && stamp > 1e9
    {
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
    let date = httpdate::parse_http_date(text).ok()?;
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
}
