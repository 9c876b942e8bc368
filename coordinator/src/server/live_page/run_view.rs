//! The page of one run: it fills as parts are committed.

use domain::outcome::Status;
use maud::{Markup, html};
use proto::convert::RunStatus;

use super::board::Board;
use super::charts::{Line, over_time, shares};
use super::history::{Point, Track};
use super::overview::{failures, limit_charts};
use super::tables::{Progress, button, shown, spend, state, thousands};
use crate::clock::rfc3339;
use crate::view::llm_line::usd;

/// Reasons that are shown for each status.
const REASONS: usize = 10;

/// Each part by the id of its place in the page.
pub(super) fn sections(board: &Board, run: &RunStatus) -> [(&'static str, String); 4] {
    let track = board.tracks.get(&run.run_id);
    [
        ("facts", facts(board, run).into_string()),
        ("outcomes", outcomes(run).into_string()),
        ("course", course(run, track).into_string()),
        ("failures", failures(std::iter::once(run)).into_string()),
    ]
}

fn facts(board: &Board, run: &RunStatus) -> Markup {
    let name = run.run_id.as_str();
    let progress = Progress::of(run, board.tracks.get(&run.run_id));
    html! {
        dl {
            dt { "state" } dd {
                (state(run))
                @if !run.state.has_ended() { (button(&format!("/runs/{name}/cancel"), "cancel", name)) }
            }
            dt { "progress" } dd { (progress.bar(run)) }
            @if progress.per_s > 0.0 { dt { "rate" } dd { (progress.rate()) " " (progress.left()) } }
            dt { "shards" } dd {
                (thousands(run.committed.into())) " of " (thousands(run.shards.into())) " committed, " (run.leased) " leased"
            }
            @if run.model.is_some() { dt { "spent" } dd { (spend(run, board.bounds.get(&run.run_id))) } }
            @if let Some(model) = &run.model {
                dt { "calls" } dd {
                    (thousands(model.calls)) ", " (thousands(model.reused)) " answers from the cache, "
                    (thousands(model.usage.total)) " tokens"
                }
            }
            @if let Some(at) = rfc3339(run.created_at_ms) { dt { "submitted" } dd { (at) } }
            dt { "results" } dd { code { (shown(&run.results)) } }
            @if let Some(fingerprint) = &run.fingerprint { dt { "fingerprint" } dd { code { (shown(fingerprint)) } } }
        }
    }
}

fn outcomes(run: &RunStatus) -> Markup {
    let tally = &run.tally;
    let parts = [
        ("accepted", "accepted", tally.accepted),
        ("rejected", "rejected", tally.rejected),
        ("review", "to review", tally.needs_review),
        ("none", "not applicable", tally.not_applicable),
        ("errors", "errors", tally.errors),
    ];
    let asked: Vec<_> = [Status::Rejected, Status::NeedsReview, Status::Error]
        .into_iter()
        .flat_map(|status| {
            tally.top_reasons(status).into_iter().take(REASONS).map(move |reason| (status, reason))
        })
        .collect();
    html! {
        (shares("records", &parts, run.records))
        ul.key { @for (class, name, count) in parts { li class=(class) { (name) " " strong { (thousands(count)) } } } }
        @if tally.valid > 0 {
            p { "Of " (thousands(tally.valid)) " records whose document was valid before, " (thousands(tally.valid_accepted)) " were accepted." }
        }
        @if !asked.is_empty() {
            table {
                thead { tr {
                    th scope="col" { "outcome" } th scope="col" { "records" } th scope="col" { "by" } th scope="col" { "fault" }
                    th scope="col" { "first record" }
                } }
                tbody { @for (status, reason) in asked {
                    tr {
                        th scope="row" { (status.as_str()) }
                        td.number data-label="records" { (thousands(reason.count)) }
                        td data-label="by" { (shown(&reason.cause)) }
                        td data-label="fault" { (reason.fault.as_str()) }
                        td data-label="first record" { (shown(reason.example.as_str())) }
                    }
                } }
            }
        }
    }
}

fn course(run: &RunStatus, track: Option<&Track>) -> Markup {
    let Some(track) = track else { return html! { p { "This coordinator has not seen the run at work." } } };
    let line = |class, of: &dyn Fn(&Point) -> f64| Line {
        class,
        points: track.points().iter().map(|point| (point.at_s, Some(of(point)))).collect(),
    };
    html! {
        div.charts {
            (over_time("records committed", &thousands(run.tally.records), &[line("records", &|point| point.records as f64)]))
            @if let Some(model) = &run.model {
                (over_time("US dollars spent", &usd(model.cost_usd), &[line("spent", &|point| point.cost_usd)]))
            }
        }
        @if let Some(model) = &run.model { (limit_charts(model, Some(track))) }
    }
}

#[cfg(test)]
mod tests {
    use domain::run::RunState;

    use super::*;
    use crate::view::status_table::tests::run;

    #[test]
    fn a_run_shows_its_outcomes_and_its_course() {
        let status = run("night", RunState::Running, 4000);
        let of = |board: &Board, id: &str| {
            sections(board, &status).into_iter().find(|(name, _)| *name == id).unwrap().1
        };
        let board = Board::default();
        let outcomes = of(&board, "outcomes");
        assert!(outcomes.contains("records: 3600 accepted"), "{outcomes}");
        assert!(of(&board, "facts").contains("data-action=\"/runs/night/cancel\""));
        assert!(of(&board, "course").contains("has not seen"));
        let mut history = super::super::history::History::default();
        history.note(0, [&status]);
        let tracks = [(status.run_id.clone(), history.of(&status.run_id).unwrap())].into();
        let board = Board { tracks, ..Board::default() };
        assert!(of(&board, "course").contains("records committed: 4\u{202f}000"), "{}", of(&board, "course"));
    }
}
