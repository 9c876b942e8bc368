//! Handle of a store of answers and verdicts, wherever it lies.

use std::sync::Arc;

use super::{Answers, ResponseCache, Verdicts};

/// A store of answers and verdicts.
#[derive(Debug, Clone)]
pub struct AnswerStore {
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) verdicts: Arc<dyn Verdicts>,
}

impl AnswerStore {
    /// The handle of `store`.
    pub(crate) fn of<S: Answers + Verdicts + 'static>(store: Arc<S>) -> Self {
        Self { answers: Arc::clone(&store) as Arc<dyn Answers>, verdicts: store }
    }
}

impl From<Arc<ResponseCache>> for AnswerStore {
    fn from(store: Arc<ResponseCache>) -> Self {
        Self::of(store)
    }
}
