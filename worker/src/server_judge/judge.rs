//! The API server of a worker, shared by its shards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::api_server::{ServerIdentity, ServerVerdict};
use domain::ids::DocumentHash;
use futures::future::BoxFuture;

use super::memory::Memory;

/// The server gave no answer: the question may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// An API server that can be asked about documents.
pub trait JudgeServer: Send + Sync {
    /// Which server it is.
    fn identity(&self) -> &ServerIdentity;

    /// Asks about one document by a dry run.
    fn judge<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ServerVerdict, Unreachable>>;
}

/// The API server of a worker, and its recent verdicts.
pub struct ServerJudge {
    server: Box<dyn JudgeServer>,
    version: Arc<str>,
    memory: Mutex<Memory>,
    /// Whether the server could not be reached at the last try.
    is_down: AtomicBool,
    asked: AtomicU64,
}

impl std::fmt::Debug for ServerJudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerJudge").field("identity", self.server.identity()).finish_non_exhaustive()
    }
}

impl ServerJudge {
    /// A worker's server.
    pub fn new(server: impl JudgeServer + 'static) -> Self {
        let version = server.identity().version().into();
        Self {
            server: Box::new(server),
            version,
            memory: Mutex::default(),
            is_down: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        }
    }

    /// Which server it is.
    pub fn identity(&self) -> &ServerIdentity {
        self.server.identity()
    }

    /// How many documents the server was asked about and answered.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether the server could not be reached at the last try.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub(super) fn version(&self) -> Arc<str> {
        Arc::clone(&self.version)
    }

    pub(super) fn known(&self, text: &DocumentHash) -> Option<ServerVerdict> {
        self.memory().get(text).cloned()
    }

    pub(super) fn keep(&self, text: DocumentHash, verdict: ServerVerdict) {
        self.memory().put(text, verdict);
    }

    /// Asks the server once. The first failure, and the first answer after it, are logged.
    pub(super) async fn ask(&self, text: &str) -> Result<ServerVerdict, Unreachable> {
        let answer = self.server.judge(text).await;
        match &answer {
            Ok(_) => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!(server = %self.identity(), "the API server answers again");
                }
            }
            Err(error) => {
                if !self.is_down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(server = %self.identity(), %error, "the API server cannot be reached: the records that need it wait");
                }
            }
        }
        answer
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
