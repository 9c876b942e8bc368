//! Failures by reason, and example records.

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::metrics::failures::Failure;
use crate::render::chart::{Axis, Dot, Ink, dots};
use crate::render::{Titled, thousands};
use crate::report::block::{Block, figure, table};
use crate::report::documents::{Wanted, examples};
use crate::report::options::Options;
use crate::report::run::Run;

/// Maximum number of rows of the table and of the figure.
const LINES: usize = 25;
const BARS: usize = 12;

pub(super) fn blocks(run: &Run, options: &Options) -> Result<Vec<Block>, AnalysisError> {
    let failures = &run.failures;
    if failures.groups.is_empty() {
        return Ok(vec![Block::Text(format!(
            "No record was rejected, needs review or failed to be processed (n = {} records of run {}).",
            thousands(failures.records),
            run.id
        ))]);
    }
    let n = thousands(failures.failed);
    let mut reasons: Vec<Dot> = failures
        .by(|failure| &failure.reason)
        .into_iter()
        .map(|sum| Dot {
            label: sum.value,
            value: sum.count as f64,
            interval: Some((0.0, sum.count as f64)),
            ink: Ink::Bad,
            note: thousands(sum.count),
        })
        .collect();
    reasons.truncate(BARS);
    let axis = Axis::linear("records", 0.0, reasons.iter().map(|dot| dot.value));
    let mut blocks = vec![figure(
        run.name("failures-by-reason"),
        run.title("Most frequent reasons", "records that were not accepted", &n),
        "Records that were rejected, need review or failed to be processed, each by its first reason.",
        |title| dots(title, &[], &axis, &reasons),
    )];
    let words = ["status", "gate", "fault", "policy", "kind", "reason", "example"];
    let mut lines =
        Table::new([("records", Align::Right)].into_iter().chain(words.map(|name| (name, Align::Left))));
    for group in failures.groups.iter().take(LINES) {
        let reason =
            if group.error.is_empty() { group.reason.clone() } else { group.error.replace('_', " ") };
        lines.push([
            thousands(group.count),
            group.status.replace('_', " "),
            dash(&group.gate),
            dash(&group.fault),
            group.policy.clone(),
            dash(&group.kind),
            reason,
            group.example.record_id.clone(),
        ]);
    }
    let shown = lines.rows().len();
    let what = format!("What failed: the {shown} largest of {} groups", failures.groups.len());
    blocks.push(table(
        run.name("failures"),
        Titled { title: run.title(&what, "records that were not accepted", &n), table: lines },
    ));
    let found = examples(run, &wanted(run, options.examples))?;
    blocks.extend(found.into_iter().map(|example| Block::Example(Box::new(example))));
    Ok(blocks)
}

fn dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.replace('_', " ") }
}

/// Examples of the largest groups that differ in gate, status or reason, and one accepted repair.
fn wanted(run: &Run, most: usize) -> Vec<Wanted> {
    let alike = |a: &Failure, b: &Failure| (&a.gate, &a.status, &a.reason) == (&b.gate, &b.status, &b.reason);
    let mut chosen: Vec<&Failure> = vec![];
    for group in &run.failures.groups {
        if chosen.len() < most && !chosen.iter().any(|known| alike(known, group)) {
            chosen.push(group);
        }
    }
    let mut wanted: Vec<Wanted> = chosen
        .iter()
        .map(|group| Wanted {
            record: group.example.record_id.clone(),
            why: format!(
                "{}: {} ({} of {} records that were not accepted)",
                group.status.replace('_', " "),
                if group.error.is_empty() { group.reason.clone() } else { group.error.replace('_', " ") },
                thousands(group.count),
                thousands(run.failures.failed)
            ),
        })
        .collect();
    if most > 0 {
        let accepted = run.cases.iter().find(|case| case.accepted && case.patch_ops.is_some());
        wanted.extend(accepted.map(|case| Wanted {
            record: case.id.clone(),
            why: format!("accepted: a repair of {}, for comparison", case.policy),
        }));
    }
    wanted
}
