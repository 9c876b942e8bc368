//! A build that sends no spans.

use clap::Args;
use tracing::Span;
use tracing_subscriber::layer::Identity;

/// Where spans go: nowhere.
#[derive(Debug, Clone, Default, Args)]
pub struct Traces {}

/// Sends nothing.
#[derive(Debug)]
pub struct Exporting(());

/// There is nothing that could fail.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {}

impl Traces {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as in a build that sends spans")]
    pub(crate) fn open(&self, _program: &'static str) -> Result<Option<(Identity, Exporting)>, TracesError> {
        Ok(None)
    }
}

/// What another process needs to put its spans under `span`: nothing.
pub fn carried(_span: &Span) -> Option<String> {
    None
}

/// Puts `span` under the span of another process: it is in no picture.
pub fn follow(_span: &Span, _carried: &str) {}
