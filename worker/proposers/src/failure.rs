//! Why there is no answer, and when to stop waiting for one.

use std::sync::Arc;

/// Whether to stop: asked every few milliseconds while a program works.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why a program gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// We stopped waiting.
    Stopped,
    /// It failed: a message without secrets of ours.
    Failed(String),
}
