//! Damaged parts: found before they are merged, then taken back, so that their shards are leased again.
//!
//! *Invariant*: the run is *running* before the first part is taken back. A process that is killed in between leaves a run that
//! finds the rest of the damage again.

use std::sync::Arc;

use domain::ids::{PartHash, RunId, ShardIndex};
use domain::run::{RunState, Shard};
use results::corpus_copy::CorpusReader;
use results::scan::Part;
use results::store::{Store, StoreError};

use super::error::FinalizeError;
use crate::ledger::{CommittedPart, ShardEntry, Swap};
use crate::run::Coordinator;
use crate::run::part_check::{Inspected, check, inspect};

/// How often the shards of damaged parts of a run are leased again. On a disk that damages every part, the run fails after
/// that instead of repeating its work without end.
const REOPENED: u32 = 3;

/// A committed part and where it is.
#[derive(Debug, Clone)]
pub(super) struct Located {
    shard: Shard,
    committed: CommittedPart,
    pub(super) part: Part,
}

/// The committed parts among `shards`. Where the store is elsewhere, their bytes.
pub(super) async fn located(folder: &Store, shards: Vec<ShardEntry>) -> Result<Vec<Located>, FinalizeError> {
    let mut found = Vec::with_capacity(shards.len());
    let mut damage = Damaged::default();
    for entry in shards {
        let Some(committed) = entry.part else { continue };
        let part = match folder.local_path(&committed.key) {
            Some(path) => Part::File(path),
            None => match folder.part(&committed.key).await {
                Err(error @ StoreError::Missing { .. }) => {
                    damage.add(entry.shard.index, committed.hash, || error.to_string());
                    continue;
                }
                part => part?,
            },
        };
        found.push(Located { shard: entry.shard, committed, part });
    }
    damage.none().map(|()| found)
}

/// Compares every part with its length and hash in the ledger.
pub(super) async fn verify(parts: Vec<Located>) -> Result<(), FinalizeError> {
    let checking = tokio::task::spawn_blocking(move || {
        let mut damage = Damaged::default();
        for Located { shard, committed, part } in &parts {
            match check(part, committed) {
                Err(failed) if failed.is_transient => return Err(FinalizeError::of(true, &failed)),
                Err(found) => damage.add(shard.index, committed.hash, || found.to_string()),
                Ok(()) => {}
            }
        }
        damage.none()
    });
    checking.await?
}

/// Damaged parts.
#[derive(Debug, Default)]
struct Damaged {
    parts: Vec<(ShardIndex, PartHash)>,
    reason: String,
}

impl Damaged {
    fn add(&mut self, shard: ShardIndex, hash: PartHash, reason: impl FnOnce() -> String) {
        if self.parts.is_empty() {
            self.reason = reason();
        }
        self.parts.push((shard, hash));
    }

    fn none(self) -> Result<(), FinalizeError> {
        let Self { parts, reason } = self;
        if parts.is_empty() { Ok(()) } else { Err(FinalizeError::Damaged { parts, reason }) }
    }
}

impl Coordinator {
    /// The parts that are not the results of their shards, after they could not be merged for the reason `why`. Where all are
    /// right, that reason is permanent.
    pub(super) async fn wrong_parts(
        &self,
        run_id: &RunId,
        parts: Vec<Located>,
        why: String,
    ) -> FinalizeError {
        let path = match self.corpus_path(run_id) {
            Ok(path) => path,
            Err(refusal) => return refusal.into(),
        };
        let run_id = run_id.clone();
        let inspecting = tokio::task::spawn_blocking(move || {
            let mut damage = Damaged::default();
            let Ok(corpus) = CorpusReader::open(&path) else { return damage };
            for Located { shard, committed, part } in &parts {
                if let Err(Inspected::Refused(found)) = inspect(part, &run_id, *shard, &corpus) {
                    damage.add(shard.index, committed.hash, || format!("{}: {found}", part.name()));
                }
            }
            damage
        });
        match inspecting.await.map(Damaged::none) {
            Ok(Err(damaged)) => damaged,
            Ok(Ok(())) => FinalizeError::Permanent(why),
            Err(error) => error.into(),
        }
    }

    /// Takes damaged parts back and leases their shards again.
    pub(super) async fn reopen(
        self: &Arc<Self>,
        run_id: &RunId,
        parts: Vec<(ShardIndex, PartHash)>,
        reason: String,
    ) -> Result<(), FinalizeError> {
        let times = self.with_run(run_id, |run| {
            run.reopened += 1;
            run.reopened
        });
        if times.is_some_and(|times| times > REOPENED) {
            let reason =
                format!("{reason}; {REOPENED} times before, shards were leased again for such damage");
            return Err(FinalizeError::Permanent(reason));
        }
        tracing::error!(run = %run_id, parts = parts.len(), reason, "committed parts are damaged: leasing their shards again");
        match self.ledger.advance(run_id, RunState::Finishing, RunState::Running, None).await? {
            Swap::Done | Swap::Differs(RunState::Running) => {}
            Swap::Differs(state) => {
                self.deactivate(run_id, state).await;
                return Ok(());
            }
        }
        for (shard, hash) in parts {
            // `Differs`: an earlier try has taken it back.
            self.ledger.reopen(run_id, shard, hash).await?;
        }
        Ok(self.lease_again(run_id).await?)
    }
}
