//! Where runs stand, and stopping them.

use std::sync::Arc;

use domain::ids::RunId;
use domain::run::RunState;
use proto::convert::{ModelStatus, RunStatus};
use proto::status::{Reason, Refusal};

use super::{Live, Runs, ledger_refusal, unknown_run};
use crate::finish::totals;
use crate::ledger::{RunEntry, Swap, Totals};

impl Runs {
    /// Where one run stands.
    pub async fn status(&self, run_id: &RunId) -> Result<RunStatus, Refusal> {
        if let Some(status) = self.live_status(run_id) {
            return Ok(status);
        }
        let entry = self.ledger.run(run_id).await.map_err(|error| ledger_refusal(&error))?;
        self.ended_status(entry.ok_or_else(|| unknown_run(run_id))?).await
    }

    /// Every run, oldest first.
    pub async fn list(&self) -> Result<Vec<RunStatus>, Refusal> {
        let mut list = Vec::new();
        for entry in self.ledger.runs().await.map_err(|error| ledger_refusal(&error))? {
            list.push(match self.live_status(&entry.plan.run_id) {
                Some(status) => status,
                None => self.ended_status(entry).await?,
            });
        }
        Ok(list)
    }

    /// Stops a run. What was committed stays; a run that has ended stays as it is.
    pub async fn cancel(self: &Arc<Self>, run_id: &RunId) -> Result<RunStatus, Refusal> {
        let swap = self.ledger.advance(run_id, RunState::Running, RunState::Cancelled, None).await;
        match swap.map_err(|error| ledger_refusal(&error))? {
            Swap::Done => {
                let live = self.book().end(run_id);
                if let Some(live) = live {
                    self.record_cancelled(&live).await;
                }
                self.tell(true);
                self.status(run_id).await
            }
            Swap::Differs(RunState::Cancelled) => self.status(run_id).await,
            Swap::Differs(state) => Err(Refusal::new(
                Reason::RunEnded,
                format!("run {run_id} is {}: only a running one can be cancelled", state.as_str()),
            )),
        }
    }

    fn live_status(&self, run_id: &RunId) -> Option<RunStatus> {
        let now = self.now();
        let mut book = self.book();
        book.expire(now);
        let workers = u32::try_from(book.workers.len()).unwrap_or(u32::MAX);
        let live = book.live.get_mut(run_id)?;
        Some(RunStatus {
            run_id: run_id.clone(),
            state: live.state,
            records: live.plan.records,
            shard_size: live.plan.shard_size,
            shards: live.leases.shards(),
            committed: live.leases.committed(),
            leased: live.leases.leased(),
            tally: live.tally.clone(),
            workers,
            created_at_ms: live.created_at_ms,
            results: self.results(run_id),
            fingerprint: None,
            corpus_hash: live.plan.corpus_hash,
            config_hash: live.plan.config_hash,
            trouble: live.trouble.clone().or_else(|| live.halted.clone()).or_else(|| live.stalled.clone()),
            records_per_s: live.rate.per_second(now),
            model: self.board.of(run_id).or_else(|| live.terms.as_ref().map(|_| ModelStatus::default())),
        })
    }

    async fn ended_status(&self, entry: RunEntry) -> Result<RunStatus, Refusal> {
        let run_id = entry.plan.run_id.clone();
        let Totals { tally, committed } = match entry.totals {
            Some(totals) => totals,
            None => self.count(&run_id).await?,
        };
        let model = self.board.total(&run_id).await;
        Ok(RunStatus {
            state: entry.state,
            records: entry.plan.records,
            shard_size: entry.plan.shard_size,
            // A finished run has committed all there were; of a cancelled one nobody counts any more.
            shards: entry.plan.cut().shards().max(committed),
            committed,
            leased: 0,
            tally,
            workers: u32::try_from(self.book().workers.len()).unwrap_or(u32::MAX),
            created_at_ms: entry.created_at_ms,
            results: self.results(&run_id),
            fingerprint: entry.fingerprint,
            corpus_hash: entry.plan.corpus_hash,
            config_hash: entry.plan.config_hash,
            trouble: None,
            records_per_s: 0.0,
            model,
            run_id,
        })
    }

    /// What an ended run came to, counted from its shards. Stored, so that it is counted once: of a run that ended with
    /// a process that did not come to that, or before totals were stored.
    async fn count(&self, run_id: &RunId) -> Result<Totals, Refusal> {
        let totals = totals(&self.shards(run_id).await.map_err(|error| ledger_refusal(&error))?);
        if let Err(error) = self.ledger.record_totals(run_id, totals.clone()).await {
            tracing::warn!(run = %run_id, %error, "cannot store what a run came to");
        }
        Ok(totals)
    }

    fn results(&self, run_id: &RunId) -> String {
        self.folder(run_id).map_or_else(|_| run_id.to_string(), |folder| folder.location().to_owned())
    }

    /// Changes a live run; gives what the change gives.
    pub(crate) fn with_live<T>(&self, run_id: &RunId, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.book().live.get_mut(run_id).map(change)
    }
}
