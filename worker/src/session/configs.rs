//! Configurations of runs and what asks their models, as long as shards of these runs come.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RunId;
use proto::known::KnownRuns;

use crate::gateway_client::LlmClient;

/// A run's configuration, and what asks its model, if one is asked.
pub(super) type Configured = (Arc<RunConfig>, Option<LlmClient>);

/// What is kept of runs: of those whose shards came last. Work that has begun holds its own.
#[derive(Default)]
pub(super) struct Configs {
    runs: BTreeMap<RunId, Configured>,
    known: KnownRuns,
}

impl Configs {
    /// The configuration of a run came; its grant follows.
    pub(super) fn insert(&mut self, run_id: RunId, configured: Configured) {
        self.granted(&run_id);
        self.runs.insert(run_id, configured);
    }

    /// A shard of a run was granted.
    pub(super) fn granted(&mut self, run_id: &RunId) {
        if let Some(forgotten) = self.known.granted(run_id).forgotten {
            self.runs.remove(&forgotten);
        }
    }

    pub(super) fn get(&self, run_id: &RunId) -> Option<&Configured> {
        self.runs.get(run_id)
    }
}

#[cfg(test)]
mod tests {
    use proto::known::KNOWN_RUNS;

    use super::*;

    #[test]
    fn runs_whose_shards_come_no_more_are_dropped() {
        let mut configs = Configs::default();
        let run = |number: usize| RunId::new(format!("r{number}")).unwrap();
        let config = Arc::new(RunConfig::default());
        for number in 0..10 * KNOWN_RUNS {
            configs.insert(run(number), (Arc::clone(&config), None));
            configs.granted(&run(0));
        }
        assert_eq!(configs.runs.len(), KNOWN_RUNS);
        assert_eq!(Arc::strong_count(&config), KNOWN_RUNS + 1);
        assert!(configs.get(&run(0)).is_some(), "its shards still come");
        assert!(configs.get(&run(1)).is_none());
    }
}
