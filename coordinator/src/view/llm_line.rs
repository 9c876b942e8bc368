//! Status line of a run's LLM calls, for the status table, the page, progress and the closing summary.

use std::fmt::Write as _;

use proto::convert::{LlmStatus, RunStatus};

/// Calls, limit, waiting and refused calls, tokens and cost. `None` where the run has no LLM proposer.
pub(crate) fn line(run: &RunStatus) -> Option<String> {
    let model = run.model.as_ref()?;
    let mut line = String::new();
    if !run.state.has_ended() {
        let _ = write!(line, "{:.0} calls/min", model.calls_per_min);
        if let Some(limit) = model.limit_per_min {
            let _ = write!(line, " of {limit:.0}{}", if model.limit_learnt { " (learnt)" } else { "" });
        }
        let _ = write!(line, ", {} under way, {} waiting, ", model.under_way, model.waiting);
        if let Some(until) = model.paused_until_ms.and_then(time) {
            let _ = write!(line, "the provider asked to wait until {until}, ");
        }
    }
    let _ = write!(line, "{} calls", model.calls);
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

/// Expected cost of the remaining records at the average cost of those that are done, in US dollars.
fn to_come(run: &RunStatus, model: &LlmStatus) -> Option<f64> {
    let (done, open) = (run.tally.records, run.records.saturating_sub(run.tally.records));
    (!run.state.has_ended() && done > 0 && open > 0).then(|| model.cost_usd / done as f64 * open as f64)
}

/// A time as people read it; `None` where it lies beyond the calendar.
fn time(unix_ms: u64) -> Option<String> {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(unix_ms))?;
    // Beyond the year 9999 the formatter fails.
    (unix_ms < 253_402_300_800_000).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// Formats an amount in US dollars: two decimals from one dollar on, four below.
pub(crate) fn usd(amount: f64) -> String {
    if amount < 1.0 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}
