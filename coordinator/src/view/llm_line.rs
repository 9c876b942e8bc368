//! Status line of a run's LLM calls, for the status table, the page, progress and the closing summary.

use std::fmt::Write as _;

use cli_support::escape::one_line;
use domain::tally::Tally;
use proto::convert::{LlmStatus, RunStatus};

use crate::clock::rfc3339;

/// Number of reasons of failed calls that are shown.
const REASONS: usize = 5;

/// Calls, limit, waiting and refused calls, tokens and cost. `None` where the run has no LLM proposer.
pub(crate) fn line(run: &RunStatus) -> Option<String> {
    let model = run.model.as_ref()?;
    let mut line = now(run, model);
    line.push_str(&totals(run)?);
    if let Some(reason) = model.waits_for.as_ref().filter(|_| !run.state.has_ended()) {
        let _ = write!(line, "; waiting: {}", one_line(reason));
    }
    Some(line)
}

/// Rate, limit and calls at this moment; empty where the run has ended.
fn now(run: &RunStatus, model: &LlmStatus) -> String {
    let mut line = String::new();
    if !run.state.has_ended() {
        let _ = write!(line, "{:.0} calls/min", model.calls_per_min);
        if let Some(limit) = model.limit_per_min {
            let _ = write!(line, " of {limit:.0}{}", if model.limit_learnt { " (learnt)" } else { "" });
        }
        let _ = write!(line, ", {} under way, {} waiting, ", model.under_way, model.waiting);
        if model.waits_for.is_none()
            && let Some(until) = model.paused_until_ms.and_then(rfc3339)
        {
            let _ = write!(line, "the provider asked to wait until {until}, ");
        }
    }
    line
}

/// Calls, refused and failed ones, tokens and cost. `None` where the run has no LLM proposer.
pub(crate) fn totals(run: &RunStatus) -> Option<String> {
    let model = run.model.as_ref()?;
    let mut line = format!("{} calls", model.calls);
    for (count, word) in
        [(model.throttled, "refused (429)"), (model.failed, "failed"), (model.reused, "from the cache")]
    {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    let _ = write!(line, ", {} tokens", model.usage.total);
    if model.usage.estimated > 0 {
        let _ = write!(line, " ({} of them estimated)", model.usage.estimated);
    }
    if model.unpriced > 0 {
        line.push_str(", cost not known (the model has no price)");
    } else if model.cost_usd > 0.0 {
        let _ = write!(line, ", {} USD", usd(model.cost_usd));
        if let Some(to_come) = to_come(run, model) {
            let _ = write!(line, ", about {} USD to come", usd(to_come));
        }
    }
    Some(line)
}

/// Failed and refused calls by reason, a line each, and what became of records without an answer. Empty where every call was
/// answered.
pub(crate) fn failures(run: &RunStatus) -> String {
    let mut text = String::new();
    let Some(model) = &run.model else { return text };
    if !model.failures.is_empty() {
        text.push_str("  calls without an answer:\n");
    }
    for (reason, count) in model.failures.iter().take(REASONS) {
        let _ = writeln!(text, "    {count:>7} {}", one_line(reason));
    }
    if model.failures.len() > REASONS {
        let rest: u64 = model.failures.iter().skip(REASONS).map(|(_, count)| count).sum();
        let _ = writeln!(text, "    {rest:>7} for {} other reasons", model.failures.len() - REASONS);
    }
    text
}

/// By whom the accepted repairs of a model's run are; empty where no model was asked.
pub(crate) fn sources(tally: &Tally) -> String {
    if tally.asked == 0 {
        return String::new();
    }
    let by_model = tally.accepted.saturating_sub(tally.by_rules_accepted);
    let mut text = format!(
        "  accepted {by_model} of the model's repairs, {} of the rules'\n  the model was asked about {} records",
        tally.by_rules_accepted, tally.asked
    );
    if tally.unanswered > 0 {
        let _ = write!(text, ", and gave no answer about {}", tally.unanswered);
    }
    if tally.by_rules > 0 {
        let _ = write!(text, "; the repairs of {} of them are the rules'", tally.by_rules);
    }
    text.push('\n');
    if tally.unanswered == tally.asked {
        text.push_str("  NO CALL WAS ANSWERED: this says nothing about the model\n");
    }
    text
}

/// Expected cost of the remaining records at the average cost of those that are done, in US dollars.
fn to_come(run: &RunStatus, model: &LlmStatus) -> Option<f64> {
    let (done, open) = (run.tally.records, run.records.saturating_sub(run.tally.records));
    (!run.state.has_ended() && done > 0 && open > 0).then(|| model.cost_usd / done as f64 * open as f64)
}

/// Formats an amount in US dollars: two decimals from one dollar on, four below.
pub(crate) fn usd(amount: f64) -> String {
    if amount < 1.0 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}

#[cfg(test)]
mod tests {
    use domain::run::RunState;

    use super::*;
    use crate::view::status_table::tests::run;

    fn model(waits_for: Option<&str>, failures: &[(&str, u64)]) -> LlmStatus {
        let failures = failures.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        LlmStatus { calls: 9, waits_for: waits_for.map(str::to_owned), failures, ..LlmStatus::default() }
    }

    #[test]
    fn a_wait_is_shown_while_the_run_goes_on() {
        let mut status = run("r", RunState::Running, 0);
        status.model = Some(model(Some("503\nlater\u{1b}[2J"), &[]));
        let line = line(&status).unwrap();
        assert!(line.contains("; waiting: 503") && !line.contains(['\u{1b}', '\n']), "{line}");
        status.state = RunState::Finished;
        assert!(!super::line(&status).unwrap().contains("waiting:"));
    }

    #[test]
    fn calls_without_an_answer_are_listed_by_reason() {
        let mut status = run("r", RunState::Finished, 0);
        assert_eq!(failures(&status), "", "no model was asked");
        status.model = Some(model(None, &[]));
        assert_eq!(failures(&status), "");
        let reasons: Vec<(String, u64)> =
            (0..8).map(|number| (format!("reason {number}"), 10 - number)).collect();
        let reasons: Vec<(&str, u64)> =
            reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        status.model = Some(model(None, &reasons));
        let text = failures(&status);
        assert!(text.starts_with("  calls without an answer:\n         10 reason 0\n"), "{text}");
        assert!(text.ends_with("         12 for 3 other reasons\n"), "{text}");
    }

    #[test]
    fn repairs_are_told_by_source() {
        assert_eq!(sources(&Tally { accepted: 9, ..Tally::default() }), "", "a run of the rules");
        let tally = Tally {
            accepted: 9,
            asked: 12,
            unanswered: 2,
            by_rules: 4,
            by_rules_accepted: 3,
            ..Tally::default()
        };
        assert_eq!(
            sources(&tally),
            "  accepted 6 of the model's repairs, 3 of the rules'\n  the model was asked about 12 records, and gave no \
             answer about 2; the repairs of 4 of them are the rules'\n"
        );
        let none = Tally {
            accepted: 9,
            asked: 9,
            unanswered: 9,
            by_rules: 9,
            by_rules_accepted: 9,
            ..Tally::default()
        };
        assert!(sources(&none).contains("NO CALL WAS ANSWERED"));
    }
}
