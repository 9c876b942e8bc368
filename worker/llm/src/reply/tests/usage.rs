use domain::budget::{Charge, Tier, Usage, Usd};
use serde_json::{Value, json};

use crate::mask::KeyMask;
use crate::reply::Paid;
use crate::reply::usage::{charge, counted};

fn usage(prompt: u64, completion: u64, total: u64) -> Usage {
    Usage { prompt, completion, total, ..Usage::default() }
}

/// A usage as a provider spells it, and what is counted of it for a prompt of about 50 tokens and a response of 40 bytes.
fn spellings() -> Vec<(Value, Usage)> {
    let told = usage(100, 20, 120);
    let guessed =
        |prompt, completion, estimated| Usage { estimated, ..usage(prompt, completion, prompt + completion) };
    vec![
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}), told),
        (json!({"usage": {"prompt_tokens": "100", "completion_tokens": 20.0, "total_tokens": 120.0}}), told),
        (
            json!({"usage": {"prompt_tokens": " 100 ", "completion_tokens": "20.0", "total_tokens": "1.2e2"}}),
            told,
        ),
        (json!({"usage": {"prompt_tokens": 99.2, "completion_tokens": 19.5, "total_tokens": 119.01}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": null}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 0}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": "many"}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": -1}}), told),
        (json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 1e300}}), told),
        (json!({"usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}}), told),
        (json!({"usage": {"input_tokens": 100, "output_tokens": 20}}), told),
        (json!({"usage": {"promptTokens": 100, "completionTokens": 20, "totalTokens": 120}}), told),
        (json!({"usage": {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120}}), told),
        (
            json!({"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}}),
            told,
        ),
        (json!({"usage_metadata": {"prompt_token_count": 100, "candidates_token_count": 20}}), told),
        (
            json!({"x_groq": {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}}),
            told,
        ),
        (json!({"usage": null, "x_groq": {"usage": {"prompt_tokens": 100, "completion_tokens": 20}}}), told),
        (json!({"choices": [{"usage": {"prompt_tokens": 100, "completion_tokens": 20}}]}), told),
        (json!({"meta": {"tokens": {"input_tokens": 100.0, "output_tokens": 20.0}}}), told),
        (json!({"prompt_eval_count": 100, "eval_count": 20, "done": true}), told),
        (
            json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 4216,
                "completion_tokens_details": {"reasoning_tokens": "4096"}, "prompt_tokens_details": {"cached_tokens": 64.0}}}),
            Usage { reasoning: 4096, cached: 64, ..usage(100, 20, 4216) },
        ),
        (
            json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64, "reasoning_tokens": 7}}),
            Usage { reasoning: 7, cached: 64, ..told },
        ),
        // More reasoning than response: it is billed beside it.
        (
            json!({"usage": {"prompt_tokens": 100, "completion_tokens": 20, "reasoning_tokens": 4096}}),
            Usage { reasoning: 4096, ..usage(100, 20, 4216) },
        ),
        // A total alone is metered; nothing is estimated.
        (json!({"usage": {"total_tokens": 120}}), usage(0, 0, 120)),
        // What is not counted.
        (json!({}), guessed(50, 10, 60)),
        (json!({"usage": null}), guessed(50, 10, 60)),
        (json!({"usage": {}}), guessed(50, 10, 60)),
        (json!({"usage": "none"}), guessed(50, 10, 60)),
        (
            json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
            guessed(50, 10, 60),
        ),
        (json!({"usage": {"prompt_tokens": [], "completion_tokens": {}}}), guessed(50, 10, 60)),
        (json!({"usage": {"prompt_tokens": u64::MAX, "completion_tokens": "NaN"}}), guessed(50, 10, 60)),
        (json!({"usage": {"prompt_tokens": 100}}), guessed(100, 10, 10)),
        (json!({"usage": {"completion_tokens": 20}}), guessed(50, 20, 50)),
    ]
}

#[test]
fn tokens_count_in_every_spelling() {
    for (body, expected) in spellings() {
        assert_eq!(counted(&body).completed(50, 40), expected, "{body}");
    }
}

#[test]
fn what_is_no_response_is_not_estimated() {
    for (body, expected) in spellings() {
        let usage = counted(&body).usage();
        assert_eq!(usage.estimated, 0, "{body}");
        if expected.estimated == 0 && expected.reasoning <= expected.completion {
            assert_eq!(usage, expected, "{body}");
        }
    }
}

#[test]
fn an_answer_without_usage_is_estimated_and_a_broken_one_is_not() {
    let read = |body: &Value| crate::reply::answer(body.to_string().as_bytes(), 50, &KeyMask::default());
    let whole = json!({"choices": [{"message": {"content": "x".repeat(40)}, "finish_reason": "stop"}]});
    let (answer, Paid { usage, .. }) = read(&whole);
    assert_eq!((answer.unwrap().usage, usage.total, usage.estimated), (usage, 60, 60));
    let reasoned = json!({"choices": [{"message": {"content": null, "reasoning_content": "y".repeat(400)},
        "finish_reason": "length"}]});
    assert_eq!(read(&reasoned).1.usage.estimated, 150, "what was thought was paid for");
    for broken in [json!({"choices": []}), json!({"error": {"message": "overloaded"}}), json!([])] {
        assert_eq!(read(&broken).1, Paid::default(), "{broken}");
    }
}

#[test]
fn what_is_billed_counts_to_the_tick_in_every_spelling() {
    let billed = |ticks| Some(Usd::from_ticks(ticks));
    for (body, expected) in [
        (json!({"usage": {"cost_in_usd_ticks": 37_756_000}}), billed(37_756_000)),
        (json!({"usage": {"cost_in_usd_ticks": "37756001"}}), billed(37_756_001)),
        (json!({"usage": {"cost_in_usd_ticks": 12.0}}), billed(12)),
        (json!({"usage": {"cost_in_usd_ticks": 0}}), billed(0)),
        (json!({"usage": {"cost": 0.003_775_600_1}}), billed(37_756_001)),
        (json!({"usage": {"cost": "1.5e-7"}}), billed(1_500)),
        (json!({"usage": {"cost": 1.5e-7}}), billed(1_500)),
        // The ticks are exact, and win.
        (json!({"usage": {"cost_in_usd_ticks": 7, "cost": 0.5}}), billed(7)),
        (json!({"usage": {"cost_in_usd_ticks": null, "cost": 0.5}}), billed(5_000_000_000)),
        // What says nothing.
        (json!({"usage": {"cost": null}}), None),
        (json!({"usage": {"cost": {"total": 1}}}), None),
        (json!({"usage": {"cost": -0.5}}), None),
        (json!({"usage": {"cost": "free"}}), None),
        (json!({"usage": {"cost": 1e6, "num_sources_used": 3}}), None),
        (json!({"usage": {"cost_in_usd_ticks": u64::MAX}}), None),
        (json!({}), None),
    ] {
        assert_eq!(charge(&body), Charge { billed: expected, tier: Tier::Standard }, "{body}");
    }
    for (body, tier) in [
        (json!({"service_tier": "default"}), Tier::Standard),
        (json!({"service_tier": "flex"}), Tier::Flex),
        (json!({"usage": {"service_tier": "priority"}}), Tier::Priority),
        (json!({"service_tier": "scale"}), Tier::Unknown),
        (json!({"service_tier": null}), Tier::Standard),
    ] {
        assert_eq!(charge(&body).tier, tier, "{body}");
    }
}

#[test]
fn a_failed_call_costs_what_its_reply_bills() {
    let read = |body: &Value| crate::reply::answer(body.to_string().as_bytes(), 50, &KeyMask::default()).1;
    let cut = json!({"choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
        "service_tier": "flex", "usage": {"cost_in_usd_ticks": 9}});
    assert_eq!(read(&cut).charge, Charge { billed: Some(Usd::from_ticks(9)), tier: Tier::Flex });
    let refused = json!({"error": {"message": "overloaded"}, "usage": {"cost_in_usd_ticks": 8}});
    assert_eq!(read(&refused).charge.billed, Some(Usd::from_ticks(8)));
}
