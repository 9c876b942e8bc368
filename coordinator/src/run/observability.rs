//! Metrics and health of the coordinator.

use std::collections::BTreeMap;

use domain::config::SpendConfig;
use domain::ids::RunId;

use super::Coordinator;
use crate::metrics::Depths;

impl Coordinator {
    /// All metrics as text for Prometheus.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(self.depths())
    }

    /// The reason why the coordinator is unhealthy, if it is.
    pub fn health(&self) -> Result<(), String> {
        match self.metrics.ledger_trouble() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    /// What each run that has not ended may spend.
    pub(crate) fn spend_bounds(&self) -> BTreeMap<RunId, SpendConfig> {
        let scheduler = self.scheduler();
        scheduler.active.iter().map(|(run_id, run)| (run_id.clone(), run.plan.config.spend)).collect()
    }

    fn depths(&self) -> Depths {
        let uploads = self.uploads.under_way() as u64;
        let scheduler = self.scheduler();
        let mut depths = Depths { uploads, workers: scheduler.workers.count().into(), ..Depths::default() };
        for run in scheduler.active.values() {
            let (shards, done) = (run.leases.shards(), run.leases.committed());
            let leased = run.leases.leased();
            depths.runs += 1;
            depths.troubled += u64::from(run.trouble.is_some());
            depths.leased += u64::from(leased);
            depths.waiting += u64::from(shards.saturating_sub(done).saturating_sub(leased));
        }
        depths
    }
}
