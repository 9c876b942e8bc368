//! HTTP replies of the simulated provider.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::limits::{Left, Refused};
use crate::style::{LimitStyle, WaitStyle};

/// A reply with a JSON body.
pub(crate) fn json_reply(status: StatusCode, headers: HeaderMap, value: &Value) -> Response<Body> {
    text_reply(status, headers, "application/json", value.to_string())
}

/// A reply with a text body.
pub(crate) fn text_reply(
    status: StatusCode,
    headers: HeaderMap,
    kind: &'static str,
    text: String,
) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}

/// An error in the OpenAI-compatible format.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let value = json!({"error": {"message": message, "type": "invalid_request_error", "code": code}});
    json_reply(status, HeaderMap::new(), &value)
}

/// A 429 with the wait in real seconds.
pub(crate) fn too_many(refused: Refused, headers: HeaderMap, speed: f64, style: WaitStyle) -> Response<Body> {
    let mut headers = headers;
    let wait = (refused.wait / speed).max(0.001);
    match style {
        WaitStyle::Seconds => {
            // Real providers send whole seconds; where time runs faster that is too coarse.
            set(&mut headers, "retry-after", &wait.ceil().to_string());
            if (speed - 1.0).abs() > 1e-9 {
                set(&mut headers, "retry-after-ms", &format!("{:.3}", wait * 1e3));
            }
        }
        WaitStyle::Float => set(&mut headers, "retry-after", &format!("{wait:.3}")),
        WaitStyle::Millis => set(&mut headers, "retry-after-ms", &format!("{:.3}", wait * 1e3)),
        WaitStyle::Date => {
            // Dates are in whole seconds: a wait must not end too early.
            let then = SystemTime::now() + Duration::from_secs_f64(wait.min(1e6) + 1.0);
            set(&mut headers, "retry-after", &httpdate::fmt_http_date(then));
        }
        WaitStyle::Absent => {}
    }
    let what = if refused.tokens { "tokens" } else { "requests" };
    let mut message = format!("Rate limit reached on {what} per min.");
    if style != WaitStyle::Absent {
        let _ = write!(message, " Please try again in {wait:.3}s.");
    }
    let value = json!({"error": {"message": message, "type": what, "code": "rate_limit_exceeded"}});
    json_reply(StatusCode::TOO_MANY_REQUESTS, headers, &value)
}

/// The headers that state the limits and what is left of them.
pub(crate) fn headers(left: (Left, Left), speed: f64, style: LimitStyle) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (what, left) in [("requests", left.0), ("tokens", left.1)] {
        let Some((limit, left, whole)) = left else { continue };
        let (limit, left, whole) = (limit * speed, left.floor(), whole / speed);
        let [limit_name, left_name, reset_name] =
            ["limit", "remaining", "reset"].map(|part| format!("x-ratelimit-{part}-{what}"));
        match style {
            LimitStyle::Absent => {}
            LimitStyle::Zero => set(&mut headers, &limit_name, "0"),
            LimitStyle::MinusOne => {
                set(&mut headers, &limit_name, "-1");
                set(&mut headers, &left_name, "-1");
            }
            LimitStyle::Anthropic => {
                let name = |part: &str| format!("anthropic-ratelimit-{what}-{part}");
                set(&mut headers, &name("limit"), &format!("{limit:.0}"));
                set(&mut headers, &name("remaining"), &format!("{left:.0}"));
                let then = SystemTime::now() + Duration::from_secs_f64(whole.clamp(0.0, 1e6));
                set(&mut headers, &name("reset"), &humantime::format_rfc3339_millis(then).to_string());
            }
            LimitStyle::OpenAi | LimitStyle::Float | LimitStyle::Project => {
                let places = usize::from(style == LimitStyle::Float);
                let higher = if style == LimitStyle::Project { 10.0 } else { 1.0 };
                set(&mut headers, &limit_name, &format!("{:.places$}", limit * higher));
                set(&mut headers, &left_name, &format!("{:.places$}", left * higher));
                set(&mut headers, &reset_name, &format!("{:.0}ms", whole * 1e3));
            }
        }
        if style == LimitStyle::Project {
            let name = |part: &str| format!("x-ratelimit-{part}-project-{what}");
            set(&mut headers, &name("limit"), &format!("{limit:.0}"));
            set(&mut headers, &name("remaining"), &format!("{left:.0}"));
            set(&mut headers, &name("reset"), &format!("{whole:.3}s"));
        }
    }
    headers
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (axum::http::HeaderName::try_from(name), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// A reply whose connection breaks after the head.
pub(crate) fn broken() -> Response<Body> {
    let begin = stream::iter([Ok("{\"choices\""), Err(std::io::Error::other("reset"))]);
    Response::new(Body::from_stream(begin))
}

/// A reply whose body arrives in small pieces over the time `over`.
pub(crate) fn in_pieces(headers: HeaderMap, text: &str, over: Duration) -> Response<Body> {
    let pieces: Vec<String> = text
        .as_bytes()
        .chunks(text.len().div_ceil(10).max(1))
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
        .collect();
    let wait = over / 10;
    let body = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(wait).await;
        Ok::<_, std::io::Error>(piece)
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.headers_mut() = headers;
    response
}
