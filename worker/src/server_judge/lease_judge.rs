//! Asks about the documents of one shard: in memory, in the coordinator's cache, at the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::api_server::{ServerCause, ServerIdentity, ServerVerdict};
use domain::ids::DocumentHash;
use domain::record::Neighbours;
use engine::verify::{ServerResult, admitted};
use sensitive::Masks;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::cache_client::CacheClient;
use super::judge::ServerJudge;
use crate::backoff::Backoff;

/// How long a record waits for a server that cannot be reached. Then its shard is handed back, so that another worker, whose
/// server may be reachable, can have it.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a wait looks whether it has to end.
const TICK: Duration = Duration::from_millis(50);

/// Verdicts that wait to be stored together.
const BATCH: usize = 64;

/// Whether the shard's work has to stop.
pub(crate) type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Judges the documents of one shard. Blocks its caller, a thread of the CPU pool, while the server is asked.
pub struct LeaseJudge {
    judge: Arc<ServerJudge>,
    /// `None`: there is no cache, in tests.
    cache: Option<CacheClient>,
    runtime: Handle,
    stop: Stop,
    patience: Duration,
    stopped: AtomicBool,
    /// Answers that are not stored yet.
    unsaved: Mutex<Vec<(DocumentHash, ServerVerdict)>>,
}

impl std::fmt::Debug for LeaseJudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseJudge").field("judge", &self.judge).finish_non_exhaustive()
    }
}

impl LeaseJudge {
    /// For the shard of `cache`'s lease. Called on the runtime that asks.
    pub(crate) fn new(judge: Arc<ServerJudge>, cache: Option<CacheClient>, stop: Stop) -> Self {
        Self {
            judge,
            cache,
            runtime: Handle::current(),
            stop,
            patience: PATIENCE,
            stopped: AtomicBool::new(false),
            unsaved: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether a question got no answer, so that the shard cannot be finished.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What the server answers about `text`, without the secrets of `objects`, its versions. `None`: the work has to stop.
    /// Blocks.
    pub(crate) fn ask(&self, text: &str, objects: &[&Value]) -> Option<ServerResult> {
        if self.is_stopped() {
            return None;
        }
        let hash = DocumentHash::of(text.as_bytes());
        let verdict = match self.judge.known(&hash) {
            Some(known) => Some(known),
            None => self.runtime.block_on(self.find(hash, text, objects)),
        };
        if verdict.is_none() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        Some(ServerResult::new(self.judge.version(), &verdict?))
    }

    /// As [`admit`], for this server.
    pub(crate) fn admit(
        &self,
        answer: ServerResult,
        object: &Value,
        neighbours: &Neighbours,
        companions: &[Value],
    ) -> ServerResult {
        admit(answer, object, neighbours, companions, self.judge.identity())
    }

    async fn find(&self, hash: DocumentHash, text: &str, objects: &[&Value]) -> Option<ServerVerdict> {
        if let Some(cache) = &self.cache
            && let Some(cached) = cache.get(&hash).await
        {
            self.judge.keep(hash, cached.clone());
            return Some(cached);
        }
        let verdict = tokio::select! {
            verdict = self.answer(text) => verdict?,
            () = self.stopping() => return None,
        };
        let verdict = without_secrets(verdict, objects);
        self.judge.keep(hash, verdict.clone());
        let batch = {
            let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
            unsaved.push((hash, verdict.clone()));
            if unsaved.len() >= BATCH { std::mem::take(&mut *unsaved) } else { Vec::new() }
        };
        self.save(batch).await;
        Some(verdict)
    }

    /// Asks until there is an answer; `None`: the wait got too long.
    async fn answer(&self, text: &str) -> Option<ServerVerdict> {
        let (begun, mut backoff) = (Instant::now(), Backoff::new());
        loop {
            match self.judge.ask(text).await {
                Ok(verdict) => return Some(verdict),
                Err(error) if begun.elapsed() >= self.patience => {
                    tracing::warn!(%error, "handing a shard back: the API server could not be reached for {:?}", self.patience);
                    return None;
                }
                Err(_) => sleep(backoff.next_delay().min(self.patience)).await,
            }
        }
    }

    async fn stopping(&self) {
        while !(self.stop)() {
            sleep(TICK).await;
        }
    }

    /// Stores the answers that are not stored yet; called when the shard is done.
    pub(crate) async fn flush(&self) {
        let batch = std::mem::take(&mut *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner));
        self.save(batch).await;
    }

    /// As [`Self::flush`], on a thread that may block.
    pub(crate) fn flush_blocking(&self) {
        self.runtime.block_on(self.flush());
    }

    /// Stores answers. They are asked again by a later run where the coordinator cannot be reached.
    async fn save(&self, batch: Vec<(DocumentHash, ServerVerdict)>) {
        let Some(cache) = self.cache.as_ref().filter(|_| !batch.is_empty()) else { return };
        for _ in 0..3 {
            if cache.put(&batch).await {
                return;
            }
            sleep(TICK).await;
        }
        tracing::info!(
            verdicts = batch.len(),
            "cannot store verdicts of the API server: a later run asks for them again"
        );
    }
}

/// Judges the service account of a Pod that a server accepts which looks none up.
pub(crate) fn admit(
    answer: ServerResult,
    object: &Value,
    neighbours: &Neighbours,
    companions: &[Value],
    server: &ServerIdentity,
) -> ServerResult {
    if server.looks_up_accounts() {
        return answer;
    }
    admitted(answer, object, neighbours, companions)
}

/// A server repeats values in its messages: those of secrets are masked before a verdict is kept anywhere.
fn without_secrets(verdict: ServerVerdict, objects: &[&Value]) -> ServerVerdict {
    if verdict.causes.is_empty() && verdict.message.is_none() && verdict.warnings.is_empty() {
        return verdict;
    }
    let Some((first, others)) = objects.split_first() else { return verdict };
    let (mut masks, _) = Masks::of(first, usize::MAX);
    for other in others {
        masks.mask(&mut Value::clone(other));
    }
    if masks.is_empty() {
        return verdict;
    }
    let cause = |cause: ServerCause| ServerCause {
        field: masks.scrub(&cause.field),
        message: masks.scrub(&cause.message),
        ..cause
    };
    ServerVerdict {
        causes: verdict.causes.into_iter().map(cause).collect(),
        message: verdict.message.map(|message| masks.scrub(&message)),
        warnings: verdict.warnings.iter().map(|warning| masks.scrub(warning)).collect(),
        ..verdict
    }
}
