//! Body of a reply: parsed leniently, because providers differ, and accepted only if the response is complete.

mod content;
mod page;
mod refusal;
mod responses;
mod usage;

use domain::answer::{Answer, Api, Sampling};
use domain::budget::{Charge, Usage};
use serde_json::Value;

pub use refusal::refusal;

use crate::error::Failure;
use crate::mask::KeyMask;

/// Longest model name in a reply that is kept, in characters.
const MODEL_NAME: usize = 200;

/// What a call cost and who served it, as its reply says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paid {
    /// Its tokens.
    pub usage: Usage,
    /// What the provider says of the price.
    pub charge: Charge,
    /// Whether it says by which tier the call was served.
    pub names_tier: bool,
    /// The model that it names, also where its response is of no use; empty: it names none.
    pub model: String,
}

/// Parses the body of a reply with status 2xx; the key is masked in every text of it. The usage is returned also for a
/// failure, because it was paid for. Of a response whose tokens the provider does not count they are estimated, those of
/// its prompt as `prompt_tokens`; what is not the response of a model costs what its body says.
pub fn answer(body: &[u8], prompt_tokens: u64, mask: &KeyMask) -> (Result<Answer, Failure>, Paid) {
    answer_of(&Sampling::default(), body, prompt_tokens, mask)
}

/// The same of a reply to a question that was put in this way.
pub fn answer_of(
    asked: &Sampling,
    body: &[u8],
    prompt_tokens: u64,
    mask: &KeyMask,
) -> (Result<Answer, Failure>, Paid) {
    let mut value: Value = match serde_json::from_slice(page::without_mark(body)) {
        Ok(value) => value,
        Err(error) => return (Err(page::not_json(body, &error, mask)), Paid::default()),
    };
    if asked.api == Api::Responses {
        value = responses::as_chat(value, asked.max_tokens);
    }
    let is_answer = content::has_choices(&value) && refusal::within_answer(&value).is_none();
    if is_answer {
        mask.answer(&mut value);
    } else {
        mask.error(&mut value);
    }
    let (counted, charge) = (usage::counted(&value), usage::charge(&value));
    let names_tier = usage::tier(&value).is_some();
    let model = value.get("model").and_then(Value::as_str).unwrap_or_default();
    let model: String = model.chars().take(MODEL_NAME).collect();
    let as_counted = Paid { usage: counted.usage(), charge, names_tier, model: model.clone() };
    if let Some(refusal) = refusal::within_answer(&value) {
        return (Err(Failure::Refused(refusal)), as_counted);
    }
    let choice = match content::choice(&value) {
        Ok(choice) => choice,
        Err(failure) => return (Err(failure), as_counted),
    };
    let usage = counted.completed(prompt_tokens, choice.written());
    let answer = choice.whole().map(|(content, finish)| Answer {
        content,
        finish,
        usage,
        charge,
        model: model.clone(),
    });
    (answer, Paid { usage, charge, names_tier, model })
}

#[cfg(test)]
mod tests;
