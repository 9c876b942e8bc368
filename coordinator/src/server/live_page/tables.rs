//! Cells that several tables and pages share: texts, progress, amounts, states.

use std::borrow::Cow;

use cli_support::escape::visible;
use cli_support::progress::duration;
use domain::config::SpendConfig;
use domain::run::RunState;
use maud::{Markup, html};
use proto::convert::{RunStatus, WorkerStatus};

use super::history::{Track, answered};
use crate::view::llm_line::usd;

/// A text of anyone, without what acts on a reader; the template escapes the rest.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    visible(text)
}

/// A count with thin spaces between thousands.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// How far a run is: what is done of its records. Of a model's run, answered questions count before their records are
/// committed; they are taken for a record each, and never for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) of: u64,
    /// Whether `done` counts questions of records that are not committed.
    pub(super) by_questions: bool,
    /// Seconds that are left at the rate of the last minute.
    pub(super) left_s: Option<f64>,
    /// What is done a second.
    pub(super) per_s: f64,
}

impl Progress {
    pub(super) fn of(run: &RunStatus, track: Option<&Track>) -> Self {
        let committed = run.tally.records;
        let questions = answered(run).min(run.records.saturating_sub(1));
        let by_questions = !run.state.has_ended() && questions > committed;
        let done = if by_questions { questions } else { committed };
        let rate = match (by_questions, track) {
            (true, Some(track)) => track.rate(|point| point.answered).unwrap_or(0.0),
            _ => run.records_per_s,
        };
        let open = run.records.saturating_sub(done);
        let is_working = run.state == RunState::Running && open > 0 && rate > 0.0;
        Self {
            done,
            of: run.records,
            by_questions,
            left_s: is_working.then(|| open as f64 / rate),
            per_s: rate,
        }
    }

    /// The bar, with the figures beside it.
    pub(super) fn bar(&self, run: &RunStatus) -> Markup {
        let unit = if self.by_questions { "questions answered" } else { "records" };
        html! {
            progress max=(self.of.max(1)) value=(self.done) aria-label={ "progress of run " (run.run_id.as_str()) } {}
            " " span.figure { (thousands(self.done)) " of " (thousands(self.of)) " " (unit) }
        }
    }

    pub(super) fn rate(&self) -> String {
        if self.per_s <= 0.0 { String::new() } else { format!("{:.1}/s", self.per_s) }
    }

    pub(super) fn left(&self) -> String {
        self.left_s.map_or_else(String::new, |left| format!("about {}", duration(left)))
    }
}

/// The state of a run, with its phase, and its trouble or what it waits for.
pub(super) fn state(run: &RunStatus) -> Markup {
    let word = match run.state {
        RunState::Finishing => "merging the results",
        other => other.as_str(),
    };
    let waits = run.model.as_ref().and_then(|model| model.waits_for.as_deref());
    let judge = run.judge.as_ref().and_then(|judge| judge.waits_for.as_deref());
    html! {
        span class={ "state " (run.state.as_str()) } { (word) }
        @if let Some(trouble) = &run.trouble { p.trouble { (shown(trouble)) } }
        @else if let (false, Some(wait)) = (run.state.has_ended(), judge.or(waits)) {
            p.wait { "waits: " (shown(wait)) }
        }
    }
}

/// What a run has spent, against its bound.
pub(super) fn spend(run: &RunStatus, bound: Option<&SpendConfig>) -> Markup {
    let Some(model) = &run.model else { return html! {} };
    let bound = bound.copied().unwrap_or_default();
    let cost = match model.whole_cost_usd() {
        Some(cost) => format!("{} USD", usd(cost)),
        None => "cost not known".to_owned(),
    };
    html! {
        (cost)
        @if bound.max_cost_usd > 0.0 {
            " of " (usd(bound.max_cost_usd)) " "
            meter max=(bound.max_cost_usd) value=(model.cost_usd) aria-label={ "spent by run " (run.run_id.as_str()) } {}
        }
        @if bound.max_requests > 0 {
            br; (thousands(model.calls)) " of " (thousands(bound.max_requests)) " calls"
        }
    }
}

/// What a worker does.
pub(super) const fn activity(worker: &WorkerStatus) -> &'static str {
    match (worker.draining, worker.leased) {
        (true, _) => "draining",
        (false, 0) => "idle",
        (false, _) => "working",
    }
}

/// A button that needs a second press, for operators.
pub(super) fn button(action: &str, what: &str, name: &str) -> Markup {
    html! {
        button type="button" data-action=(action) data-key=(action) hidden {
            (what) " " span.name { (name) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::convert::LlmStatus;

    use super::*;
    use crate::view::status_table::tests::{run, worker};

    #[test]
    fn questions_count_before_records_are_committed_and_never_for_the_whole() {
        let asked = |calls, committed, state| {
            let model = LlmStatus { calls, failed: 10, throttled: 5, reused: 2, ..LlmStatus::default() };
            Progress::of(&RunStatus { model: Some(model), ..run("r", state, committed) }, None)
        };
        let records = run("r", RunState::Running, 0).records;
        let early = asked(113, 0, RunState::Running);
        assert_eq!((early.done, early.of, early.by_questions), (100, records, true));
        let late = asked(10 * records, 0, RunState::Running);
        assert_eq!((late.done, late.by_questions), (records - 1, true));
        let ended = asked(10 * records, records, RunState::Finished);
        assert_eq!((ended.done, ended.by_questions, ended.left_s), (records, false, None));
        let rules = Progress::of(&run("r", RunState::Running, 4000), None);
        assert_eq!((rules.done, rules.by_questions), (4000, false));
        assert!(rules.left().starts_with("about "), "{}", rules.left());
    }

    #[test]
    fn workers_are_idle_working_or_draining() {
        let mut one = worker("a", false);
        one.leased = 0;
        assert_eq!(activity(&one), "idle");
        one.leased = 1;
        assert_eq!(activity(&one), "working");
        assert_eq!(activity(&worker("b", true)), "draining");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(
            [0, 999, 13_656, 1_000_000].map(thousands),
            ["0", "999", "13\u{202f}656", "1\u{202f}000\u{202f}000"]
        );
    }
}
