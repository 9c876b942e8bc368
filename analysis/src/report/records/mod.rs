//! The table of records of a report, stored by columns to be compact in the page. Of two runs over the same records a row has
//! both outcomes.

mod columns;
mod pairs;
mod row;

use std::collections::BTreeMap;

pub(crate) use columns::Records;

use self::columns::{columns, number_columns};
use super::run::Run;
use crate::load::{AnalysisError, Results};
use row::Row;

/// The columns of words.
const WORDS: [&str; 10] =
    ["run", "record", "status", "policy", "kind", "object", "gate", "fault", "reason", "manifest"];

/// The columns of numbers, with their decimals.
const NUMBERS: [(&str, usize); 3] = [("operations", 0), ("time, ms", 2), ("tokens", 0)];

/// Reads at most `most` records in corpus order. If there are more, those that were not accepted come first, and before
/// them those whose outcome differs between two runs.
pub(super) fn read(results: &Results, runs: &[Run], most: usize) -> Result<Records, AnalysisError> {
    match runs {
        [before, after] if before.has_corpus_of(after) => pairs::read(results, before, after, most),
        _ => of_rows(results, most),
    }
}

fn of_rows(results: &Results, most: usize) -> Result<Records, AnalysisError> {
    let all = results.count()?;
    let mut kept = BTreeMap::new();
    let mut index = 0_u64;
    results.each::<Row>(|row| {
        index += 1;
        let key = (all > most && row.accepted, row.position, row.run.to_owned(), index);
        if kept.len() < most || kept.last_key_value().is_some_and(|(last, _)| key < *last) {
            kept.insert(key, row.cells());
        }
        if kept.len() > most {
            kept.pop_last();
        }
    })?;
    let (words, numbers): (Vec<_>, Vec<_>) = kept.into_values().unzip();
    let columns = columns(&WORDS, &words).chain(number_columns(&NUMBERS, &numbers)).collect();
    Ok(Records::new(all, words.len(), false, columns))
}
