//! The parts of the first page: runs, limits over time, workers, failures.

use cli_support::progress::duration;
use maud::{Markup, html};
use proto::convert::{LlmStatus, RunStatus};

use super::board::Board;
use super::charts::{Line, figure, over_time};
use super::history::{Point, Track};
use super::tables::{Progress, activity, button, shown, spend, state, thousands};

/// Reasons of failed calls that are shown.
const REASONS: usize = 12;

/// Each part by the id of its place in the page.
pub(super) fn sections(board: &Board) -> [(&'static str, String); 4] {
    [
        ("runs", runs(board).into_string()),
        ("limits", limits(board).into_string()),
        ("workers", workers(board).into_string()),
        ("failures", failures(board.runs.iter().map(AsRef::as_ref)).into_string()),
    ]
}

fn runs(board: &Board) -> Markup {
    html! {
        @if board.runs.is_empty() {
            p { "No runs yet: " code { "coordinator submit" } " sends one." }
        } @else {
            table {
                thead { tr {
                    @for head in ["run", "state", "progress", "rate", "left", "accepted", "rejected", "to review", "errors", "spent"] {
                        th scope="col" { (head) }
                    }
                } }
                tbody { @for run in &board.runs { (row(board, run)) } }
            }
            @if board.older > 0 { p { (thousands(board.older as u64)) " older runs are not listed." } }
        }
    }
}

fn row(board: &Board, run: &RunStatus) -> Markup {
    let name = run.run_id.as_str();
    let progress = Progress::of(run, board.tracks.get(&run.run_id));
    let tally = &run.tally;
    html! {
        tr {
            th scope="row" { a href={ "/runs/" (name) } data-key={ "run-" (name) } { (name) } }
            td data-label="state" {
                (state(run))
                @if !run.state.has_ended() { (button(&format!("/runs/{name}/cancel"), "cancel", name)) }
            }
            td data-label="progress" { (progress.bar(run)) }
            td.number data-label="rate" { (progress.rate()) }
            td.number data-label="left" { (progress.left()) }
            @for (label, count) in [
                ("accepted", tally.accepted), ("rejected", tally.rejected), ("to review", tally.needs_review), ("errors", tally.errors),
            ] {
                td.number data-label=(label) { (thousands(count)) }
            }
            td.number data-label="spent" { (spend(run, board.bounds.get(&run.run_id))) }
        }
    }
}

fn limits(board: &Board) -> Markup {
    let asking = board.runs.iter().filter(|run| !run.state.has_ended());
    let asking: Vec<_> = asking.filter_map(|run| Some((run, run.model.as_ref()?))).collect();
    html! {
        @if asking.is_empty() { p { "No active run asks a model." } }
        @for (run, model) in asking {
            div.limits {
                h3 { (run.run_id.as_str()) }
                (limit_charts(model, board.tracks.get(&run.run_id)))
            }
        }
    }
}

/// The charts of a run's limiter.
pub(super) fn limit_charts(model: &LlmStatus, track: Option<&Track>) -> Markup {
    let points = track.map(Track::points).unwrap_or_default();
    let line = |class, of: &dyn Fn(&Point) -> Option<f64>| Line {
        class,
        points: points.iter().map(|point| (point.at_s, of(point))).collect(),
    };
    let limit = match model.limit_per_min {
        None => "limit not known".to_owned(),
        Some(limit) if model.limit_learnt => format!("of about {} (learnt)", figure(limit)),
        Some(limit) => format!("of {}", figure(limit)),
    };
    let refused: u64 = points.iter().map(|point| point.refused).sum();
    html! {
        div.charts {
            (over_time(
                "calls a minute",
                &format!("{} {limit}", figure(model.calls_per_min)),
                &[line("limit", &|point| point.limit), line("calls", &|point| Some(point.calls_per_min))],
            ))
            (over_time("questions waiting", &thousands(model.waiting), &[line("waiting", &|point| Some(point.waiting as f64))]))
            (over_time("calls refused (429)", &thousands(refused), &[line("refused", &|point| Some(point.refused as f64))]))
        }
    }
}

fn workers(board: &Board) -> Markup {
    html! {
        @if board.workers.is_empty() {
            p { "No worker is connected: " code { "worker serve --coordinator URL" } " starts one." }
        } @else {
            table {
                thead { tr {
                    @for head in ["worker", "state", "shards leased", "shards done", "records", "rate", "last message"] {
                        th scope="col" { (head) }
                    }
                } }
                tbody { @for worker in &board.workers {
                    @let name = worker.worker.as_str();
                    tr {
                        th scope="row" { (name) }
                        td data-label="state" {
                            span class={ "state " (activity(worker)) } { (activity(worker)) }
                            @if let Some(why) = &worker.drained_because { p.trouble { (shown(why)) } }
                            @else if worker.refused_parts > 0 { p.wait { (worker.refused_parts) " parts refused" } }
                            @if !worker.draining { (button(&format!("/workers/{name}/drain"), "drain", name)) }
                        }
                        td.number data-label="shards leased" { (worker.leased) ", " (worker.slots) " slots" }
                        td.number data-label="shards done" { (thousands(worker.shards)) }
                        td.number data-label="records" { (thousands(worker.records)) }
                        td.number data-label="rate" {
                            @if worker.records_per_s > 0.0 { (figure(worker.records_per_s)) "/s" }
                        }
                        td.number data-label="last message" { (duration(worker.silent.as_secs_f64())) " ago" }
                    }
                } }
            }
        }
    }
}

/// Calls without an answer, by reason.
pub(super) fn failures<'r>(runs: impl Iterator<Item = &'r RunStatus>) -> Markup {
    let reasons = runs.filter_map(|run| Some((run, run.model.as_ref()?)));
    let mut reasons: Vec<(&RunStatus, &str, u64)> = reasons
        .flat_map(|(run, model)| {
            model.failures.iter().map(move |(reason, count)| (run, reason.as_str(), *count))
        })
        .collect();
    reasons.sort_by_key(|(_, _, calls)| std::cmp::Reverse(*calls));
    html! {
        @if reasons.is_empty() {
            p { "No call of a model failed." }
        } @else {
            table {
                thead { tr { th scope="col" { "run" } th scope="col" { "calls" } th scope="col" { "reason" } } }
                tbody { @for (run, reason, count) in reasons.iter().take(REASONS) {
                    tr {
                        th scope="row" { (run.run_id.as_str()) }
                        td.number data-label="calls" { (thousands(*count)) }
                        td data-label="reason" { (shown(reason)) }
                    }
                } }
            }
            @if reasons.len() > REASONS { p { (reasons.len() - REASONS) " further reasons." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::config::SpendConfig;
    use domain::run::RunState;

    use super::*;
    use crate::view::status_table::tests::{run, worker};

    fn of(board: &Board, id: &str) -> String {
        sections(board).into_iter().find(|(name, _)| *name == id).unwrap().1
    }

    #[test]
    fn an_empty_board_says_what_to_do() {
        let board = Board::default();
        assert!(of(&board, "runs").contains("No runs yet"));
        assert!(of(&board, "workers").contains("No worker is connected"));
        assert!(of(&board, "limits").contains("No active run asks a model"));
        assert!(of(&board, "failures").contains("No call of a model failed"));
    }

    #[test]
    fn runs_show_progress_spend_and_trouble_and_what_comes_from_elsewhere_is_escaped() {
        let mut night = run("night", RunState::Running, 4000);
        night.trouble = Some("<script src=http://x>\u{1b}[2J".to_owned());
        night.model = Some(LlmStatus {
            calls: 9000,
            cost_usd: 0.5,
            failures: vec![("503 <b>later</b>".to_owned(), 7)],
            ..LlmStatus::default()
        });
        let bound = SpendConfig { max_cost_usd: 2.0, max_requests: 10_000, ..SpendConfig::default() };
        let board = Board {
            bounds: [(night.run_id.clone(), bound)].into(),
            runs: vec![Arc::new(night), Arc::new(run("old", RunState::Finished, 13_656))],
            workers: vec![worker("alpha", false), worker("beta", true)],
            ..Board::default()
        };
        let runs = of(&board, "runs");
        for text in
            ["href=\"/runs/night\"", "0.5000 USD of 2.00", "of 10\u{202f}000 calls", "&lt;script", "\\u{1b}"]
        {
            assert!(runs.contains(text), "{text}: {runs}");
        }
        assert!(!runs.contains("<script") && !runs.contains('\u{1b}'), "{runs}");
        assert_eq!(runs.matches("data-action=\"/runs/").count(), 1, "an ended run is not cancelled: {runs}");
        let workers = of(&board, "workers");
        assert!(workers.contains("draining") && workers.contains("4 s ago"), "{workers}");
        assert_eq!(workers.matches("data-action=\"/workers/").count(), 1, "{workers}");
        assert!(of(&board, "failures").contains("503 &lt;b&gt;later&lt;/b&gt;"));
        assert!(of(&board, "limits").contains("limit not known"));
    }
}
