//! Which runs' configurations a worker keeps: those that it was granted shards of last.
//!
//! Both ends of a work stream count the grants in the same way. The coordinator sends a configuration before the first grant
//! of a run, and again after other runs pushed it out. A worker has seen all that its stream carried, and perhaps more on
//! streams before: what the coordinator counts as kept, it keeps.

use std::collections::VecDeque;

use domain::ids::RunId;

/// How many.
pub const KNOWN_RUNS: usize = 64;

/// The runs that were granted last.
#[derive(Debug, Default)]
pub struct KnownRuns {
    /// Last used at the end.
    order: VecDeque<RunId>,
}

/// What a grant changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Whether the run was known before.
    pub known: bool,
    /// The run that is not known any more.
    pub forgotten: Option<RunId>,
}

impl KnownRuns {
    /// A shard of a run is granted.
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
    fn a_worker_keeps_what_its_coordinator_counts_on_and_no_more() {
        let mut dice = 1_u64;
        let mut draw = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        let (mut coordinator, mut worker) = (KnownRuns::default(), KnownRuns::default());
        let (mut kept, mut sent) = (BTreeSet::new(), 0);
        for _ in 0..20_000 {
            if draw(500) == 0 {
                // A new stream.
                coordinator = KnownRuns::default();
            }
            // Some runs are granted often, others seldom.
            let run_id = RunId::new(format!("r{}", draw(200).min(draw(200)))).unwrap();
            if !coordinator.granted(&run_id).known {
                sent += 1;
                kept.insert(run_id.clone());
            }
            if let Some(forgotten) = worker.granted(&run_id).forgotten {
                kept.remove(&forgotten);
            }
            assert!(kept.contains(&run_id), "{run_id} was granted without its configuration");
            assert!(kept.len() <= KNOWN_RUNS, "{} are kept", kept.len());
        }
        assert!(sent > 200, "some were sent again");
    }
}
