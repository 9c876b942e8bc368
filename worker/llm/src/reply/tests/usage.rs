use domain::budget::Usage;
use serde_json::{Value, json};

use crate::mask::KeyMask;
use crate::reply::usage::counted;

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
    let (answer, usage) = read(&whole);
    assert_eq!((answer.unwrap().usage, usage.total, usage.estimated), (usage, 60, 60));
    let reasoned = json!({"choices": [{"message": {"content": null, "reasoning_content": "y".repeat(400)},
        "finish_reason": "length"}]});
    assert_eq!(read(&reasoned).1.estimated, 150, "what was thought was paid for");
    for broken in [json!({"choices": []}), json!({"error": {"message": "overloaded"}}), json!([])] {
        assert_eq!(read(&broken).1, Usage::default(), "{broken}");
    }
}
