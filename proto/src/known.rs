//! Cache of run configurations on a worker: the least recently granted run is evicted.
//!
//! Both ends of a work stream run the same least-recently-used eviction over the same grants, so the coordinator knows
//! which configurations the worker has. It sends a configuration before the first grant of a run, and again after the run
//! was evicted. The coordinator starts empty with each stream while the worker keeps its cache over streams; the worker
//! therefore has every configuration that the coordinator counts as cached.

use std::collections::VecDeque;

use domain::ids::RunId;

/// Configurations that a worker caches.
pub const KNOWN_RUNS: usize = 64;

/// The most recently granted runs.
#[derive(Debug, Default)]
pub struct KnownRuns {
    /// Most recently granted last.
    order: VecDeque<RunId>,
}

/// Effect of a grant on the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Whether the configuration was cached before.
    pub known: bool,
    /// The run whose configuration is evicted.
    pub forgotten: Option<RunId>,
}

impl KnownRuns {
    /// Records the grant of a shard of a run.
    pub fn granted(&mut self, run_id: &RunId) -> Noted {
        let at = self.order.iter().position(|known| known == run_id);
        if let Some(at) = at {
            self.order.remove(at);
        }
        self.order.push_back(run_id.clone());
        let forgotten = if self.order.len() > KNOWN_RUNS { self.order.pop_front() } else { None };
        Noted { known: at.is_some(), forgotten }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_worker_has_every_configuration_that_its_coordinator_counts_as_cached() {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut coordinator, mut worker) = (KnownRuns::default(), KnownRuns::default());
        let (mut cached, mut sent) = (BTreeSet::new(), 0);
        for _ in 0..20_000 {
            if draw(500) == 0 {
                // A new stream.
                coordinator = KnownRuns::default();
            }
            // The minimum of two draws: some runs are granted often, others rarely.
            let run_id = RunId::new(format!("r{}", draw(200).min(draw(200)))).unwrap();
            if !coordinator.granted(&run_id).known {
                sent += 1;
                cached.insert(run_id.clone());
            }
            if let Some(forgotten) = worker.granted(&run_id).forgotten {
                cached.remove(&forgotten);
            }
            assert!(cached.contains(&run_id), "{run_id} was granted without its configuration");
            assert!(cached.len() <= KNOWN_RUNS, "{} are cached", cached.len());
        }
        assert!(sent > 200, "some configurations were sent again");
    }
}
