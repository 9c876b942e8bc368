use domain::answer::{Api, Finish, Sampling};
use domain::budget::{Tier, Usage, Usd};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::mask::KeyMask;
use crate::reply::{Paid, answer_of};

/// A reply as the responses API sends it, with these outputs.
fn reply(status: &str, output: &Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "status": status, "error": null, "incomplete_details": null,
        "model": "m-2026-05-14", "output": output, "service_tier": "default",
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 30}, "total_tokens": 150, "cost_in_usd_ticks": 7},
    })
}

fn said(text: &str) -> Value {
    json!([
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]},
    ])
}

fn read(value: &Value) -> (Result<domain::answer::Answer, Failure>, Paid) {
    read_with(value, None)
}

fn read_with(value: &Value, max_tokens: Option<u32>) -> (Result<domain::answer::Answer, Failure>, Paid) {
    let asked = Sampling { api: Api::Responses, max_tokens, ..Sampling::default() };
    answer_of(&asked, value.to_string().as_bytes(), 50, &KeyMask::default())
}

#[test]
fn a_response_that_ends_at_the_tokens_it_was_allowed_is_cut_off_whatever_it_is_called() {
    let full = reply("completed", &said("[{"));
    let (answer, paid) = read_with(&full, Some(50));
    assert_eq!((answer, paid.model.as_str()), (Err(Failure::CutOff), "m-2026-05-14"));
    assert!(read_with(&full, Some(51)).0.is_ok());
}

#[test]
fn a_whole_reply_is_read_with_its_usage_model_and_bill() {
    let (answer, paid) = read(&reply("completed", &said("[]")));
    let answer = answer.unwrap();
    assert_eq!(
        (answer.content.as_str(), &answer.finish, answer.model.as_str()),
        ("[]", &Finish::Stop, "m-2026-05-14")
    );
    let usage = Usage { prompt: 100, completion: 50, reasoning: 30, cached: 64, total: 150, estimated: 0 };
    assert_eq!((answer.usage, paid.usage), (usage, usage));
    assert_eq!(
        (paid.charge.billed, paid.charge.tier, paid.names_tier),
        (Some(Usd::from_ticks(7)), Tier::Standard, true)
    );
}

#[test]
fn what_is_not_whole_is_a_failure_that_was_paid_for() {
    let mut cut = reply("incomplete", &said("[{"));
    cut["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let mut withheld = reply("incomplete", &said(""));
    withheld["incomplete_details"] = json!({"reason": "content_filter"});
    let refusal = json!([{"type": "message", "content": [{"type": "refusal", "refusal": "I cannot"}]}]);
    let mut failed = reply("failed", &json!([]));
    failed["error"] = json!({"code": "server_error", "message": "it fell over"});
    for (value, expected) in [
        (cut, "cut off"),
        (withheld, "withheld"),
        (reply("completed", &refusal), "I cannot"),
        (failed, "it fell over"),
        (reply("completed", &json!([])), "empty"),
        (json!({"error": {"message": "overloaded"}}), "overloaded"),
        (json!({"choices": []}), "choices is missing or empty"),
    ] {
        let (answer, paid) = read(&value);
        let failure = answer.unwrap_err().to_string();
        assert!(failure.contains(expected), "{value}: {failure}");
        assert_eq!(paid.charge.billed.is_some(), value.get("usage").is_some(), "{value}");
    }
}

#[test]
fn a_reply_of_chat_completions_is_read_as_it_is() {
    let chat = json!({"choices": [{"message": {"content": "[]"}, "finish_reason": "stop"}]});
    assert_eq!(read(&chat).0.unwrap().content, "[]");
}
