//! Closing summary of a run, as text and as JSON.

use std::fmt::Write as _;

use cli_support::escape::{one_line, visible};
use domain::config::Documents;
use domain::outcome::Status;
use domain::tally::{Reason, Tally};
use proto::convert::{LlmStatus, RunStatus};
use serde_json::{Value, json};

use crate::ledger::{RunEntry, RunResources};
use crate::view::{judge_line, llm_line};

/// Number of reasons shown for each status.
const REASONS: usize = 5;

/// Status of a run and the resources it has used.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) status: RunStatus,
    pub(crate) documents: Documents,
    pub(crate) used: RunResources,
}

impl Summary {
    /// The summary as one line of JSON; its keys are a stable interface.
    pub(crate) fn json(&self) -> Value {
        let tally = &self.status.tally;
        let model = self.status.model.clone().unwrap_or_default();
        let failures = model.failures.iter();
        let failures: Vec<Value> =
            failures.map(|(reason, count)| json!({"reason": reason, "calls": count})).collect();
        json!({
            "run_id": self.status.run_id.as_str(),
            "path": self.status.results,
            "records": self.status.records,
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "needs_review": tally.needs_review,
            "errors": tally.errors,
            "wall_s": self.used.wall_s(),
            "cpu_s": self.used.cpu_s(),
            "peak_rss_mb": self.used.peak_rss_mb(),
            "fingerprint": self.status.fingerprint,
            "not_applicable": tally.not_applicable,
            "valid": tally.valid,
            "valid_accepted": tally.valid_accepted,
            "state": self.status.state.as_str(),
            "shards": self.status.shards,
            "documents": word(self.documents),
            "model_calls": model.calls,
            "model_failed": model.failed,
            "model_throttled": model.throttled,
            "model_reused": model.reused,
            "model_tokens": model.usage.total,
            "model_estimated_tokens": model.usage.estimated,
            "cost_usd": model.whole_cost_usd(),
            "cost_per_accepted_usd": model.whole_cost_usd().and_then(|cost| per_accepted(cost, tally.accepted)),
            "model_failures": failures,
            "model_asked": tally.asked,
            "model_unanswered": tally.unanswered,
            "accepted_by_model": by_model(tally),
            "accepted_by_program": tally.by_program_accepted,
            "accepted_by_rules": tally.accepted.saturating_sub(by_model(tally) + tally.by_program_accepted),
            "by_rules": tally.by_rules,
            "judge": judge_line::json(&self.status),
        })
    }

    /// Whether a model was asked and no call was answered, so that the results say nothing about it.
    pub(crate) fn is_unanswered(&self) -> bool {
        let tally = &self.status.tally;
        tally.asked > 0 && tally.unanswered == tally.asked
    }

    /// The summary as text.
    pub(crate) fn text(&self) -> String {
        let (status, tally) = (&self.status, &self.status.tally);
        let mut text = String::new();
        let taken = self.used.wall_s().map_or_else(String::new, |wall_s| {
            let rate = if wall_s > 0.0 { tally.records as f64 / wall_s } else { 0.0 };
            format!(" in {wall_s:.1} s ({rate:.0}/s)")
        });
        let _ = writeln!(
            text,
            "run {} {}: {} records{taken}, documents: {}",
            status.run_id,
            status.state.as_str(),
            tally.records,
            word(self.documents),
        );
        let _ = writeln!(text, "  {}", acceptance(tally, self.status.judge.is_some()));
        let _ = writeln!(
            text,
            "  accepted {}, rejected {}, needs review {}, not applicable {}, errors {}",
            tally.accepted, tally.rejected, tally.needs_review, tally.not_applicable, tally.errors
        );
        for (status, title) in [
            (Status::Rejected, "rejected by"),
            (Status::NeedsReview, "need review"),
            (Status::Error, "not processed"),
        ] {
            reasons(&mut text, title, &tally.top_reasons(status));
        }
        cautions(&mut text, tally);
        text.push_str(&llm_line::sources(tally));
        if let Some(llm_line) = llm_line::line(status) {
            let _ = write!(text, "  {llm_line}");
            let cost = status.model.as_ref().and_then(LlmStatus::whole_cost_usd).unwrap_or(0.0);
            if let Some(cost) = per_accepted(cost, tally.accepted).filter(|cost| *cost > 0.0) {
                let _ = write!(text, ", {} USD for each accepted repair", llm_line::usd(cost));
            }
            text.push('\n');
            text.push_str(&llm_line::failures(status));
        }
        for line in judge_line::lines(status).lines() {
            let _ = writeln!(text, "  {line}");
        }
        if let Some((cpu_s, peak_rss_mb)) = self.used.cpu_s().zip(self.used.peak_rss_mb()) {
            let _ = writeln!(text, "  {cpu_s:.1} s CPU, {peak_rss_mb:.0} MB peak");
        }
        if let Some(fingerprint) = &status.fingerprint {
            let _ = writeln!(text, "  fingerprint {fingerprint}");
        }
        let _ = writeln!(text, "  results in {}", visible(&status.results));
        let _ =
            writeln!(text, "next: analysis metrics {0}   analysis failures {0}", visible(&status.results));
        text
    }
}

/// Resources of a run: those recorded in `before` (`None`: a new run) and `own` of this process.
pub(crate) fn used(before: Option<&RunEntry>, own: RunResources) -> RunResources {
    match before {
        None => own,
        // It had ended: this process only reads its results.
        Some(run) if run.state.has_ended() => run.resources,
        Some(run) => run.resources.followed_by(own),
    }
}

/// Accepted repairs of a model; 0 where none was asked.
fn by_model(tally: &Tally) -> u64 {
    if tally.asked == 0 { 0 } else { tally.accepted.saturating_sub(tally.by_rules_accepted) }
}

/// Cost of an accepted repair; `None` where none was accepted.
fn per_accepted(cost_usd: f64, accepted: u64) -> Option<f64> {
    (accepted > 0).then(|| cost_usd / accepted as f64)
}

fn reasons(text: &mut String, title: &str, reasons: &[&Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {title}:");
    for reason in reasons.iter().take(REASONS) {
        let fault = match reason.fault {
            domain::outcome::Fault::None => String::new(),
            fault => format!(", fault {fault}"),
        };
        let _ = writeln!(
            text,
            "    {:>7} {}{fault}; e.g. {}: {}",
            reason.count,
            reason.cause,
            visible(reason.example.as_str()),
            one_line(&reason.message)
        );
    }
    if reasons.len() > REASONS {
        let rest: u64 = reasons.iter().skip(REASONS).map(|reason| reason.count).sum();
        let _ = writeln!(text, "    {rest:>7} for {} other reasons", reasons.len() - REASONS);
    }
}

/// Acceptance, first of the records whose document was valid before: of the others no patch that leaves their fault can be
/// accepted.
fn acceptance(tally: &Tally, by_server: bool) -> String {
    let all = share(tally.accepted, tally.records);
    if tally.valid == 0 {
        return format!("acceptance {all} of all");
    }
    format!(
        "acceptance {} of the {} whose document was valid before by {}, {all} of all",
        share(tally.valid_accepted, tally.valid),
        tally.valid,
        if by_server { "a server's rules" } else { "the embedded rules" }
    )
}

fn cautions(text: &mut String, tally: &Tally) {
    if tally.cautions.is_empty() {
        return;
    }
    let mut cautions: Vec<_> = tally.cautions.iter().collect();
    cautions.sort_by_key(|(caution, count)| (std::cmp::Reverse(**count), **caution));
    let _ = writeln!(text, "  accepted repairs to look at:");
    for (caution, count) in cautions.iter().take(REASONS) {
        let _ = writeln!(text, "    {count:>7} {caution}: {}", caution.sentence());
    }
    if cautions.len() > REASONS {
        let _ = writeln!(
            text,
            "            and {} other cautions; see `analysis metrics`",
            cautions.len() - REASONS
        );
    }
}

const fn word(documents: Documents) -> &'static str {
    match documents {
        Documents::Record => "record",
        Documents::Manifest => "manifest",
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.2} %", 100.0 * part as f64 / whole as f64) }
}
