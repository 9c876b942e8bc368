//! What a coordinator does without being asked: leases that ran out end, records that were given up get their outcome.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;

use dataset::part::write_part;
use domain::config::RunConfig;
use domain::ids::{PartHash, RunId, WorkerName};
use domain::outcome::{ErrorKind, Fault, Gates, ModelUsage, Outcome, Status, Timing};
use domain::record::Record;
use domain::run::Lease;
use domain::tally::Tally;
use proto::convert::{LeaseKey, PartHeader};
use proto::status::{Reason, Refusal};

use super::grant::Granted;
use super::{Runs, storage_failed};

/// Longest time between two looks: no lease is shorter, so none that is granted meanwhile ends unseen. Also between two
/// tries of what failed.
const LONGEST: Duration = Duration::from_secs(1);

/// The name under which the coordinator itself leases.
const COORDINATOR: &str = "coordinator";

impl Runs {
    /// Keeps the leases for as long as it is polled.
    pub async fn keep(self: &Arc<Self>) {
        loop {
            let (expired, deadline) = {
                let mut book = self.book();
                (book.expire(self.now()), book.next_deadline())
            };
            if expired {
                self.work.notify_waiters();
                self.tell(false);
                continue;
            }
            match self.give_up().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(refusal) => {
                    tracing::error!(error = %refusal, "cannot give a record up; trying again");
                    tokio::time::sleep(LONGEST).await;
                }
            }
            // One more, so that the clock has passed the deadline.
            let wait = deadline.map(|deadline| Duration::from_millis(deadline.since(self.now()) + 1));
            let wait = wait.map_or(LONGEST, |wait| wait.min(LONGEST));
            let _ = tokio::time::timeout(wait, self.keeping.notified()).await;
        }
    }

    /// Commits the outcome of a record that was given up; says whether there was one.
    async fn give_up(self: &Arc<Self>) -> Result<bool, Refusal> {
        let name = WorkerName::new(COORDINATOR);
        let name = Arc::new(name.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?);
        let tentative = self.book().give_up(self.now(), &name);
        let Some(tentative) = tentative else { return Ok(false) };
        let Some(granted) = self.record(tentative).await? else { return Ok(true) };
        let key = LeaseKey::from(&granted.lease);
        let committed = self.commit_lost(granted).await;
        if committed.is_err() {
            // It is condemned as before, and tried again.
            self.hand_back(&[key], false);
        }
        committed.map(|()| true)
    }

    async fn commit_lost(self: &Arc<Self>, granted: Granted) -> Result<(), Refusal> {
        let Granted { lease, corpus, .. } = granted;
        let (start, len) = (lease.shard.index.0.into(), lease.shard.len.into());
        let read = tokio::task::spawn_blocking(move || corpus.slice(start, len));
        let slice =
            read.await.map_err(|error| storage_failed(&error))?.map_err(|error| storage_failed(&error))?;
        let Some(config) = self.with_live(&lease.run_id, |live| live.plan.config.clone()) else {
            // Cancelled meanwhile.
            return Ok(());
        };
        let rows: Vec<Outcome> = slice.records.iter().map(|record| lost(record, &lease, &config)).collect();
        for row in &rows {
            tracing::error!(run = %lease.run_id, shard = %lease.shard.index, record = %row.record_id, attempts = row.attempt, "gave a record up: its workers were lost");
        }
        let bytes = write(&lease.run_id, &rows)?;
        let header = PartHeader {
            key: LeaseKey::from(&lease),
            worker: lease.worker,
            bytes: bytes.len() as u64,
            hash: PartHash::of(&bytes),
            tally: Tally::of(&rows),
        };
        self.commit(header, stream::iter([Ok(bytes)])).await.map(drop)
    }
}

fn write(run_id: &RunId, rows: &[Outcome]) -> Result<bytes::Bytes, Refusal> {
    write_part(run_id, rows).map_err(|error| storage_failed(&error))
}

/// The outcome of a record whose workers were lost. What varies between runs stands in columns that no fingerprint reads.
pub(crate) fn lost(record: &Record, lease: &Lease, config: &RunConfig) -> Outcome {
    let reason = "worker after worker was lost while it worked on this record alone; look for what ends a worker: \
                  memory, a crash, a limit of its container";
    Outcome {
        record_id: record.id.clone(),
        position: record.position,
        shard: lease.shard.index,
        manifest_path: record.manifest_path.clone(),
        document: record.problem.is_none().then_some(record.document),
        kind: String::new(),
        namespace: String::new(),
        name: String::new(),
        policy_id: record.policy().as_str().to_owned(),
        raw_policy_id: record.raw_policy_id.clone(),
        source: "rules".to_owned(),
        mode: "rules".to_owned(),
        model: None,
        guardrails: config.guardrails.as_str().to_owned(),
        proposal: None,
        attempts: 0,
        attempt_errors: Vec::new(),
        status: Status::Error,
        gates: Arc::new(Gates::NOT_RUN),
        fault: Fault::Environment,
        new_violations: Vec::new(),
        errors: vec![reason.to_owned()],
        patched_yaml: None,
        usage: ModelUsage::default(),
        timing: Timing::default(),
        worker: lease.worker.to_string(),
        attempt: lease.attempt,
        error_kind: Some(ErrorKind::WorkerLost),
        published: None,
    }
}
