//! What happened to a run over its time, in a bounded number of points.

use std::collections::BTreeMap;

use domain::ids::RunId;
use proto::convert::RunStatus;

/// Points of a run at most. When they are full, each two become one.
pub(super) const MOST_POINTS: usize = 240;

/// Runs at most; the one that was seen longest ago is dropped for another.
const MOST_RUNS: usize = 64;

/// Interval between the first points, in seconds.
pub(super) const INTERVAL_S: u64 = 5;

/// A run at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    /// Seconds since the coordinator started.
    pub(super) at_s: u64,
    /// Records that are committed.
    pub(super) records: u64,
    /// Questions that were answered, by calls or from the cache.
    pub(super) answered: u64,
    /// Calls a minute that are believed to be allowed.
    pub(super) limit: Option<f64>,
    /// Calls a minute that were made.
    pub(super) calls_per_min: f64,
    /// Questions that waited.
    pub(super) waiting: u64,
    /// Calls that were refused for the limit (429) since the point before.
    pub(super) refused: u64,
    /// US dollars that were spent.
    pub(super) cost_usd: f64,
}

/// The points of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    points: Vec<Point>,
    interval_s: u64,
    /// Refused calls up to the last point.
    refused: u64,
}

/// The tracks of runs.
#[derive(Debug, Default)]
pub(super) struct History {
    tracks: BTreeMap<RunId, Track>,
}

impl History {
    /// Notes where active runs are.
    pub(super) fn note<'r>(&mut self, at_s: u64, runs: impl IntoIterator<Item = &'r RunStatus>) {
        for run in runs.into_iter().filter(|run| !run.state.has_ended()) {
            if !self.tracks.contains_key(&run.run_id) && self.tracks.len() >= MOST_RUNS {
                let oldest = self.tracks.iter().min_by_key(|(_, track)| track.last_s());
                let oldest = oldest.map(|(run_id, _)| run_id.clone());
                oldest.and_then(|run_id| self.tracks.remove(&run_id));
            }
            self.tracks.entry(run.run_id.clone()).or_default().note(at_s, run);
        }
    }

    /// The track of a run, where this process has seen it active.
    pub(super) fn of(&self, run_id: &RunId) -> Option<Track> {
        self.tracks.get(run_id).cloned()
    }
}

impl Track {
    fn last_s(&self) -> u64 {
        self.points.last().map_or(0, |point| point.at_s)
    }

    fn note(&mut self, at_s: u64, run: &RunStatus) {
        self.interval_s = self.interval_s.max(INTERVAL_S);
        if !self.points.is_empty() && at_s < self.last_s() + self.interval_s {
            return;
        }
        let model = run.model.clone().unwrap_or_default();
        let refused = model.throttled.saturating_sub(self.refused);
        // Of calls before this process began nothing is known.
        let refused = if self.points.is_empty() { 0 } else { refused };
        self.refused = model.throttled;
        self.points.push(Point {
            at_s,
            records: run.tally.records,
            answered: answered(run),
            limit: model.limit_per_min,
            calls_per_min: model.calls_per_min,
            waiting: model.waiting,
            refused,
            cost_usd: model.cost_usd,
        });
        if self.points.len() >= MOST_POINTS {
            self.thin_out();
        }
    }

    /// Makes one point of each two: the later one, with the refused calls of both.
    fn thin_out(&mut self) {
        let pairs = self.points.chunks(2).filter_map(|pair| {
            let refused = pair.iter().map(|point| point.refused).sum();
            pair.last().map(|last| Point { refused, ..*last })
        });
        self.points = pairs.collect();
        self.interval_s *= 2;
    }

    /// The points, the oldest first.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// How fast `of` grew over the last minute or so, a second; `None` where that is not known.
    pub(super) fn rate(&self, of: impl Fn(&Point) -> u64) -> Option<f64> {
        let last = self.points.last()?;
        let before =
            self.points.iter().rev().find(|point| last.at_s >= point.at_s + 60).or(self.points.first())?;
        let seconds = last.at_s.saturating_sub(before.at_s);
        (seconds > 0).then(|| of(last).saturating_sub(of(before)) as f64 / seconds as f64)
    }
}

/// Questions of a run that were answered, by calls or from the cache.
pub(super) fn answered(run: &RunStatus) -> u64 {
    run.model.as_ref().map_or(0, |model| {
        model.calls.saturating_sub(model.failed).saturating_sub(model.throttled).saturating_add(model.reused)
    })
}

#[cfg(test)]
mod tests {
    use domain::run::RunState;
    use proto::convert::LlmStatus;

    use super::*;
    use crate::view::status_table::tests::run;

    fn at(records: u64, throttled: u64) -> RunStatus {
        let model = LlmStatus { calls: 2 * records, throttled, ..LlmStatus::default() };
        RunStatus { model: Some(model), ..run("r", RunState::Running, records) }
    }

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_points_and_loses_no_refused_call() {
        let mut history = History::default();
        for second in 0..100_000 {
            history.note(second, [&at(second, second / 10)]);
        }
        let track = history.of(&RunId::new("r").unwrap()).unwrap();
        assert!((MOST_POINTS / 2..MOST_POINTS).contains(&track.points().len()), "{}", track.points().len());
        let last = track.points().last().unwrap();
        let refused: u64 = track.points().iter().map(|point| point.refused).sum();
        assert_eq!(refused, last.at_s / 10, "all of them, up to the last point");
        assert!(track.points().is_sorted_by_key(|point| point.at_s));
        let rate = track.rate(|point| point.records).unwrap();
        assert!((rate - 1.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn the_number_of_runs_is_bounded_and_ended_ones_are_not_followed() {
        let mut history = History::default();
        for number in 0..200_u64 {
            history.note(number, [&run(&format!("r{number}"), RunState::Running, 1)]);
        }
        assert_eq!(history.tracks.len(), MOST_RUNS);
        assert!(history.of(&RunId::new("r199").unwrap()).is_some());
        assert!(history.of(&RunId::new("r0").unwrap()).is_none());
        history.note(300, [&run("late", RunState::Finished, 1)]);
        assert!(history.of(&RunId::new("late").unwrap()).is_none());
    }

    #[test]
    fn a_rate_needs_two_points() {
        let mut history = History::default();
        let rate =
            |history: &History| history.of(&RunId::new("r").unwrap()).unwrap().rate(|point| point.answered);
        history.note(0, [&at(0, 0)]);
        assert_eq!(rate(&history), None);
        history.note(3, [&at(100, 0)]);
        assert_eq!(rate(&history), None, "within the interval");
        history.note(10, [&at(10, 0)]);
        assert_eq!(rate(&history), Some(2.0), "calls that were answered");
    }
}
