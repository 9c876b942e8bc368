//! Replay: responses by the hash of their prompt. The caller builds the prompts by the code that builds them for a run;
//! this crate does not depend on their content.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ids::AnswerKey;

use crate::answers::Answers;

/// Responses by the hash of the first user message.
#[derive(Debug, Default)]
pub struct PromptAnswers {
    by_prompt: HashMap<AnswerKey, Box<str>>,
}

impl PromptAnswers {
    /// Inserts the response to a prompt; `false` when the prompt already has another response, which stays.
    pub fn insert(&mut self, prompt: &str, answer: &str) -> bool {
        let known = self.by_prompt.entry(key(prompt)).or_insert_with(|| answer.into());
        **known == *answer
    }

    /// The response to a prompt.
    pub fn answer(&self, prompt: &str) -> Option<&str> {
        self.by_prompt.get(&key(prompt)).map(AsRef::as_ref)
    }

    /// Whether the prompt has a response.
    pub fn contains(&self, prompt: &str) -> bool {
        self.answer(prompt).is_some()
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.by_prompt.len()
    }

    /// Whether there is no prompt.
    pub fn is_empty(&self) -> bool {
        self.by_prompt.is_empty()
    }

    /// These responses, and none to any other prompt.
    pub fn into_answers(self) -> Answers {
        Arc::new(move |prompt| self.answer(prompt).map(str::to_owned))
    }
}

fn key(prompt: &str) -> AnswerKey {
    AnswerKey::of(prompt.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_to_a_prompt_stays() {
        let mut answers = PromptAnswers::default();
        assert!(answers.is_empty());
        assert!(answers.insert("a", "1") && answers.insert("a", "1") && answers.insert("b", "2"));
        assert!(!answers.insert("a", "3"));
        assert_eq!((answers.len(), answers.answer("a"), answers.answer("c")), (2, Some("1"), None));
        let answers = answers.into_answers();
        assert_eq!((answers("b").as_deref(), answers("c")), (Some("2"), None));
    }
}
