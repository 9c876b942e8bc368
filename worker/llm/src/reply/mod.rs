//! Body of a reply: parsed leniently, because providers differ, and accepted only if the response is complete.

mod content;
mod page;
mod refusal;
mod usage;

use domain::answer::Answer;
use domain::budget::Usage;
use serde_json::Value;

pub use refusal::refusal;

use crate::error::Failure;
use crate::mask::KeyMask;

/// Longest model name in a reply that is kept, in characters.
const MODEL_NAME: usize = 200;

/// Parses the body of a reply with status 2xx; the key is masked in every text of it. The usage is returned also for a
/// failure, because it was paid for. Of a response whose tokens the provider does not count they are estimated, those of
/// its prompt as `prompt_tokens`; what is not the response of a model costs what its body says.
pub fn answer(body: &[u8], prompt_tokens: u64, mask: &KeyMask) -> (Result<Answer, Failure>, Usage) {
    let mut value: Value = match serde_json::from_slice(page::without_mark(body)) {
        Ok(value) => value,
        Err(error) => return (Err(page::not_json(body, &error, mask)), Usage::default()),
    };
    let is_answer = content::has_choices(&value) && refusal::within_answer(&value).is_none();
    if is_answer {
        mask.answer(&mut value);
    } else {
        mask.error(&mut value);
    }
    let counted = usage::counted(&value);
    if let Some(refusal) = refusal::within_answer(&value) {
        return (Err(Failure::Refused(refusal)), counted.usage());
    }
    let choice = match content::choice(&value) {
        Ok(choice) => choice,
        Err(failure) => return (Err(failure), counted.usage()),
    };
    let usage = counted.completed(prompt_tokens, choice.written());
    let model = value.get("model").and_then(Value::as_str).unwrap_or_default();
    let answer = choice.whole().map(|(content, finish)| Answer {
        content,
        finish,
        usage,
        model: model.chars().take(MODEL_NAME).collect(),
    });
    (answer, usage)
}

#[cfg(test)]
mod tests;
