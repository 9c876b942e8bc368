//! Stub for builds without the feature `otlp`.

use tracing::Span;
use tracing_subscriber::layer::Identity;

/// The layer that would take spans.
pub(super) type Layer = Identity;

/// Sends nothing.
#[derive(Debug)]
pub struct Exporting(());

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// What would send them was not built in.
    #[error(
        "--otlp needs a build with the feature otlp (cargo build --features coordinator/otlp,worker/otlp)"
    )]
    NotBuilt,
}

pub(super) fn open(_url: &str, _program: &'static str) -> Result<(Layer, Exporting), TracesError> {
    Err(TracesError::NotBuilt)
}

/// What another process needs to put its spans under `span`: nothing.
pub fn carried(_span: &Span) -> Option<String> {
    None
}

/// Puts `span` under the span of another process: it is in no picture.
pub fn follow(_span: &Span, _carried: &str) {}
