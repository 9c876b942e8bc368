//! Which rows of two runs differ, and in which columns: those that count in the fingerprint.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use domain::outcome::Outcome;

use super::{Cells, later_columns, outcome_columns};
use crate::rows::decode;
use crate::scan::{DecodeError, Part, Problem, ScanError, batches};
use crate::schema::{Kind, POSITION};

/// A row that is not the same in both runs.
#[derive(Debug, Clone)]
pub struct RowDifference {
    /// Its place in the corpus.
    pub position: u64,
    /// The columns that differ, in the order of the schema; empty where one of the runs has no such row.
    pub columns: Vec<&'static str>,
    /// The row of the first run.
    pub first: Option<Outcome>,
    /// The row of the second run.
    pub second: Option<Outcome>,
}

/// Passes each row that differs between two runs to `each`, in the order of the corpus; returns how many positions were
/// compared. The parts of either run come in the order of the corpus. The columns in `without` are not compared.
///
/// # Errors
/// When a part cannot be read.
pub fn compare(
    first: Vec<Part>,
    second: Vec<Part>,
    without: &[&str],
    each: &mut dyn FnMut(RowDifference),
) -> Result<u64, ScanError> {
    let columns: Vec<(&'static str, Kind)> =
        outcome_columns().chain(later_columns()).filter(|(name, _)| !without.contains(name)).collect();
    let (mut first, mut second) = (Rows::of(first), Rows::of(second));
    let mut compared = 0;
    loop {
        let (one, other) = (first.position()?, second.position()?);
        let Some(position) = one.into_iter().chain(other).min() else { return Ok(compared) };
        compared += 1;
        let (one, other) = (one == Some(position), other == Some(position));
        let differing = if one && other { differing(&columns, &first, &second) } else { Vec::new() };
        if !(one && other && differing.is_empty()) {
            each(RowDifference {
                position,
                columns: differing,
                first: if one { first.outcome()? } else { None },
                second: if other { second.outcome()? } else { None },
            });
        }
        first.row += usize::from(one);
        second.row += usize::from(other);
    }
}

/// The columns in which the rows at hand differ. One that a batch does not have counts as null.
fn differing(columns: &[(&'static str, Kind)], first: &Rows, second: &Rows) -> Vec<&'static str> {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let differs = |(name, kind): &&(&'static str, Kind)| {
        one.clear();
        other.clear();
        first.encode(name, *kind, &mut one);
        second.encode(name, *kind, &mut other);
        one != other
    };
    columns.iter().filter(differs).map(|(name, _)| *name).collect()
}

/// The rows of a run, one after the other.
struct Rows {
    batches: Box<dyn Iterator<Item = Result<(Part, RecordBatch), ScanError>>>,
    /// The batch of the row at hand.
    batch: Option<(Part, RecordBatch)>,
    row: usize,
}

impl Rows {
    fn of(parts: Vec<Part>) -> Self {
        Self { batches: Box::new(batches(parts, None)), batch: None, row: 0 }
    }

    /// Position of the row at hand; `None` behind the last one.
    fn position(&mut self) -> Result<Option<u64>, ScanError> {
        while self.batch.as_ref().is_none_or(|(_, batch)| self.row >= batch.num_rows()) {
            let Some(next) = self.batches.next() else { return Ok(None) };
            self.batch = Some(next?);
            self.row = 0;
        }
        let Some((part, batch)) = &self.batch else { return Ok(None) };
        let positions =
            batch.column_by_name(POSITION).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        match positions {
            Some(positions) => Ok(Some(positions.value(self.row))),
            None => Err(ScanError { part: part.name(), problem: DecodeError::Column(POSITION).into() }),
        }
    }

    fn outcome(&self) -> Result<Option<Outcome>, ScanError> {
        let Some((part, batch)) = &self.batch else { return Ok(None) };
        let rows = decode(&batch.slice(self.row, 1));
        let rows = rows.map_err(|error| ScanError { part: part.name(), problem: Problem::Row(error) })?;
        Ok(rows.into_iter().next())
    }

    /// Appends the cell of the row at hand so that different cells have different bytes.
    fn encode(&self, name: &str, kind: Kind, out: &mut Vec<u8>) {
        let cells = self.batch.as_ref().and_then(|(_, batch)| Cells::of(batch, name, kind));
        match cells {
            Some(cells) => cells.encode(self.row, out),
            None => out.push(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{RunId, ShardIndex};
    use domain::outcome::Status;

    use super::*;
    use crate::part::write_part;
    use crate::testing::outcome;

    fn part(rows: &[Outcome]) -> Part {
        write_part(&RunId::new("r").unwrap(), rows).unwrap().into()
    }

    fn found(first: Vec<Part>, second: Vec<Part>) -> (u64, Vec<RowDifference>) {
        let mut found = Vec::new();
        let compared = compare(first, second, &[], &mut |difference| found.push(difference)).unwrap();
        (compared, found)
    }

    #[test]
    fn rows_that_count_the_same_do_not_differ_however_they_are_cut() {
        let rows: Vec<Outcome> = (0..5).map(outcome).collect();
        let mut elsewhere = rows.clone();
        for row in &mut elsewhere {
            row.shard = ShardIndex(9);
            row.worker = "other".to_owned();
        }
        let (left, right) = elsewhere.split_at(2);
        let (compared, found) = found(vec![part(&rows)], vec![part(left), part(right)]);
        assert_eq!((compared, found.len()), (5, 0));
    }

    #[test]
    fn a_changed_and_a_lost_row_are_named() {
        let rows: Vec<Outcome> = (0..4).map(outcome).collect();
        let mut changed = rows.clone();
        changed[1].errors.push("worse".to_owned());
        changed[1].kind.push('x');
        changed.remove(3);
        let (compared, found) = found(vec![part(&rows)], vec![part(&changed)]);
        assert_eq!((compared, found.len()), (4, 2));
        assert_eq!((found[0].position, found[0].columns.as_slice()), (1, &["kind", "errors"][..]));
        let second = found[0].second.as_ref().unwrap();
        assert_eq!((second.record_id.clone(), second.status), (rows[1].record_id.clone(), rows[1].status));
        assert!(Status::ALL.contains(&second.status));
        assert_eq!(found[1].position, 3);
        assert!(found[1].columns.is_empty() && found[1].second.is_none() && found[1].first.is_some());
    }

    #[test]
    fn columns_may_be_left_out() {
        let rows = [outcome(0)];
        let mut changed = rows.clone();
        changed[0].kind.push('x');
        let mut count = 0;
        compare(vec![part(&rows)], vec![part(&changed)], &["kind"], &mut |_| count += 1).unwrap();
        assert_eq!(count, 0);
    }
}
