//! Status table of runs and workers as text.

use std::fmt::Write as _;

use cli_support::Table;
use cli_support::escape::one_line;
use cli_support::output::Align;
use cli_support::progress::duration;
use proto::convert::{RunStatus, WorkerStatus};

use crate::view::{judge_line, llm_line};

/// What is said where no worker is connected.
pub(crate) const NO_WORKER: &str = "no worker is connected: start one with `worker serve --coordinator URL`";

/// Columns of runs that a narrow terminal does without, the first to go first.
const LEAST_OF_RUNS: [&str; 5] = ["records/s", "leased", "waiting", "shards done", "accepted"];

/// Columns of workers that a narrow terminal does without, the first to go first.
const LEAST_OF_WORKERS: [&str; 4] = ["records/s", "shards", "leased", "slots"];

/// Renders a table of runs, their problems, and a table of workers for a terminal of `width` columns.
pub(crate) fn render(runs: &[RunStatus], workers: &[WorkerStatus], width: Option<u16>) -> String {
    let mut text = self::runs(runs, width);
    text.push('\n');
    if workers.is_empty() {
        let _ = writeln!(text, "{NO_WORKER}");
    } else {
        text.push_str(&workers_table(workers).fitted(width, &LEAST_OF_WORKERS).0.text(width));
    }
    text
}

/// Renders a table of runs and their problems.
pub(crate) fn runs(runs: &[RunStatus], width: Option<u16>) -> String {
    let mut text = String::new();
    if runs.is_empty() {
        text.push_str("no runs yet\n");
    } else {
        text.push_str(&runs_table(runs).fitted(width, &LEAST_OF_RUNS).0.text(width));
    }
    for run in runs {
        if let Some(llm_line) = llm_line::line(run) {
            let _ = writeln!(text, "run {}: {llm_line}", run.run_id);
        }
        for line in judge_line::lines(run).lines() {
            let _ = writeln!(text, "run {}: {line}", run.run_id);
        }
        if let Some(wait) = judge_line::wait(run) {
            let _ = writeln!(text, "run {} waits: {}", run.run_id, one_line(wait));
        }
        if let Some(trouble) = &run.trouble {
            let _ = writeln!(text, "run {}: {}", run.run_id, one_line(trouble));
        }
    }
    text
}

fn runs_table(runs: &[RunStatus]) -> Table {
    let right = Align::Right;
    let mut table = Table::new([
        ("run", Align::Left),
        ("state", Align::Left),
        ("done", right),
        ("records", right),
        ("accepted", right),
        ("shards done", right),
        ("leased", right),
        ("waiting", right),
        ("records/s", right),
        ("left", right),
    ]);
    for run in runs {
        table.push([
            run.run_id.to_string(),
            run.state.as_str().to_owned(),
            share(run.tally.records, run.records),
            run.records.to_string(),
            run.tally.accepted.to_string(),
            format!("{}/{}", run.committed, run.shards),
            run.leased.to_string(),
            waiting(run).to_string(),
            rate(run.records_per_s),
            left(run),
        ]);
    }
    table
}

fn workers_table(workers: &[WorkerStatus]) -> Table {
    let right = Align::Right;
    let mut table = Table::new([
        ("worker", Align::Left),
        ("slots", right),
        ("leased", right),
        ("shards", right),
        ("records", right),
        ("records/s", right),
        ("last seen", right),
        ("", Align::Left),
    ]);
    for worker in workers {
        table.push([
            worker.worker.to_string(),
            worker.slots.to_string(),
            worker.leased.to_string(),
            worker.shards.to_string(),
            worker.records.to_string(),
            rate(worker.records_per_s),
            format!("{} ago", duration(worker.silent.as_secs_f64())),
            remark(worker),
        ]);
    }
    table
}

/// What is to be said about a worker beside its figures.
fn remark(worker: &WorkerStatus) -> String {
    match (&worker.drained_because, worker.draining, worker.refused_parts) {
        (Some(reason), ..) => format!("draining: {reason}"),
        (None, true, _) => "draining".to_owned(),
        (None, false, 0) if worker.leased == 0 => "idle".to_owned(),
        (None, false, 0) => String::new(),
        (None, false, parts) => format!("{parts} refused"),
    }
}

/// Shards that are neither leased nor committed.
pub(crate) fn waiting(run: &RunStatus) -> u32 {
    if run.state.has_ended() {
        0
    } else {
        run.shards.saturating_sub(run.committed).saturating_sub(run.leased)
    }
}

/// Remaining time of a run at its present rate, in seconds; `None` where the rate is not known.
pub(crate) fn seconds_left(run: &RunStatus) -> Option<f64> {
    let open = run.records.saturating_sub(run.tally.records);
    (!run.state.has_ended() && open > 0 && run.records_per_s > 0.0).then(|| open as f64 / run.records_per_s)
}

fn left(run: &RunStatus) -> String {
    seconds_left(run).map_or_else(String::new, duration)
}

fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        String::new()
    } else if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use domain::budget::Usage;
    use domain::ids::{ConfigHash, CorpusHash, RunId, WorkerName};
    use domain::run::RunState;
    use domain::tally::Tally;

    use proto::convert::LlmStatus;

    use super::*;

    pub(crate) fn run(name: &str, state: RunState, done: u64) -> RunStatus {
        RunStatus {
            run_id: RunId::new(name).unwrap(),
            state,
            records: 13_656,
            shard_size: 250,
            shards: 55,
            committed: u32::try_from(done / 250).unwrap(),
            leased: if state == RunState::Running { 3 } else { 0 },
            tally: Tally { records: done, accepted: done * 9 / 10, ..Tally::default() },
            workers: 2,
            created_at_ms: 0,
            results: "results".to_owned(),
            fingerprint: None,
            corpus_hash: CorpusHash::of(b"c"),
            config_hash: ConfigHash::of(b"c"),
            trouble: None,
            records_per_s: if state == RunState::Running { 41.5 } else { 0.0 },
            model: None,
            judge: None,
        }
    }

    pub(crate) fn worker(name: &str, draining: bool) -> WorkerStatus {
        WorkerStatus {
            worker: WorkerName::new(name).unwrap(),
            version: "0.1.0".to_owned(),
            slots: 2,
            leased: 1,
            shards: 12,
            records: 3000,
            records_per_s: 20.75,
            connected: Duration::from_secs(300),
            silent: Duration::from_millis(4200),
            draining,
            refused_parts: 0,
            drained_because: None,
        }
    }

    #[test]
    fn the_view_is_as_approved() {
        let mut stuck = run("stuck", RunState::Running, 0);
        stuck.records_per_s = 0.0;
        stuck.trouble = Some("its corpus cannot be read\nsubmit the run again \u{1b}[2J".to_owned());
        let mut llm_run = run("asks", RunState::Running, 1000);
        llm_run.model = Some(LlmStatus {
            calls: 1200,
            failed: 3,
            throttled: 12,
            reused: 400,
            waiting: 300,
            under_way: 21,
            calls_per_min: 471.4,
            limit_per_min: Some(480.0),
            limit_learnt: true,
            usage: Usage { total: 2_400_000, ..Usage::default() },
            cost_usd: 0.43,
            unpriced: 0,
            paused_until_ms: Some(1_764_000_000_000),
            waits_for: None,
            failures: Vec::new(),
        });
        let runs =
            [llm_run, run("night", RunState::Running, 4000), run("old", RunState::Finished, 13_656), stuck];
        let workers = [worker("alpha", false), worker("beta", true)];
        let view = render(&runs, &workers, Some(110));
        assert!(!view.contains('\u{1b}'));
        insta::assert_snapshot!("live", view);
        insta::assert_snapshot!("live_empty", render(&[], &[], None));
        for width in [60_u16, 80, 120] {
            insta::assert_snapshot!(format!("live_{width}"), render(&runs, &workers, Some(width)));
        }
    }

    #[test]
    fn no_remaining_time_without_a_rate() {
        assert!(seconds_left(&run("r", RunState::Finished, 13_656)).is_none());
        let mut idle = run("r", RunState::Running, 100);
        assert!((seconds_left(&idle).unwrap() - 13_556.0 / 41.5).abs() < 1e-6);
        idle.records_per_s = 0.0;
        assert!(seconds_left(&idle).is_none());
    }
}
