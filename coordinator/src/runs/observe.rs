//! What the coordinator shows of itself to those who watch over machines.

use super::Runs;
use crate::metrics::Depths;

impl Runs {
    /// Everything that is counted, as text for Prometheus.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(self.depths())
    }

    /// What is wrong with this coordinator as a whole, if anything is.
    pub fn health(&self) -> Result<(), String> {
        match self.metrics.ledger_trouble() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    fn depths(&self) -> Depths {
        let uploads = self.uploads.under_way() as u64;
        let book = self.book();
        let mut depths = Depths { uploads, workers: book.workers.len() as u64, ..Depths::default() };
        for live in book.live.values() {
            let (shards, done) = (live.leases.shards(), live.leases.committed());
            let leased = live.leases.leased();
            depths.runs += 1;
            depths.troubled += u64::from(live.trouble.is_some());
            depths.leased += u64::from(leased);
            depths.waiting += u64::from(shards.saturating_sub(done).saturating_sub(leased));
        }
        depths
    }
}
