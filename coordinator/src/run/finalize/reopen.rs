//! Damaged parts: found before they are merged, then taken back, so that their shards are leased again.
//!
//! *Invariant*: the run is *running* before the first part is taken back. A process that is killed in between leaves a run that
//! finds the rest of the damage again.

use std::sync::Arc;

use domain::ids::{PartHash, RunId, ShardIndex};
use domain::run::RunState;
use results::corpus_copy::CorpusReader;
use results::store::Store;

use super::committed::{Damage, Located};
use super::error::FinalizeError;
use crate::ledger::Swap;
use crate::run::Coordinator;
use crate::run::part_check::{Inspected, inspect};

/// How often the shards of damaged parts of a run are leased again. On a disk that damages every part, the run fails after
/// that instead of repeating its work without end.
const REOPENED: u32 = 3;

impl Coordinator {
    /// The parts that are not the results of their shards, after they could not be merged for the reason `why`. Where all are
    /// right, that reason is permanent.
    pub(super) async fn wrong_parts(
        &self,
        run_id: &RunId,
        folder: &Store,
        parts: &[Located],
        why: String,
    ) -> FinalizeError {
        let path = match self.local_corpus(run_id).await {
            Ok(path) => path,
            Err(refusal) => return refusal.into(),
        };
        let opening = tokio::task::spawn_blocking(move || CorpusReader::open(&path).map(Arc::new));
        let corpus = match opening.await {
            Ok(Ok(corpus)) => corpus,
            Ok(Err(_)) => return FinalizeError::Permanent(why),
            Err(error) => return error.into(),
        };
        let mut damage = Damage::default();
        for located in parts {
            let part = match located.found(folder).await {
                Ok(part) => part,
                Err(error) => return error.into(),
            };
            let (run_id, corpus, shard) = (run_id.clone(), Arc::clone(&corpus), located.shard);
            let inspecting = tokio::task::spawn_blocking(move || {
                let found = inspect(&part, &run_id, shard, &corpus);
                (part.name(), found)
            });
            match inspecting.await {
                Ok((name, Err(Inspected::Refused(found)))) => {
                    damage.add(shard.index, located.hash, || format!("{name}: {found}"));
                }
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
        match damage.none() {
            Err(damaged) => damaged,
            Ok(()) => FinalizeError::Permanent(why),
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
