//! Configurations and proposers of the runs whose shards were granted last.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::config::RunConfig;
use domain::ids::RunId;
use proto::known::KnownRuns;

use proposers::Program;

use crate::gateway_client::LlmClient;

/// Who proposes for a run.
#[derive(Clone)]
pub(super) enum Proposer {
    /// The rules of this program.
    Rules,
    /// An LLM.
    Llm(Box<LlmClient>),
    /// A program of this machine; `None`: it has none of that name.
    Command(Option<Arc<Program>>),
}

/// A run's configuration, and who proposes for it.
pub(super) type Configured = (Arc<RunConfig>, Proposer);

/// Bounded by [`KnownRuns`], so it does not grow with the number of runs. Work in progress holds its own reference.
#[derive(Default)]
pub(super) struct Configs {
    runs: BTreeMap<RunId, Configured>,
    known: KnownRuns,
}

impl Configs {
    /// Keeps the configuration of a run, which is sent before the run's first grant.
    pub(super) fn insert(&mut self, run_id: RunId, configured: Configured) {
        self.granted(&run_id);
        self.runs.insert(run_id, configured);
    }

    /// Marks a run as granted last, and drops the run that this displaces.
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
    fn runs_without_new_grants_are_dropped() {
        let mut configs = Configs::default();
        let run = |number: usize| RunId::new(format!("r{number}")).unwrap();
        let config = Arc::new(RunConfig::default());
        for number in 0..10 * KNOWN_RUNS {
            configs.insert(run(number), (Arc::clone(&config), Proposer::Rules));
            configs.granted(&run(0));
        }
        assert_eq!(configs.runs.len(), KNOWN_RUNS);
        assert_eq!(Arc::strong_count(&config), KNOWN_RUNS + 1);
        assert!(configs.get(&run(0)).is_some(), "its shards are still granted");
        assert!(configs.get(&run(1)).is_none());
    }
}
