//! Replies of a provider made to hurt: none panics, and what is read of them is within its bounds. `scripts/fuzz` runs the same
//! properties over millions of replies.

use std::time::SystemTime;

use domain::answer::LONGEST_WAIT;
use domain::budget::{Price, Tier, Usage};
use domain::testing::{Inputs, property};
use llm::headers::RateHeaders;
use llm::mask::KeyMask;
use llm::reply::{answer, refusal};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Any value that can stand in a field: of the wrong type, or of the right one and absurd.
fn field() -> impl Strategy<Value = Value> {
    let numbers = vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e308),
        json!(-1e308),
        json!(0.5),
        json!(1_000_000_000_u64),
        json!(1_000_000_001_u64),
    ];
    let texts = vec![
        json!(""),
        json!("stop"),
        json!("length"),
        json!("content_filter"),
        json!("9223372036854775807"),
        json!("NaN"),
        json!("\u{0}\u{1b}[2J\u{202e}"),
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
    ];
    prop_oneof![
        4 => prop::sample::select(numbers),
        3 => prop::sample::select(texts),
        1 => any::<String>().prop_map(Value::from),
        1 => (1..20_000_usize).prop_map(|length| Value::from("x".repeat(length))),
        1 => domain::testing::json(),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    prop::collection::vec(field(), 12).prop_map(|fields| {
        let [
            model,
            content,
            finish,
            refusal,
            prompt,
            completion,
            total,
            cached,
            reasoning,
            error,
            choice,
            usage,
        ] = fields.try_into().unwrap();
        let mut body = json!({
            "model": model,
            "choices": [{"message": {"content": content, "refusal": refusal}, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            },
        });
        // Now and then a whole part of it is something else.
        if error.is_array() {
            body["error"] = error;
        }
        if choice.is_boolean() {
            body["choices"][0] = choice;
        }
        if usage.is_boolean() {
            body["usage"] = usage;
        }
        body
    })
}

fn assert_bounded(usage: Usage) {
    let Usage { prompt, completion, reasoning, cached, total, estimated } = usage;
    assert!([prompt, completion, reasoning, cached].iter().all(|count| *count <= Usage::MOST), "{usage:?}");
    assert!(total <= 2 * Usage::MOST && estimated <= total, "{usage:?}");
    for price in [1e-9, 1.0, 1e308] {
        let cost = Price::flat(price, Some(price), price).by_table(&usage, Tier::Standard).unwrap();
        assert!((0.0..=Price::MOST_USD).contains(&cost.as_f64()), "{cost}");
    }
}

fn read(body: &[u8]) {
    let (read, paid) = answer(body, 100, &KeyMask::default());
    let usage = paid.usage;
    assert_bounded(usage);
    if let Ok(read) = read {
        assert!(read.usage == usage && read.model.chars().count() <= 200 && !read.content.trim().is_empty());
    }
    for code in [200, 400, 429, 500] {
        let shown = refusal(code, body, &KeyMask::default()).to_string();
        assert!(shown.len() < 10_000, "{} bytes of a refusal are shown", shown.len());
    }
}

#[test]
fn no_field_of_a_reply_is_believed_beyond_its_bounds() {
    property("reply-fields", Inputs { usual: 300, share: 45 }, &body(), |body| {
        read(body.to_string().as_bytes());
    });
}

#[test]
fn any_body_is_read_or_refused() {
    let damaged = (body(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(body, at, byte)| {
        let mut bytes = body.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..200), damaged];
    property("reply-bytes", Inputs { usual: 200, share: 25 }, &bytes, |bytes| read(&bytes));
}

#[test]
fn waits_in_headers_are_bounded() {
    let names = prop::sample::select(vec![
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
    ]);
    let values = prop_oneof![
        prop::sample::select(vec![
            "0",
            "-1",
            "9223372036854775807",
            "18446744073709551616",
            "NaN",
            "inf",
            "1e308",
            "99999999999",
            "6m0s",
            "9999999999999999999999d",
            "1e999",
            "Sun, 06 Nov 9999 08:49:37 GMT",
            "1h-1m",
            "\u{7f}",
        ])
        .prop_map(str::to_owned),
        "[0-9a-z.: ,-]{0,30}",
    ];
    let headers = prop::collection::vec((names, values), 0..8);
    property("reply-headers", Inputs { usual: 300, share: 30 }, &headers, |headers| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                map.insert(HeaderName::from_static(name), value);
            }
        }
        let read = RateHeaders::read(&map, SystemTime::now());
        for wait in [read.retry_after, read.requests.reset, read.tokens.reset].into_iter().flatten() {
            assert!(wait <= LONGEST_WAIT, "{wait:?}");
        }
    });
}
