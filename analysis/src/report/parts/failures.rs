//! Failures by reason, and example records.

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::metrics::failures::Kind;
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
    let reasons: Vec<Dot> = run
        .kinds
        .iter()
        .take(BARS)
        .map(|kind| Dot {
            label: kind.label(),
            value: kind.count as f64,
            interval: Some((0.0, kind.count as f64)),
            ink: ink(&kind.status),
            note: thousands(kind.count),
        })
        .collect();
    let axis = Axis::linear("records", 0.0, reasons.iter().map(|dot| dot.value));
    let mut blocks = vec![figure(
        run.name("failures-by-reason"),
        run.title("Most frequent reasons by policy", "records that were not accepted", &n),
        "Each record by its policy and its first reason, of which names, paths and numbers are folded (…); where the document was \
         at fault before any patch, by the reason alone.",
        |title| dots(title, &LEGEND, &axis, &reasons),
    )];
    let words = ["status", "gate", "fault", "policy", "kinds", "reason", "example"];
    let mut lines =
        Table::new([("records", Align::Right)].into_iter().chain(words.map(|name| (name, Align::Left))));
    for kind in run.kinds.iter().take(LINES) {
        lines.push([
            thousands(kind.count),
            kind.status.replace('_', " "),
            dash(&kind.gate),
            dash(&kind.fault),
            kind.policy.clone().unwrap_or_else(|| "any".to_owned()),
            objects(&kind.objects),
            kind.reason.clone(),
            kind.example.record_id.clone(),
        ]);
    }
    let shown = lines.rows().len();
    let what =
        format!("What failed: the {shown} largest of {} kinds of reasons", thousands(run.kinds.len() as u64));
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

/// The first few kinds of objects, and how many there are more.
fn objects(kinds: &[String]) -> String {
    const SHOWN: usize = 3;
    let named = kinds.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match kinds.len().saturating_sub(SHOWN) {
        0 => dash(&named),
        more => format!("{named} and {more} more"),
    }
}

const LEGEND: [(&str, Ink); 3] =
    [("rejected", Ink::Bad), ("needs review", Ink::Review), ("error", Ink::Broken)];

fn ink(status: &str) -> Ink {
    match status {
        "needs_review" => Ink::Review,
        "error" => Ink::Broken,
        _ => Ink::Bad,
    }
}

/// Examples of the largest kinds that differ in gate, status or reason, and one accepted repair.
fn wanted(run: &Run, most: usize) -> Vec<Wanted> {
    let alike = |a: &Kind, b: &Kind| (&a.gate, &a.status, &a.reason) == (&b.gate, &b.status, &b.reason);
    let mut chosen: Vec<&Kind> = vec![];
    for kind in &run.kinds {
        if chosen.len() < most && !chosen.iter().any(|known| alike(known, kind)) {
            chosen.push(kind);
        }
    }
    let mut wanted: Vec<Wanted> = chosen
        .iter()
        .map(|kind| Wanted {
            record: kind.example.record_id.clone(),
            why: format!(
                "{}: {} ({} of {} records that were not accepted)",
                kind.status.replace('_', " "),
                kind.label(),
                thousands(kind.count),
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
