//! The columns of what other scanners say of accepted repairs: two for each. Parts of earlier releases do not have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, RecordBatch};
use domain::outcome::{Outcome, ToolRescan};
use domain::scanner::Scanner;

use super::cells::{DecodeError, item, later, texts};
use crate::schema as col;

/// The column of that name, if it is one of these.
pub(super) fn column(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    let (scanner, cleared, _) =
        col::TOOL_RESCANS.into_iter().find(|(_, cleared, new)| [*cleared, *new].contains(&name))?;
    if name == cleared {
        let cleared = |row: &Outcome| row.tool_rescans.get(&scanner)?.cleared;
        return Some(Arc::new(rows.iter().map(cleared).collect::<BooleanArray>()));
    }
    let mut column = ListBuilder::new(StringBuilder::new()).with_field(item());
    for row in rows {
        let rescan = row.tool_rescans.get(&scanner);
        rescan.iter().flat_map(|rescan| &rescan.new).for_each(|check| column.values().append_value(check));
        column.append(rescan.is_some());
    }
    Some(Arc::new(column.finish()))
}

/// The columns of one batch.
pub(super) struct RescanColumns<'a>(Vec<(Scanner, Option<&'a BooleanArray>, Option<&'a ListArray>)>);

impl<'a> RescanColumns<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, DecodeError> {
        let of = |(scanner, cleared, new)| Ok((scanner, later(batch, cleared)?, later(batch, new)?));
        col::TOOL_RESCANS.into_iter().map(of).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn of_row(&self, row: usize) -> BTreeMap<Scanner, ToolRescan> {
        let of = |(scanner, cleared, new): &(Scanner, Option<&BooleanArray>, Option<&ListArray>)| {
            let new = new.filter(|column| column.is_valid(row))?;
            let cleared = cleared.filter(|column| column.is_valid(row)).map(|column| column.value(row));
            Some((*scanner, ToolRescan { cleared, new: texts(new, row) }))
        };
        self.0.iter().filter_map(of).collect()
    }
}
