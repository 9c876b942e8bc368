//! The scanners that judge the repairs of a run: one version of each for all of its shards, recorded before the first of them
//! is leased.

use domain::ids::RunId;
use domain::scanner::ScannerVersions;
use proto::status::ApiError;

use super::servers::judged_run;
use crate::run::Coordinator;
use crate::scheduler::state::{ActiveRun, SchedulerState};

impl Coordinator {
    /// Reads which versions judge a run, unless that is known.
    pub(crate) async fn recall_scanners(&self, run_id: &RunId) {
        let unknown = self.with_run(run_id, |run| {
            run.scanners.as_ref().filter(|scanners| !scanners.recorded).map(|_| judged_run(run))
        });
        let Some(Some(run)) = unknown else { return };
        match self.with_verdicts(move |store| store.scanners_of(&run)).await {
            Ok(Some(versions)) => self.scanned_by(run_id, versions),
            Ok(None) => {}
            Err(error) => tracing::warn!(run = %run_id, %error, "cannot read which scanners judge a run"),
        }
    }

    /// Records the versions that a run's first lease chose; returns whether the run is judged by those.
    pub(crate) async fn settle_scanners(&self, run_id: &RunId) -> Result<bool, ApiError> {
        let chosen = self.with_run(run_id, |run| {
            let scanners = run.scanners.as_ref().filter(|scanners| !scanners.recorded)?;
            Some((judged_run(run), scanners.versions.clone()?))
        });
        let Some(Some((run, versions))) = chosen else { return Ok(true) };
        let wanted = versions.clone();
        let recorded = self.with_verdicts(move |store| store.settle_scanners(&run, &wanted)).await?;
        let same = recorded == versions;
        tracing::info!(run = %run_id, scanners = %recorded, "scanners judge the repairs of a run");
        self.scanned_by(run_id, recorded);
        Ok(same)
    }

    fn scanned_by(&self, run_id: &RunId, versions: ScannerVersions) {
        self.with_run(run_id, |run| {
            if let Some(scanners) = &mut run.scanners {
                scanners.versions = Some(versions);
                scanners.recorded = true;
            }
        });
    }
}

/// Why no worker can be leased a shard of a run with scanners; `None` where one can.
pub(crate) fn scanners_wait_for(scheduler: &SchedulerState, run: &ActiveRun) -> Option<String> {
    let wanted = run.scanners.as_ref()?;
    let mut workers = scheduler.workers.connected.values();
    if workers.any(|worker| run.admits_scanners(&worker.abilities.scanners)) {
        return None;
    }
    Some(match &wanted.versions {
        None => format!("no worker can start {}: give one --scanners with them", wanted.names()),
        Some(versions) => {
            format!("no worker can start {versions}, which judged the first repairs of the run")
        }
    })
}
