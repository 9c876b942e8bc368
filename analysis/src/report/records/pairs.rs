//! Two runs side by side: a row for each record, with the outcome in either.

use std::collections::{BTreeSet, HashMap};

use super::columns::{Column, LETTERS, Records, columns, number_columns};
use super::row::Row;
use crate::load::cases::Case;
use crate::load::{AnalysisError, Results};
use crate::metrics::pairs::key;
use crate::report::run::Run;

/// What became of a record, first; then what it is, then the outcomes.
const WORDS: [&str; 14] = [
    "record",
    "change",
    "status before",
    "status after",
    "policy",
    "kind",
    "object",
    "gate before",
    "gate after",
    "fault before",
    "fault after",
    "reason before",
    "reason after",
    "manifest",
];

const NUMBERS: [(&str, usize); 6] = [
    ("operations before", 0),
    ("operations after", 0),
    ("time before, ms", 2),
    ("time after, ms", 2),
    ("tokens before", 0),
    ("tokens after", 0),
];

/// The change of a record whose outcome is the same in both runs.
const SAME: &str = "same";

/// Records are the same if id, policy and document are.
type Owned = (String, String, Option<String>);

#[derive(Default)]
struct Cells {
    words: [String; WORDS.len()],
    numbers: [Option<f64>; NUMBERS.len()],
}

pub(super) fn read(
    results: &Results,
    before: &Run,
    after: &Run,
    most: usize,
) -> Result<Records, AnalysisError> {
    let mut sides: HashMap<_, [Option<&Case>; 2]> = HashMap::new();
    for (side, run) in [before, after].into_iter().enumerate() {
        for case in &run.cases {
            if let Some(slot) = sides.entry(key(case)).or_default().get_mut(side) {
                *slot = Some(case);
            }
        }
    }
    let all = sides.len();
    let rank = |change: &str, is_accepted: bool| match (all > most, change) {
        (true, SAME) => 1 + u8::from(is_accepted),
        _ => 0,
    };
    let mut order: Vec<_> = sides
        .iter()
        .map(|(key, of)| {
            let change = change(*of);
            let case = of.iter().flatten().next();
            let is_accepted = of.iter().flatten().all(|case| case.accepted);
            (rank(change, is_accepted), case.map_or(0, |case| case.position), *key, change)
        })
        .collect();
    order.sort_unstable();
    order.truncate(most);
    let mut places: HashMap<Owned, usize> = HashMap::with_capacity(order.len());
    let mut rows: Vec<Cells> = vec![];
    for (_, _, (id, policy, document), change) in order {
        places.insert((id.to_owned(), policy.to_owned(), document.map(str::to_owned)), rows.len());
        let mut cells = Cells::default();
        let [_, cell, ..] = &mut cells.words;
        change.clone_into(cell);
        rows.push(cells);
    }
    let runs: BTreeSet<&str> = [before.id.as_str(), after.id.as_str()].into();
    results.each::<Row>(|row| {
        let of = (row.record.to_owned(), row.policy.to_owned(), row.document.map(str::to_owned));
        let cells = places.get(&of).and_then(|place| rows.get_mut(*place));
        if let Some(cells) = cells.filter(|_| runs.contains(row.run)) {
            cells.fill(&row, usize::from(row.run == after.id));
        }
    })?;
    let (words, numbers): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|cells| (cells.words, cells.numbers)).unzip();
    let columns: Vec<Column> = columns(&WORDS, &words).chain(number_columns(&NUMBERS, &numbers)).collect();
    Ok(Records::new(all, words.len(), true, columns))
}

impl Cells {
    /// Takes the cells of one side: 0 before, 1 after.
    fn fill(&mut self, row: &Row<'_>, side: usize) {
        let reason: String = row.errors.first().unwrap_or_default().chars().take(LETTERS).collect();
        let object = row.object();
        let words = [
            (0, row.record),
            (2 + side, row.status),
            (4, row.policy),
            (5, row.kind),
            (6, object.as_str()),
            (7 + side, row.gates.first_failed()),
            (9 + side, row.fault),
            (11 + side, reason.as_str()),
            (13, row.manifest),
        ];
        for (place, word) in words {
            if let Some(cell) = self.words.get_mut(place) {
                word.clone_into(cell);
            }
        }
        for (pair, number) in row.numbers().into_iter().enumerate() {
            if let Some(cell) = self.numbers.get_mut(2 * pair + side) {
                *cell = number;
            }
        }
    }
}

/// What became of a record from the first run to the second.
fn change([before, after]: [Option<&Case>; 2]) -> &'static str {
    match (before, after) {
        (Some(was), Some(now)) => match (was.accepted, now.accepted) {
            (true, false) => "lost",
            (false, true) => "gained",
            _ if was.status == now.status && was.fault == now.fault => SAME,
            _ => "other",
        },
        (Some(_), None) => "only before",
        _ => "only after",
    }
}
