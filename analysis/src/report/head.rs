//! The top of a report: what a run came to and what it was, and what became of its records in another run.

use std::time::SystemTime;

use domain::config::ProposerMode;
use results::run_file::RunFile;

use super::block::{Headline, Lead, Mostly, Versus};
use super::options::Options;
use super::run::Run;
use crate::metrics::diff::Diff;
use crate::metrics::significance;
use crate::render::{grouped, number, p_equals, thousands};
use crate::stats::Proportion;
use crate::stats::power::{self, Errors};

/// The errors of every line about power.
pub(super) const USUAL: Errors = Errors { alpha: 0.05, power: 0.8 };

pub(super) fn headline(run: &Run, options: &Options) -> Headline {
    let metrics = &run.metrics;
    let statuses = metrics.status.iter().filter(|(status, count)| **status != "accepted" && **count > 0);
    let mut others: Vec<Lead> = statuses
        .map(|(status, count)| Lead {
            what: status.replace('_', " "),
            count: *count,
            mostly: mostly(run, status, *count),
        })
        .collect();
    others.sort_by_key(|lead| std::cmp::Reverse(lead.count));
    Headline {
        run: run.id.clone(),
        by_source: by_source(run),
        facts: facts(run),
        accepted: metrics.accepted_of_all,
        by_document: significance::by_document(run.cases.iter(), options.seed).0,
        documents: metrics.documents,
        of_valid: metrics.accepted_of_valid,
        judged_by: metrics.judges(),
        rules: metrics.rules(),
        others,
    }
}

/// The most frequent kind of reason of a status.
fn mostly(run: &Run, status: &str, all: u64) -> Option<Mostly> {
    let most = run.kinds.iter().filter(|kind| kind.status == status).max_by(|a, b| {
        // Of equal ones the first in the corpus.
        a.count.cmp(&b.count).then_with(|| b.example.cmp(&a.example))
    })?;
    Some(Mostly { reason: most.label(), count: most.count, is_most: most.count * 2 > all })
}

/// Acceptance by who made the repairs: the model first; nothing where the rules alone propose.
fn by_source(run: &Run) -> Vec<(String, Proportion)> {
    let (metrics, rules) = (&run.metrics, ProposerMode::Rules.as_str());
    let sources = &metrics.accepted_by_source;
    if metrics.model.is_none() && sources.keys().all(|source| source == rules) {
        return vec![];
    }
    let share =
        |source: &str| Proportion::new(sources.get(source).copied().unwrap_or_default(), metrics.records);
    let mut of: Vec<(String, Proportion)> = sources
        .keys()
        .filter(|source| *source != rules)
        .map(|source| {
            let who = if source == ProposerMode::Command.as_str() {
                "by the program".to_owned()
            } else {
                format!("by the model ({source})")
            };
            (who, share(source))
        })
        .collect();
    if of.is_empty() {
        of.push(("by the model".to_owned(), Proportion::new(0, metrics.records)));
    }
    of.push(("by the rules".to_owned(), share(rules)));
    of
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let Some((_, file)) = &run.file else {
        return vec![("run.json", "not given: date, mode and model are not known".to_owned())];
    };
    let mut facts = dates(file);
    if file.imported_from.is_some() {
        facts.push(("proposer", "not recorded: imported from published files".to_owned()));
    } else {
        let proposer = &file.config.proposer;
        let program =
            if proposer.program.is_empty() { String::new() } else { format!(" {}", proposer.program) };
        let guardrails = file.config.guardrails.as_str();
        facts.push(("proposer", format!("{}{program}, guardrails {guardrails}", proposer.mode.as_str())));
    }
    let models = &file.models;
    if !models.is_empty() {
        facts.push(("model asked", models.requested.keys().cloned().collect::<Vec<_>>().join(", ")));
        let mut served: Vec<String> = models.served.keys().cloned().collect();
        if models.not_disclosed > 0 {
            served.push(format!("not disclosed for {} records", thousands(models.not_disclosed)));
        }
        let none = "no answer".to_owned();
        facts.push(("model that answered", if served.is_empty() { none } else { served.join(", ") }));
    }
    if let Some(cost) = run.metrics.cost_usd {
        facts.push(("cost", format!("{cost:.4} USD for the answers of all records")));
    }
    if file.imported_from.is_none() {
        facts.push(("workers", thousands(file.workers.into())));
        let rate = file.wall_s.filter(|wall| *wall > 0.0).map(|wall| run.metrics.records as f64 / wall);
        if let Some((rate, wall)) = rate.zip(file.wall_s) {
            let (rate, wall) = (grouped(&number(Some(rate))), grouped(&number(Some(wall))));
            facts.push(("rate", format!("{rate} records a second over {wall} s of work")));
        }
    }
    facts
}

fn dates(file: &RunFile) -> Vec<(&'static str, String)> {
    let time = |at: SystemTime| {
        humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', " UTC")
    };
    let mut facts = vec![];
    match (file.created_at, file.finished_at) {
        (_, Some(finished)) => facts.push(("finished", time(finished))),
        (Some(planned), None) => facts.push(("planned", time(planned))),
        (None, None) => facts.push(("date", "not recorded".to_owned())),
    }
    if file.state != domain::run::RunState::Finished {
        facts.push(("state", format!("{}: not all records have a result", file.state.as_str())));
    }
    facts
}

pub(super) fn versus(before: &Run, after: &Run, diff: &Diff) -> Versus {
    Versus {
        before: before.id.clone(),
        after: after.id.clone(),
        shares: [diff.before, diff.after],
        lost: diff.mcnemar.only_first,
        gained: diff.mcnemar.only_second,
        test: p_equals(diff.mcnemar.p),
        power: power_of_pairs(diff.before.of, diff.mcnemar.only_first + diff.mcnemar.only_second),
    }
}

/// What so many pairs could have shown, if so many differ.
pub(super) fn power_of_pairs(pairs: u64, differing: u64) -> String {
    let n = thousands(pairs);
    let share = if pairs == 0 { 0.0 } else { differing as f64 / pairs as f64 };
    let seen = power::seen_paired(share, pairs, USUAL);
    seen.map_or_else(
        || format!("{n} pairs, of which {} differ, could show no difference", thousands(differing)),
        |seen| format!("{n} pairs could show a difference of {} or more", points(seen)),
    )
}

/// A difference of shares in percentage points, rounded up.
pub(super) fn points(difference: f64) -> String {
    format!("{:.2} percentage points", (difference * 1e4 - 1e-6).ceil() / 100.0)
}
