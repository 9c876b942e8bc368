//! The tokens of a call: counted by the provider in whatever spelling, or estimated and marked as such; and what it bills.

use domain::budget::{Charge, Tier, Usage, Usd};
use serde_json::Value;

/// Where the counts of a reply may lie.
const PLACES: [&str; 6] =
    ["/usage", "/x_groq/usage", "/choices/0/usage", "/usageMetadata", "/usage_metadata", "/meta/tokens"];

/// The names of the tokens of the prompt. The first that holds a count is taken, here and below.
const PROMPT: [&str; 7] = [
    "/prompt_tokens",
    "/input_tokens",
    "/promptTokens",
    "/inputTokens",
    "/promptTokenCount",
    "/prompt_token_count",
    "/prompt_eval_count",
];

/// Those of the response.
const COMPLETION: [&str; 7] = [
    "/completion_tokens",
    "/output_tokens",
    "/completionTokens",
    "/outputTokens",
    "/candidatesTokenCount",
    "/candidates_token_count",
    "/eval_count",
];

/// Those of reasoning that is not shown.
const REASONING: [&str; 5] = [
    "/completion_tokens_details/reasoning_tokens",
    "/output_tokens_details/reasoning_tokens",
    "/reasoning_tokens",
    "/thoughtsTokenCount",
    "/thoughts_token_count",
];

/// Those of the prompt that the provider had in its cache.
const CACHED: [&str; 7] = [
    "/prompt_tokens_details/cached_tokens",
    "/input_tokens_details/cached_tokens",
    "/cached_tokens",
    "/prompt_cache_hit_tokens",
    "/cache_read_input_tokens",
    "/cachedContentTokenCount",
    "/cached_content_token_count",
];

/// All tokens.
const TOTAL: [&str; 4] = ["/total_tokens", "/totalTokens", "/totalTokenCount", "/total_token_count"];

/// Where a reply may bill the call in ticks of 10⁻¹⁰ US dollars, and where in US dollars.
const BILLED_TICKS: &str = "/usage/cost_in_usd_ticks";
const BILLED: &str = "/usage/cost";

/// Where a reply may say how the call was served.
const TIERS: [&str; 2] = ["/service_tier", "/usage/service_tier"];

/// What a reply counts; `None`: it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    prompt: Option<u64>,
    completion: Option<u64>,
    reasoning: Option<u64>,
    cached: Option<u64>,
    total: Option<u64>,
}

/// Reads the counts of a reply.
pub(super) fn counted(value: &Value) -> Counted {
    let own = PLACES.iter().filter_map(|place| value.pointer(place)).find(|usage| usage.is_object());
    // Ollama counts beside the response.
    let usage = own.unwrap_or(value);
    let find = |names: &[&str]| names.iter().filter_map(|name| usage.pointer(name)).find_map(count);
    Counted {
        prompt: find(&PROMPT),
        completion: find(&COMPLETION),
        reasoning: find(&REASONING),
        cached: find(&CACHED),
        total: find(&TOTAL),
    }
}

/// What a reply says of the price of its call. Amounts come as numbers and as texts; one that no call can cost says nothing.
pub(super) fn charge(value: &Value) -> Charge {
    let text = |place: &str| match value.pointer(place)? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    // A whole number of ticks, also where it is spelt with a fraction of zeros.
    let ticks =
        text(BILLED_TICKS).and_then(|ticks| Usd::parse(&format!("{}e-10", without_exponent(&ticks)?)));
    let billed = ticks.or_else(|| text(BILLED).and_then(|usd| Usd::parse(&usd)));
    Charge { billed, tier: tier(value).unwrap_or_default() }.of_one_call()
}

/// The tier that a reply names.
pub(super) fn tier(value: &Value) -> Option<Tier> {
    TIERS.iter().find_map(|place| value.pointer(place)?.as_str()).map(Tier::read)
}

/// The text of a number, unless it has an exponent.
fn without_exponent(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.contains(['e', 'E'])).then_some(text)
}

/// A count: a number from 0 that a call can have, also with a fraction of zeros or as a text. A broken token counts whole.
fn count(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to MOST")]
    let whole = |number: f64| (0.0..=Usage::MOST as f64).contains(&number).then(|| number.ceil() as u64);
    let count = match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    };
    count.filter(|count| *count <= Usage::MOST)
}

impl Counted {
    /// The counts as they are; what is not known is 0, a total that is not known the sum of the others.
    pub(super) fn usage(self) -> Usage {
        let known = Option::unwrap_or_default;
        Usage {
            prompt: known(self.prompt),
            completion: known(self.completion),
            reasoning: known(self.reasoning),
            cached: known(self.cached),
            total: known(self.total),
            estimated: 0,
        }
        .of_one_call()
    }

    /// The usage of a response of `written` bytes, a token for four of them: without a total, what is missing of prompt and
    /// response is estimated.
    /// No prompt has 0 tokens, and no text: such a count means that it was not counted.
    pub(super) fn completed(self, prompt_tokens: u64, written: usize) -> Usage {
        if self.total.is_some_and(|total| total > 0) {
            return self.usage();
        }
        let (mut usage, mut estimated) = (self.usage(), 0);
        if usage.prompt == 0 {
            usage.prompt = prompt_tokens.min(Usage::MOST);
            estimated += usage.prompt;
        }
        if usage.completion == 0 {
            usage.completion = (written as u64).div_ceil(4).min(Usage::MOST);
            estimated += usage.completion;
        }
        // More reasoning than response is no part of it.
        let apart = if usage.reasoning > usage.completion { usage.reasoning } else { 0 };
        Usage { total: usage.prompt + usage.completion + apart, estimated, ..usage }.of_one_call()
    }
}
