//! Why calls gave no answer: counts by reason, of a bounded number.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::RunId;
use proto::convert::FAILURE_REASONS;
use rusqlite::{Connection, params};

use super::usage::{MOST, signed, unsigned};

/// Characters of a reason that are kept.
const EXAMPLE_CHARS: usize = 300;

/// Characters of a reason that tell it from others.
const LABEL_CHARS: usize = 100;

/// Stands for every reason beyond the bound.
const OTHERS: &str = "other reasons";

/// Calls without an answer, by reason: label, example and number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FailureCounts(pub(super) BTreeMap<String, (String, u64)>);

impl FailureCounts {
    /// Counts a call.
    pub(crate) fn add(&mut self, reason: &str) {
        // Not every store can hold a NUL in a text.
        let reason = reason.replace('\0', "\u{fffd}");
        let example: String = reason.chars().take(EXAMPLE_CHARS).collect();
        self.add_calls(label(&reason), example, 1);
    }

    fn add_calls(&mut self, label: String, example: String, calls: u64) {
        let is_new = !self.0.contains_key(&label);
        let (label, example) = if is_new && self.0.len() >= FAILURE_REASONS {
            (OTHERS.to_owned(), OTHERS.to_owned())
        } else {
            (label, example)
        };
        let (_, count) = self.0.entry(label).or_insert((example, 0));
        *count = count.saturating_add(calls);
    }

    /// The counts that are stored beside those of a run whose labels are `known`: what is above the bound goes to the rest.
    pub(super) fn beside(&self, mut known: BTreeSet<String>) -> Self {
        let mut stored = Self::default();
        for (label, (example, calls)) in &self.0 {
            let is_over = !known.contains(label) && known.len() >= FAILURE_REASONS;
            let (label, example) =
                if is_over { (OTHERS, OTHERS) } else { (label.as_str(), example.as_str()) };
            known.insert(label.to_owned());
            let (_, count) = stored.0.entry(label.to_owned()).or_insert_with(|| (example.to_owned(), 0));
            *count = count.saturating_add(*calls);
        }
        stored
    }

    /// The reasons, the most frequent first.
    pub(crate) fn listed(&self) -> Vec<(String, u64)> {
        let mut listed: Vec<_> = self.0.values().cloned().collect();
        listed.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        listed
    }
}

/// What tells reasons apart: their first words, without numbers and ids, which differ from call to call. The status stays.
fn label(reason: &str) -> String {
    let mut before = "";
    let words = reason.split_whitespace().map(|word| {
        let is_status = std::mem::replace(&mut before, word) == "answered";
        if !is_status && word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word }
    });
    let words: Vec<&str> = words.collect();
    words.join(" ").chars().take(LABEL_CHARS).collect()
}

/// Adds counts to those of a run.
pub(super) fn add(connection: &Connection, run_id: &RunId, counts: &FailureCounts) -> rusqlite::Result<()> {
    let mut labels = connection.prepare_cached("SELECT label FROM failures WHERE run_id = ?1")?;
    let known = labels.query_map([run_id.as_str()], |row| row.get(0))?;
    let mut write = connection.prepare_cached(
        "INSERT INTO failures VALUES (?1, ?2, ?3, ?4) ON CONFLICT (run_id, label) \
         DO UPDATE SET calls = min(calls + ?4, ?5)",
    )?;
    for (label, (example, calls)) in counts.beside(known.collect::<rusqlite::Result<_>>()?).0 {
        write.execute(params![run_id.as_str(), label, example, signed(calls).min(MOST), MOST])?;
    }
    Ok(())
}

/// Counts of a run.
pub(super) fn of(connection: &Connection, run_id: &RunId) -> rusqlite::Result<FailureCounts> {
    let mut statement =
        connection.prepare_cached("SELECT label, example, calls FROM failures WHERE run_id = ?1")?;
    let rows = statement
        .query_map([run_id.as_str()], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2).map(unsigned)?))))?;
    rows.collect::<rusqlite::Result<BTreeMap<_, _>>>().map(FailureCounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_alone_are_one() {
        let mut counts = FailureCounts::default();
        for requested in [9000, 12_000, 9000] {
            counts.add(&format!(
                "the provider answered 400: maximum context length is 4096 tokens, you requested {requested} tokens."
            ));
        }
        counts.add("the provider answered 503: upstream connect error");
        counts.add("the provider answered 502: upstream connect error");
        let listed = counts.listed();
        assert_eq!(listed[0].1, 3);
        assert!(listed[0].0.contains("requested 9000 tokens"), "the first stands for all: {listed:?}");
        assert_eq!(listed.len(), 3, "statuses are told apart");
    }

    #[test]
    fn the_number_of_reasons_is_bounded_and_no_call_is_lost() {
        let word = |number: u32| {
            let letter = |at: u32| char::from_u32('a' as u32 + at % 26).unwrap();
            format!("reason {}{}", letter(number / 26), letter(number))
        };
        let mut counts = FailureCounts::default();
        (0..500).for_each(|number| counts.add(&word(number)));
        let total = |counts: &FailureCounts| counts.listed().iter().map(|(_, calls)| calls).sum::<u64>();
        assert_eq!((counts.listed().len(), total(&counts)), (FAILURE_REASONS + 1, 500));
        assert_eq!(counts.listed()[0].0, OTHERS);
        counts.add(&"x".repeat(100_000));
        assert!(counts.listed().iter().all(|(reason, _)| reason.len() <= EXAMPLE_CHARS));
    }
}
