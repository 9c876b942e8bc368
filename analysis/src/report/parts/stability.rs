//! How stable the outcomes are over repeats, and what differences so many records could show.

use std::collections::{BTreeMap, HashMap};

use cli_support::output::{Align, Table};

use crate::load::cases::Case;
use crate::metrics::pairs::{Key, key};
use crate::render::{Titled, interval, percent, thousands};
use crate::report::block::{Block, Section, table};
use crate::report::head::{USUAL, points, power_of_pairs};
use crate::report::run::Run;
use crate::stats::Proportion;
use crate::stats::power;

/// Maximum number of policies in the table of changes.
const LINES: usize = 15;

pub(in crate::report) fn section(runs: &[Run]) -> Section {
    let mut blocks = vec![];
    for run in runs {
        blocks.push(Block::Text(power_of(run)));
        blocks.extend(samples(run));
    }
    blocks.extend(repeats(runs));
    Section { id: "stability", title: "Stability and power", blocks }
}

/// What a run could have shown against another one of as many records.
fn power_of(run: &Run) -> String {
    let share = run.metrics.accepted_of_all;
    let errors = format!("two-sided, alpha = {}, power = {}", USUAL.alpha, USUAL.power);
    let seen = share.rate.and_then(|rate| power::seen_unpaired(rate, share.of, USUAL));
    seen.map_or_else(
        || format!("Run {}: {} records could show no difference ({errors}).", run.id, thousands(share.of)),
        |seen| {
            format!(
                "Run {}: against another run over as many other records, {} records with {} accepted could show a difference of {} \
                 or more ({errors}). Records count as independent; several of one document are not.",
                run.id,
                thousands(share.of),
                percent(share.rate),
                points(seen)
            )
        },
    )
}

/// Of a run that asked for several samples: in how many of them a record passed.
fn samples(run: &Run) -> Option<Block> {
    let (mut all, mut some, mut none, mut alone) = (0_u64, 0_u64, 0_u64, 0_u64);
    for case in &run.cases {
        match case.samples {
            (0, _) => {}
            (1, _) => alone += 1,
            (_, 0) => none += 1,
            (samples, passed) if passed >= samples => all += 1,
            _ => some += 1,
        }
    }
    let n = all + some + none;
    if n == 0 {
        return None;
    }
    let mut lines = Table::new([
        ("samples of a record that passed", Align::Left),
        ("records", Align::Right),
        ("share", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    for (name, count) in [("all", all), ("some", some), ("none", none)] {
        let share = Proportion::new(count, n);
        lines.push([name.to_owned(), thousands(count), percent(share.rate), interval(&share)]);
    }
    let left_out =
        if alone == 0 { String::new() } else { format!(", {} with one sample left out", thousands(alone)) };
    let unit = format!("records with several samples{left_out}");
    let title = run.title("Stability over samples", &unit, thousands(n));
    Some(table(run.name("samples"), Titled { title, table: lines }))
}

/// Records that all runs have, by the number of runs that accept them.
fn repeats(runs: &[Run]) -> Vec<Block> {
    let (Some(first), true) = (runs.first(), runs.len() > 1) else {
        let text = "One run says nothing about repeats: a report of several runs over the same corpus shows how many records have the \
                    same outcome in all.";
        return vec![Block::Text(text.to_owned())];
    };
    if !runs.iter().all(|run| first.has_corpus_of(run)) {
        return vec![Block::Text(
            "The runs have different corpora: they do not repeat each other.".to_owned(),
        )];
    }
    let mut seen: HashMap<Key<'_>, Vec<&Case>> = HashMap::new();
    for case in runs.iter().flat_map(|run| &run.cases) {
        seen.entry(key(case)).or_default().push(case);
    }
    let mut sums = Sums::default();
    for cases in seen.values().filter(|cases| cases.len() == runs.len()) {
        sums.add(cases);
    }
    let hash = |run: &Run| run.file.as_ref().map(|(_, file)| file.config_hash);
    let is_repeat = hash(first).is_some() && runs.iter().all(|run| hash(run) == hash(first));
    let what = if is_repeat { "one configuration" } else { "different configurations" };
    let n = thousands(sums.records);
    let mut lines = Table::new([
        ("outcome of a record", Align::Left),
        ("records", Align::Right),
        ("share", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    for (name, count) in [
        ("the same status in all runs", sums.same),
        ("accepted in all runs", sums.always),
        ("accepted in some runs", sums.sometimes),
        ("accepted in no run", sums.records - sums.always - sums.sometimes),
    ] {
        let share = Proportion::new(count, sums.records);
        lines.push([name.to_owned(), thousands(count), percent(share.rate), interval(&share)]);
    }
    let title = format!("Stability over {} runs of {what} (records that all have; n = {n})", runs.len());
    let mut blocks = vec![table("stability", Titled { title, table: lines })];
    if sums.sometimes > 0 {
        blocks.push(table("stability-by-policy", sums.by_policy()));
    }
    if runs.len() == 2 {
        let power = power_of_pairs(sums.records, sums.sometimes);
        blocks.push(Block::Text(format!("Power of the two runs over the same records: {power}.")));
    }
    blocks
}

#[derive(Default)]
struct Sums<'a> {
    records: u64,
    same: u64,
    always: u64,
    sometimes: u64,
    /// Records by policy, and those that some runs accept.
    policies: BTreeMap<&'a str, (u64, u64)>,
}

impl<'a> Sums<'a> {
    fn add(&mut self, cases: &[&'a Case]) {
        let Some(first) = cases.first() else { return };
        let accepted = cases.iter().filter(|case| case.accepted).count();
        let is_split = accepted > 0 && accepted < cases.len();
        self.records += 1;
        self.same += u64::from(cases.iter().all(|case| case.status == first.status));
        self.always += u64::from(accepted == cases.len());
        self.sometimes += u64::from(is_split);
        let policy = self.policies.entry(&first.policy).or_default();
        policy.0 += 1;
        policy.1 += u64::from(is_split);
    }

    fn by_policy(&self) -> Titled {
        let mut sorted: Vec<_> = self.policies.iter().filter(|(_, (_, split))| *split > 0).collect();
        sorted.sort_by_key(|(policy, (_, split))| (std::cmp::Reverse(*split), **policy));
        let numbers = ["accepted in some runs", "records", "share"].map(|name| (name, Align::Right));
        let mut lines = Table::new(std::iter::once(("policy", Align::Left)).chain(numbers));
        for (policy, (records, split)) in sorted.into_iter().take(LINES) {
            let share = Proportion::new(*split, *records);
            lines.push([(*policy).to_owned(), thousands(*split), thousands(*records), percent(share.rate)]);
        }
        let title = format!(
            "The least stable policies (the first {}; n = {} records that some runs accept)",
            lines.rows().len(),
            thousands(self.sometimes)
        );
        Titled { title, table: lines }
    }
}
