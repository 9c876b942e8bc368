//! The form of answers that a run asks a model for: the strictest that the provider takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use domain::config::AnswerFormat;

/// The present form of a run at this worker, shared by its conversations. *Invariant*: it only grows weaker, and only where the
/// configuration leaves the choice.
#[derive(Debug, Clone)]
pub(crate) struct FormLadder {
    configured: AnswerFormat,
    /// How many times the form was made weaker.
    steps: Arc<AtomicU8>,
}

impl FormLadder {
    pub(crate) fn new(configured: AnswerFormat) -> Self {
        Self { configured, steps: Arc::default() }
    }

    /// The form to ask for.
    pub(crate) fn form(&self) -> AnswerFormat {
        self.after(self.steps.load(Ordering::Acquire))
    }

    /// The form after so many steps.
    fn after(&self, steps: u8) -> AnswerFormat {
        let first = self.configured.first();
        (0..steps).fold(first, |form, _| form.weaker().unwrap_or(form))
    }

    /// Whether the provider has refused `form`, which was the one to ask for earlier.
    pub(crate) fn is_refused(&self, form: AnswerFormat) -> bool {
        (0..self.steps.load(Ordering::Acquire)).any(|steps| self.after(steps) == form)
    }

    /// Whether a weaker form may take the place of `form`.
    pub(crate) fn may_step_down(&self, form: AnswerFormat) -> bool {
        self.configured == AnswerFormat::Auto && form.weaker().is_some()
    }

    /// The provider refused `form`: from now on a weaker one is asked for. Returns it where this is new, and `None` where another
    /// conversation has learnt it before.
    pub(crate) fn step_down(&self, form: AnswerFormat) -> Option<AnswerFormat> {
        let steps = self.steps.load(Ordering::Acquire);
        if !self.may_step_down(form) || self.after(steps) != form {
            return None;
        }
        let stepped = self.steps.compare_exchange(steps, steps + 1, Ordering::AcqRel, Ordering::Acquire);
        stepped.ok().and_then(|_| form.weaker())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_form_is_left_once_however_many_calls_had_it() {
        let forms = FormLadder::new(AnswerFormat::Auto);
        let shared = forms.clone();
        assert_eq!(forms.form(), AnswerFormat::StrictSchema);
        assert_eq!(forms.step_down(AnswerFormat::StrictSchema), Some(AnswerFormat::JsonSchema));
        assert_eq!(shared.step_down(AnswerFormat::StrictSchema), None, "of a call that was in flight");
        assert_eq!(shared.form(), AnswerFormat::JsonSchema);
        assert!(
            shared.is_refused(AnswerFormat::StrictSchema) && !shared.is_refused(AnswerFormat::JsonSchema)
        );
        assert_eq!(forms.step_down(AnswerFormat::JsonSchema), Some(AnswerFormat::JsonObject));
        assert_eq!(forms.step_down(AnswerFormat::JsonObject), Some(AnswerFormat::Text));
        assert_eq!((forms.step_down(AnswerFormat::Text), forms.form()), (None, AnswerFormat::Text));
    }

    #[test]
    fn a_form_that_was_chosen_stays() {
        let forms = FormLadder::new(AnswerFormat::JsonSchema);
        assert!(
            !forms.may_step_down(AnswerFormat::JsonSchema) && !forms.is_refused(AnswerFormat::JsonSchema)
        );
        assert_eq!(
            (forms.step_down(AnswerFormat::JsonSchema), forms.form()),
            (None, AnswerFormat::JsonSchema)
        );
    }
}
