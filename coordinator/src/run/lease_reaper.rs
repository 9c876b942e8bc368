//! Background task: expires leases and commits error outcomes for poison records.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;

use domain::config::RunConfig;
use domain::ids::{PartHash, RunId, WorkerName};
use domain::outcome::{ErrorKind, Fault, Gates, ModelUsage, Outcome, Status, Timing};
use domain::record::Record;
use domain::run::Lease;
use domain::tally::Tally;
use proto::convert::{LeaseKey, PartHeader};
use proto::status::{ApiError, ErrorReason};
use results::part::write_part;

use super::Coordinator;
use super::commit::Sender;
use super::lease_service::Granted;
use crate::refusals::storage_failed;

/// Longest interval between two checks. No lease is shorter, so a lease that is granted between two checks is checked
/// in time. Also the delay before a retry.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Worker name of leases that the coordinator holds itself.
const COORDINATOR: &str = "coordinator";

impl Coordinator {
    /// Expires leases and handles poison records; never returns.
    pub async fn reap_leases(self: &Arc<Self>) {
        loop {
            let (expired, deadline) = {
                let mut scheduler = self.scheduler();
                (self.expire_leases(&mut scheduler, self.now()), scheduler.next_deadline())
            };
            if expired {
                self.work.notify_waiters();
                self.notify_watchers(false);
                continue;
            }
            match self.handle_poison().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = %error, "cannot commit the outcome of a poison record; trying again");
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
            }
            // One millisecond later than the deadline, so that the clock has passed it.
            let wait = deadline.map(|deadline| Duration::from_millis(deadline.since(self.now()) + 1));
            let wait = wait.map_or(CHECK_INTERVAL, |wait| wait.min(CHECK_INTERVAL));
            let _ = tokio::time::timeout(wait, self.reaper_wake.notified()).await;
        }
    }

    /// Commits the dead letter of a poison record; returns whether there was one.
    async fn handle_poison(self: &Arc<Self>) -> Result<bool, ApiError> {
        let name = WorkerName::new(COORDINATOR);
        let name = Arc::new(name.map_err(|error| ApiError::new(ErrorReason::Internal, error.to_string()))?);
        let pending = self.scheduler().lease_poison(self.now(), &name);
        let Some(pending) = pending else { return Ok(false) };
        let Some(granted) = self.record(pending).await? else { return Ok(true) };
        let key = LeaseKey::from(&granted.lease);
        let committed = self.commit_dead_letter(granted).await;
        if committed.is_err() {
            // The record stays poison, and this is tried again.
            self.release_leases(&[key], false);
        }
        committed.map(|()| true)
    }

    async fn commit_dead_letter(self: &Arc<Self>, granted: Granted) -> Result<(), ApiError> {
        let Granted { lease, corpus, .. } = granted;
        // The index of a shard is the position of its first record.
        let (start, len) = (lease.shard.index.0.into(), lease.shard.len.into());
        let read = tokio::task::spawn_blocking(move || corpus.slice(start, len));
        let slice =
            read.await.map_err(|error| storage_failed(&error))?.map_err(|error| storage_failed(&error))?;
        let Some(config) = self.with_run(&lease.run_id, |run| run.plan.config.clone()) else {
            // The run was cancelled meanwhile.
            return Ok(());
        };
        let rows: Vec<Outcome> =
            slice.records.iter().map(|record| dead_letter_outcome(record, &lease, &config)).collect();
        for row in &rows {
            tracing::error!(run = %lease.run_id, shard = %lease.shard.index, record = %row.record_id, attempts = row.attempt, "a record's workers were lost: committed it as a dead letter");
        }
        let bytes = encode(&lease.run_id, &rows)?;
        let header = PartHeader {
            key: LeaseKey::from(&lease),
            worker: lease.worker,
            bytes: bytes.len() as u64,
            hash: PartHash::of(&bytes),
            tally: Tally::of(&rows),
        };
        self.commit(header, stream::iter([Ok(bytes)]), Sender::ThisProcess).await.map(drop)
    }
}

fn encode(run_id: &RunId, rows: &[Outcome]) -> Result<bytes::Bytes, ApiError> {
    write_part(run_id, rows).map_err(|error| storage_failed(&error))
}

/// The outcome of a poison record. Values that vary between runs are only in columns that the fingerprint does not cover.
pub(crate) fn dead_letter_outcome(record: &Record, lease: &Lease, config: &RunConfig) -> Outcome {
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
        schema_depth: Some(config.verifier.depth),
        server: None,
        published: None,
        tool_rescans: std::collections::BTreeMap::new(),
    }
}
