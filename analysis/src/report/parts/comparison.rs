//! Comparison of two runs: records with changed outcomes, and the reasons.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};

use crate::metrics::diff::Diff;
use crate::metrics::failures::folded;
use crate::render::chart::{Axis, Dot, Ink, dots};
use crate::render::{Titled, interval, p_equals, percent, thousands};
use crate::report::block::{Block, Section, figure, table};
use crate::report::run::Run;
use crate::stats::Proportion;

/// Maximum number of changed records in the table.
const LINES: usize = 200;

/// `diff` is `None` if the runs have different corpora.
pub(in crate::report) fn section(before: &Run, after: &Run, diff: Option<&Diff>, runs: usize) -> Section {
    let mut blocks = vec![];
    if runs > 2 {
        blocks.push(Block::Text(format!("The first two of {runs} runs are compared.")));
    }
    match diff {
        None => blocks.push(Block::Text(format!(
            "Runs {} and {} have different corpora, so their records are not compared.",
            before.id, after.id
        ))),
        Some(diff) => blocks.extend(compared(before, after, diff)),
    }
    Section { id: "comparison", title: "Run against run", blocks }
}

fn compared(before: &Run, after: &Run, diff: &Diff) -> Vec<Block> {
    let pairs = thousands(diff.before.of);
    let verdict =
        if diff.fell() { "Fewer are accepted than before" } else { "No fewer are accepted than before" };
    let text = format!(
        "{verdict}: {} lost and {} gained of {pairs} records that both runs have (McNemar's exact test: {}); {} \
         only in the first, {} only in the second. Records are compared by id, policy and document.",
        thousands(diff.mcnemar.only_first),
        thousands(diff.mcnemar.only_second),
        p_equals(diff.mcnemar.p),
        thousands(diff.only_before),
        thousands(diff.only_after)
    );
    let shares = [(&before.id, diff.before), (&after.id, diff.after)];
    let numbers = ["accepted", "of", "share", "95 % interval"];
    let mut sums =
        Table::new(std::iter::once(("run", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    for (run, share) in shares {
        sums.push([
            run.clone(),
            thousands(share.count),
            thousands(share.of),
            percent(share.rate),
            interval(&share),
        ]);
    }
    let title =
        format!("Acceptance of the records that both have (share with Wilson interval; n = {pairs} pairs)");
    vec![
        Block::Text(text),
        acceptance(&shares, &pairs),
        table("comparison", Titled { title, table: sums }),
        table("comparison-changes", transitions(diff)),
        table("comparison-records", changed(diff)),
    ]
}

fn acceptance(shares: &[(&String, Proportion); 2], pairs: &str) -> Block {
    let of = |x: Option<f64>| x.unwrap_or(0.0) * 100.0;
    let rows: Vec<Dot> = shares
        .iter()
        .enumerate()
        .map(|(place, (run, share))| Dot {
            label: (*run).clone(),
            value: of(share.rate),
            interval: Some((of(share.low), of(share.high))),
            ink: Ink::series(place),
            note: format!("{} / {}", thousands(share.count), thousands(share.of)),
        })
        .collect();
    let lowest = rows.iter().filter_map(|row| row.interval).map(|(low, _)| low).fold(100.0, f64::min);
    let from = (lowest / 10.0).floor() * 10.0;
    let axis = Axis { title: "accepted, % of pairs".to_owned(), range: from.min(90.0)..100.0, log: false };
    let title = format!("Acceptance of the records that both have (% of pairs; n = {pairs} pairs)");
    figure("comparison", title, "Dot: accepted share. Line: Wilson's 95 % interval.", |title| {
        dots(title, &[], &axis, &rows)
    })
}

/// Number of records, and number by reason.
type Reasons = (u64, BTreeMap<String, u64>);

/// Number of records and most frequent reason by status before and after.
fn transitions(diff: &Diff) -> Titled {
    let mut groups: BTreeMap<(&str, &str), Reasons> = BTreeMap::new();
    for change in &diff.changes {
        let group = groups.entry((&change.before, &change.after)).or_default();
        group.0 += 1;
        *group.1.entry(folded(&change.reason)).or_default() += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut lines = Table::new([
        ("records", Align::Right),
        ("before", Align::Left),
        ("after", Align::Left),
        ("with the most frequent reason", Align::Right),
        ("most frequent reason", Align::Left),
    ]);
    for ((before, after), (count, reasons)) in groups {
        let most = reasons.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let (why, times) = most.unwrap_or_default();
        lines.push([
            thousands(count),
            before.replace('_', " "),
            after.replace('_', " "),
            thousands(times),
            why,
        ]);
    }
    let changed = thousands(diff.changes.len() as u64);
    Titled {
        title: format!("How outcomes changed (records; n = {changed} records that changed)"),
        table: lines,
    }
}

fn changed(diff: &Diff) -> Titled {
    let words = ["record", "policy", "before", "after", "fault", "reason"];
    let mut lines = Table::new(words.map(|name| (name, Align::Left)));
    for change in diff.changes.iter().take(LINES) {
        lines.push([
            change.record_id.clone(),
            change.policy_id.clone(),
            change.before.replace('_', " "),
            change.after.replace('_', " "),
            change.fault.clone(),
            change.reason.clone(),
        ]);
    }
    let shown = lines.rows().len();
    let changed = thousands(diff.changes.len() as u64);
    Titled {
        title: format!("Records whose outcome changed (the first {shown}; n = {changed})"),
        table: lines,
    }
}
