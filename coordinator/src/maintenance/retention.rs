//! Retention rules: which runs to prune. No I/O.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::ids::RunId;
use domain::run::RunState;
use proto::convert::StoredRun;

/// Which runs to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Only runs that were submitted longer ago than this.
    pub(crate) older_than: Option<Duration>,
    /// Keep so many of the newest.
    pub(crate) keep: usize,
    /// Only runs in these states; empty: every state of an ended run.
    pub(crate) states: BTreeSet<&'static str>,
}

/// The runs to remove, oldest first. An active run is never among them.
pub(crate) fn select(runs: &[StoredRun], rules: &Rules, now_ms: u64) -> Vec<RunId> {
    let mut ended: Vec<&StoredRun> = runs.iter().filter(|run| run.state.has_ended()).collect();
    ended.retain(|run| rules.states.is_empty() || rules.states.contains(run.state.as_str()));
    ended.sort_by_key(|run| (std::cmp::Reverse(run.created_at_ms), run.run_id.clone()));
    let old = |run: &StoredRun| {
        let age = Duration::from_millis(now_ms.saturating_sub(run.created_at_ms));
        rules.older_than.is_none_or(|limit| age > limit)
    };
    let mut selected: Vec<RunId> = ended
        .iter()
        .enumerate()
        // An interrupted removal is completed whatever the rules.
        .filter(|(newer, run)| run.state == RunState::Removing || (*newer >= rules.keep && old(run)))
        .map(|(_, run)| run.run_id.clone())
        .collect();
    selected.reverse();
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;

    fn stored(name: &str, state: RunState, age_days: u64) -> StoredRun {
        StoredRun {
            run_id: RunId::new(name).unwrap(),
            state,
            records: 1,
            created_at_ms: (100 - age_days) * DAY_MS,
            bytes: 1,
            results: String::new(),
        }
    }

    fn names(rules: &Rules) -> Vec<String> {
        let runs = [
            stored("ancient", RunState::Finished, 90),
            stored("lives", RunState::Running, 80),
            stored("ends", RunState::Finishing, 70),
            stored("dropped", RunState::Cancelled, 40),
            stored("half", RunState::Removing, 2),
            stored("fresh", RunState::Finished, 1),
        ];
        select(&runs, rules, 100 * DAY_MS).into_iter().map(String::from).collect()
    }

    #[test]
    fn rules_combine_and_active_runs_stay() {
        assert_eq!(names(&Rules::default()), ["ancient", "dropped", "half", "fresh"]);
        let old = Rules { older_than: Some(Duration::from_secs(30 * 24 * 3600)), ..Rules::default() };
        assert_eq!(names(&old), ["ancient", "dropped", "half"]);
        assert_eq!(names(&Rules { keep: 3, ..Rules::default() }), ["ancient", "half"]);
        let finished = Rules { states: ["finished"].into(), ..Rules::default() };
        assert_eq!(names(&finished), ["ancient", "fresh"]);
        assert_eq!(names(&Rules { states: ["running"].into(), ..Rules::default() }), [] as [&str; 0]);
    }
}
