//! Acceptance by policy, kind, gate and fault.

use std::collections::BTreeMap;

use cli_support::output::{Align, Table};

use crate::load::AnalysisError;
use crate::load::cases::Case;
use crate::render::chart::{Axis, Dot, Ink, Stack, dots, stacked};
use crate::render::{Titled, interval, percent, thousands};
use crate::report::block::{Block, figure, table};
use crate::report::options::Options;
use crate::report::run::Run;
use crate::stats::Proportion;

/// Maximum number of rows of a figure; its table has all.
const LINES: usize = 40;

#[expect(clippy::unnecessary_wraps, reason = "a part may fail")]
pub(super) fn blocks(run: &Run, _: &Options) -> Result<Vec<Block>, AnalysisError> {
    let mut blocks = vec![];
    blocks.extend(by(run, "policy", |case| &case.policy));
    blocks.extend(by(run, "kind", |case| if case.kind.is_empty() { "(none)" } else { &case.kind }));
    blocks.extend(by_gate(run));
    blocks.push(by_fault(run));
    Ok(blocks)
}

/// Counts of a group by status.
#[derive(Default)]
struct Group {
    records: u64,
    accepted: u64,
    rejected: u64,
    review: u64,
    error: u64,
    idle: u64,
}

fn by(run: &Run, word: &str, of: impl Fn(&Case) -> &str) -> [Block; 2] {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for case in &run.cases {
        let group = groups.entry(of(case)).or_default();
        group.records += 1;
        match case.status.as_ref() {
            "accepted" => group.accepted += 1,
            "rejected" => group.rejected += 1,
            "needs_review" => group.review += 1,
            "not_applicable" => group.idle += 1,
            _ => group.error += 1,
        }
    }
    let mut groups: Vec<(&str, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.records));
    let numbers = [
        "records",
        "accepted",
        "share",
        "95 % interval",
        "rejected",
        "needs review",
        "error",
        "not applicable",
    ];
    let mut lines =
        Table::new(std::iter::once((word, Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let mut rows = vec![];
    for (name, group) in &groups {
        let share = Proportion::new(group.accepted, group.records);
        let others = [group.rejected, group.review, group.error, group.idle].map(thousands);
        let cells =
            [thousands(group.records), thousands(group.accepted), percent(share.rate), interval(&share)];
        lines.push(std::iter::once((*name).to_owned()).chain(cells).chain(others));
        rows.push(dot(name, &share));
    }
    rows.truncate(LINES);
    let lowest = rows.iter().filter_map(|row| row.interval).map(|(low, _)| low).fold(100.0, f64::min);
    let from = (lowest / 10.0).floor() * 10.0;
    let axis = Axis { title: "accepted, % of records".to_owned(), range: from.min(90.0)..100.0, log: false };
    let n = thousands(run.metrics.records);
    let note = "Dot: accepted share of all records. Line: Wilson's 95 % interval. At the right: accepted of all. The \
                axis does not always begin at 0.";
    let name = run.name(&format!("acceptance-by-{word}"));
    let what = format!("Acceptance by {word}");
    [
        figure(&name, run.title(&what, "% of records", &n), note, |title| dots(title, &[], &axis, &rows)),
        table(&name, Titled { title: run.title(&what, "share with Wilson interval", &n), table: lines }),
    ]
}

fn dot(name: &str, share: &Proportion) -> Dot {
    let of = |x: Option<f64>| x.unwrap_or(0.0) * 100.0;
    Dot {
        label: name.to_owned(),
        value: of(share.rate),
        interval: Some((of(share.low), of(share.high))),
        ink: Ink::Good,
        note: format!("{} / {}", thousands(share.count), thousands(share.of)),
    }
}

fn by_gate(run: &Run) -> [Block; 2] {
    let numbers = ["passed", "failed", "not run", "passed, of those run", "95 % interval"];
    let mut lines =
        Table::new(std::iter::once(("gate", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let mut rows = vec![];
    for gate in &run.metrics.gates {
        let share = Proportion::new(gate.passed, gate.passed + gate.failed);
        let name = gate.gate.replace('_', " ");
        let counts = [gate.passed, gate.failed, gate.not_run];
        lines.push(
            std::iter::once(name.clone())
                .chain(counts.map(thousands))
                .chain([percent(share.rate), interval(&share)]),
        );
        let all = run.metrics.records.max(1) as f64;
        rows.push(Stack { label: name, parts: counts.map(|count| count as f64 / all * 100.0).into() });
    }
    let n = thousands(run.metrics.records);
    let axis = Axis { title: "share of records, %".to_owned(), range: 0.0..100.0, log: false };
    let legend = [("passed", Ink::Good), ("failed", Ink::Bad), ("not run", Ink::Idle)];
    let note = "In the order the gates run; schema before: the schema gate on the untouched document.";
    let name = run.name("verdicts-by-gate");
    [
        figure(&name, run.title("Verdicts by gate", "% of records", &n), note, |title| {
            stacked(title, &legend, &axis, &rows)
        }),
        table(&name, Titled { title: run.title("Verdicts by gate", "records", &n), table: lines }),
    ]
}

fn by_fault(run: &Run) -> Block {
    let numbers = ["records", "share of all", "95 % interval"];
    let mut lines =
        Table::new(std::iter::once(("fault", Align::Left)).chain(numbers.map(|name| (name, Align::Right))));
    let records = run.metrics.records;
    for (fault, count) in &run.metrics.faults {
        let share = Proportion::new(*count, records);
        lines.push([(*fault).to_owned(), thousands(*count), percent(share.rate), interval(&share)]);
    }
    let title = run.title("Faults", "share with Wilson interval", thousands(records));
    table(run.name("faults"), Titled { title, table: lines })
}
