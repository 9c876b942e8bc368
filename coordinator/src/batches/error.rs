//! Why batches do not go on. Nothing is lost by any of these: the same command goes on.

use std::io;
use std::path::{Path, PathBuf};

use domain::budget::Usd;
use llm::batch::NoBatches;
use llm::error::Failure;
use llm::providers::ProviderError;

use crate::llm_gateway::response_cache::CacheError;

/// Failure of the delivery by batches.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    /// The store of answers failed.
    #[error(transparent)]
    Store(#[from] CacheError),
    /// A file of questions or answers cannot be used.
    #[error("{} cannot be used: {source}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The system gave no random numbers.
    #[error("no mark of a batch can be drawn: {0}")]
    Random(#[source] io::Error),
    /// This machine does not have the provider, or its key.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The provider has no batches for us.
    #[error(transparent)]
    NoBatches(#[from] NoBatches),
    /// The provider refuses what every batch would ask.
    #[error("{what}: {failure}; {remedy}")]
    Refused { what: &'static str, failure: Failure, remedy: &'static str },
    /// A batch ended without an answer to any of its lines.
    #[error("batch {id} was not worked on ({status}){}{words}", if .words.is_empty() { "" } else { ": " })]
    NotWorkedOn { id: String, status: &'static str, words: String },
    /// The run may not spend what the batches would.
    #[error(
        "the run may not spend what its batches would: {key} is exceeded by {calls} calls, about {cost} USD; allow more, or \
         set proposer.delivery to live"
    )]
    Spending { key: &'static str, calls: u64, cost: Usd },
    /// A thread ended early.
    #[error("the work on a batch ended early: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] corpus::CorpusError),
}

impl BatchError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}
