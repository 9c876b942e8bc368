//! One hash over the results of a run: equal runs have equal fingerprints, independent of how rows are divided into parts,
//! batches and files, and of the order in which these are read.
//!
//! Every row is hashed by itself, over all columns of [`Role::Outcome`] (its position and id among them). The row hashes
//! are added up lane by lane: the sum equals that of the rows sorted by position without sorting them, in constant memory. Construction: `LtHash` ("A New Paradigm for Collision-Free Hashing: Incrementality at Reduced Cost",
//! EUROCRYPT 1997) with 1,024 lanes of 16 bits, drawn from BLAKE3 in its extendable-output mode.

mod compare;

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array,
};

use crate::scan::{DecodeError, Part, Problem, ScanError, batches};
use crate::schema::{COLUMNS, FORMAT_VERSION, Kind, Role};

pub use compare::{RowDifference, compare};

/// Lanes of 16 bits.
const LANES: usize = 1024;

/// The fingerprint of a run, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fingerprint of the rows of `parts`.
pub fn fingerprint(parts: impl IntoIterator<Item = Part>) -> Result<Fingerprint, ScanError> {
    let columns: Vec<&str> = outcome_columns().chain(later_columns()).map(|(name, _)| name).collect();
    let mut sum = Fingerprinter::new();
    for batch in batches(parts, Some(&columns)) {
        let (part, batch) = batch?;
        sum.add(&batch).map_err(|error| ScanError { part: part.name(), problem: Problem::Row(error) })?;
    }
    Ok(sum.finish())
}

fn outcome_columns() -> impl Iterator<Item = (&'static str, Kind)> {
    columns_of(Role::Outcome)
}

/// Columns that count where they are not null. Parts of earlier releases do not have them.
fn later_columns() -> impl Iterator<Item = (&'static str, Kind)> {
    columns_of(Role::LaterOutcome)
}

fn columns_of(role: Role) -> impl Iterator<Item = (&'static str, Kind)> {
    COLUMNS.iter().filter(move |(.., of)| *of == role).map(|&(name, kind, _)| (name, kind))
}

/// Takes record batches in any order.
#[derive(Debug, Clone)]
pub struct Fingerprinter {
    lanes: Box<[u16; LANES]>,
    rows: u64,
    /// The encoding of the row at hand.
    row: Vec<u8>,
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new()
    }
}

impl Fingerprinter {
    /// No rows.
    pub fn new() -> Self {
        Self { lanes: Box::new([0; LANES]), rows: 0, row: Vec::new() }
    }

    /// Adds the rows of `batch`, which must have the outcome columns of [`crate::schema`], in any order. Those that came
    /// later may be missing.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), DecodeError> {
        let cells = outcome_columns()
            .map(|(name, kind)| Cells::of(batch, name, kind).ok_or(DecodeError::Column(name)))
            .collect::<Result<Vec<_>, _>>()?;
        let later = later_columns()
            .filter(|(name, _)| batch.column_by_name(name).is_some())
            .map(|(name, kind)| Ok((name, Cells::of(batch, name, kind).ok_or(DecodeError::Column(name))?)))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.row.clear();
            for column in &cells {
                column.encode(row, &mut self.row);
            }
            for (name, column) in later.iter().filter(|(_, column)| !column.is_null(row)) {
                encode_text(name, &mut self.row);
                column.encode(row, &mut self.row);
            }
            self.add_row();
        }
        Ok(())
    }

    fn add_row(&mut self) {
        let mut stream = blake3::Hasher::new().update(&self.row).finalize_xof();
        let mut block = [0; 2 * LANES];
        stream.fill(&mut block);
        for (lane, bytes) in self.lanes.iter_mut().zip(block.as_chunks::<2>().0) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*bytes));
        }
        self.rows += 1;
    }

    /// The fingerprint of the rows so far.
    pub fn finish(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT_VERSION.to_le_bytes());
        for (name, _) in outcome_columns() {
            hasher.update(name.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&self.rows.to_le_bytes());
        for lane in self.lanes.iter() {
            hasher.update(&lane.to_le_bytes());
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

enum Cells<'a> {
    Text(&'a StringArray),
    TextList { lists: &'a ListArray, items: &'a StringArray },
    Bool(&'a BooleanArray),
    U32(&'a UInt32Array),
    U64(&'a UInt64Array),
    F64(&'a Float64Array),
}

impl<'a> Cells<'a> {
    fn of(batch: &'a RecordBatch, name: &str, kind: Kind) -> Option<Self> {
        let column = batch.column_by_name(name)?;
        Some(match kind {
            Kind::Text | Kind::TextOrNull => Self::Text(column.as_string_opt()?),
            Kind::TextList | Kind::TextListOrNull => {
                let lists = column.as_list_opt::<i32>()?;
                Self::TextList { lists, items: lists.values().as_string_opt()? }
            }
            Kind::Bool | Kind::BoolOrNull => Self::Bool(column.as_boolean_opt()?),
            Kind::U32 => Self::U32(column.as_primitive_opt::<UInt32Type>()?),
            Kind::U64 | Kind::U64OrNull => Self::U64(column.as_primitive_opt::<UInt64Type>()?),
            Kind::F64OrNull => Self::F64(column.as_primitive_opt::<Float64Type>()?),
            // Time is never part of an outcome.
            Kind::TimestampOrNull => return None,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(cells) => cells.is_null(row),
            Self::TextList { lists, .. } => lists.is_null(row),
            Self::Bool(cells) => cells.is_null(row),
            Self::U32(cells) => cells.is_null(row),
            Self::U64(cells) => cells.is_null(row),
            Self::F64(cells) => cells.is_null(row),
        }
    }

    /// Appends the cell so that no two different rows have the same bytes: a mark for null, lengths before texts.
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let null = self.is_null(row);
        out.push(u8::from(!null));
        if null {
            return;
        }
        match self {
            Self::Text(cells) => encode_text(cells.value(row), out),
            Self::TextList { lists, items } => {
                let range = match lists.value_offsets().get(row..row + 2) {
                    Some(&[from, upto]) => {
                        usize::try_from(from).unwrap_or(0)..usize::try_from(upto).unwrap_or(0)
                    }
                    _ => 0..0,
                };
                out.extend_from_slice(&(range.len() as u64).to_le_bytes());
                range.for_each(|item| encode_text(items.value(item), out));
            }
            Self::Bool(cells) => out.push(u8::from(cells.value(row))),
            Self::U32(cells) => out.extend_from_slice(&cells.value(row).to_le_bytes()),
            Self::U64(cells) => out.extend_from_slice(&cells.value(row).to_le_bytes()),
            Self::F64(cells) => out.extend_from_slice(&cells.value(row).to_bits().to_le_bytes()),
        }
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::api_server::{ServerAnswer, ServerAnswers, ServerClass};
    use domain::ids::{RunId, ShardIndex};
    use domain::outcome::Outcome;
    use proptest::prelude::*;

    use super::*;
    use crate::part::write_part;
    use crate::testing::{any_outcome, outcome};

    fn part(run: &str, rows: &[Outcome]) -> Part {
        write_part(&RunId::new(run).unwrap(), rows).unwrap().into()
    }

    fn of(rows: &[Outcome]) -> Fingerprint {
        fingerprint([part("r", rows)]).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn parts_and_order_do_not_matter(
            rows in prop::collection::vec(any_outcome(), 1..8),
            cut: prop::sample::Index,
            shuffled in Just(()).prop_perturb(|(), mut rng| rng.random::<u64>()),
        ) {
            let whole = of(&rows);
            let cut = cut.index(rows.len());
            let (left, right) = rows.split_at(cut);
            prop_assert_eq!(fingerprint([part("other", right), part("r", left)]).unwrap(), whole);
            let mut turned = rows.clone();
            turned.rotate_left(usize::try_from(shuffled % 8).unwrap() % rows.len());
            turned.reverse();
            prop_assert_eq!(of(&turned), whole);
        }

        #[test]
        fn a_lost_a_doubled_and_another_row_do_matter(rows in prop::collection::vec(any_outcome(), 1..5)) {
            let whole = of(&rows);
            prop_assert_ne!(of(&rows[1..]), whole);
            let mut doubled = rows.clone();
            doubled.push(rows[0].clone());
            prop_assert_ne!(of(&doubled), whole);
            let mut changed = rows.clone();
            changed[0].errors.push(String::new());
            prop_assert_ne!(of(&changed), whole);
            let mut changed = rows;
            changed[0].position ^= 1;
            prop_assert_ne!(of(&changed), whole);
        }
    }

    #[test]
    fn what_a_server_answered_matters_and_columns_without_it_do_not() {
        let rows = [outcome(0), outcome(1)];
        let run_id = RunId::new("r").unwrap();
        let batch = crate::rows::encode(&run_id, &rows).unwrap();
        let known: Vec<usize> = (0..batch.num_columns())
            .filter(|at| !crate::schema::LATER.contains(&batch.schema().field(*at).name().as_str()))
            .collect();
        let mut earlier = Fingerprinter::new();
        earlier.add(&batch.project(&known).unwrap()).unwrap();
        assert_eq!(earlier.finish(), of(&rows), "a part of an earlier release");
        let answers = |disagrees, class| ServerAnswers {
            version: "v1.37.2".to_owned(),
            before: None,
            after: Some(ServerAnswer { class, causes: Vec::new() }),
            warnings: Vec::new(),
            disagrees,
        };
        let with = |answers: ServerAnswers| {
            let mut rows = rows.clone();
            rows[1].server = Some(Arc::new(answers));
            of(&rows)
        };
        let accepted = with(answers(None, ServerClass::Accepted));
        assert_ne!(accepted, of(&rows));
        assert_ne!(accepted, with(answers(Some(false), ServerClass::Accepted)));
        assert_ne!(accepted, with(answers(None, ServerClass::Conflict)));
        let elsewhere =
            ServerAnswers { version: "v1.36.0".to_owned(), ..answers(None, ServerClass::Accepted) };
        assert_eq!(accepted, with(elsewhere), "another server that answered the same");
    }

    #[test]
    fn when_where_and_how_fast_do_not_matter() {
        let rows = [outcome(0), outcome(1)];
        let mut elsewhere = rows.clone();
        for row in &mut elsewhere {
            row.shard = ShardIndex(9);
            row.worker = "other".to_owned();
            row.attempt = 3;
            row.timing.total_ms = Some(7.0);
            row.timing.started_at_us = Some(1);
            row.usage.cache_hit = Some(true);
        }
        assert_eq!(of(&rows), of(&elsewhere));
        let mut moved = rows.clone();
        moved[0].errors = vec!["a".to_owned()];
        let mut other = rows.clone();
        other[0].new_violations = vec!["a".to_owned()];
        assert_ne!(of(&moved), of(&other), "the same text in another column");
        assert_ne!(of(&rows), of(&[]));
        assert_eq!(of(&rows).to_string().len(), 64);
    }
}
