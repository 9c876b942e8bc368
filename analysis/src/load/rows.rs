//! Rows of Parquet parts as typed values. A query declares with [`rows!`] the columns that it reads; only these are
//! decoded.
//!
//! *Invariant*: non-finite timings and prices read as not measured.

use std::ops::Range;

use arrow_array::{
    Array, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use domain::outcome::{Gate, Status};
use results::scan::DecodeError;
use results::schema;

/// The rows that a query reads; [`rows!`] implements it.
pub(crate) trait Rows {
    /// One row.
    type Row<'a>;
    /// The columns that it reads.
    fn columns() -> Vec<&'static str>;
    /// Visits the rows of a batch for whose index `wanted` is true.
    fn visit(
        batch: &RecordBatch,
        wanted: impl Fn(usize) -> bool,
        visit: &mut impl FnMut(Self::Row<'_>),
    ) -> Result<(), DecodeError>;
}

/// Declares a row: each field with its type, a [`Cell`], and the columns from which it is read.
macro_rules! rows {
    ($(#[$doc:meta])* $sight:vis struct $name:ident<$life:lifetime> {
        $($(#[$note:meta])* $field:ident: $cell:ty = $columns:expr,)*
    }) => {
        $(#[$doc])*
        $sight struct $name<$life> { $($(#[$note])* $sight $field: $cell,)* }

        impl $crate::load::rows::Rows for $name<'static> {
            type Row<$life> = $name<$life>;

            fn columns() -> Vec<&'static str> {
                let mut columns = vec![];
                $(columns.extend($columns);)*
                columns
            }

            fn visit<$life>(
                batch: &$life arrow_array::RecordBatch,
                wanted: impl Fn(usize) -> bool,
                visit: &mut impl FnMut(Self::Row<'_>),
            ) -> Result<(), results::scan::DecodeError> {
                use $crate::load::rows::Cell;
                $(let $field = <$cell as Cell<$life>>::open(batch, &$columns)?;)*
                for row in (0..batch.num_rows()).filter(|row| wanted(*row)) {
                    visit($name { $($field: Cell::at(&$field, row),)* });
                }
                Ok(())
            }
        }
    };
}
pub(crate) use rows;

/// A value of a row, read from one column or several.
pub(crate) trait Cell<'a>: Sized {
    /// The columns of a batch, typed.
    type Column;
    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError>;
    fn at(column: &Self::Column, row: usize) -> Self;
}

fn column<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    names: &[&'static str],
) -> Result<&'a A, DecodeError> {
    let name = names.first().copied().unwrap_or_default();
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or(DecodeError::Column(name))
}

/// Cells of a column of one Arrow type; `None` for null.
macro_rules! cells {
    ($($cell:ty: $array:ident,)*) => {$(
        impl<'a> Cell<'a> for Option<$cell> {
            type Column = &'a $array;

            fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
                column(batch, names)
            }

            fn at(column: &Self::Column, row: usize) -> Self {
                column.is_valid(row).then(|| column.value(row))
            }
        }

        /// Null reads as the default.
        impl<'a> Cell<'a> for $cell {
            type Column = &'a $array;

            fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
                column(batch, names)
            }

            fn at(column: &Self::Column, row: usize) -> Self {
                <Option<$cell>>::at(column, row).unwrap_or_default()
            }
        }
    )*};
}

cells! {
    &'a str: StringArray,
    bool: BooleanArray,
    u32: UInt32Array,
    u64: UInt64Array,
}

/// A timing or price; `None` for null and for non-finite numbers.
impl<'a> Cell<'a> for Option<f64> {
    type Column = &'a Float64Array;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        column(batch, names)
    }

    fn at(column: &Self::Column, row: usize) -> Self {
        column.is_valid(row).then(|| column.value(row)).filter(|value| value.is_finite())
    }
}

/// One cell for each of several columns.
impl<'a, C: Cell<'a>, const N: usize> Cell<'a> for [C; N] {
    type Column = [C::Column; N];

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        let columns = names.iter().map(|name| C::open(batch, &[*name])).collect::<Result<Vec<_>, _>>()?;
        columns.try_into().map_err(|_| DecodeError::Column("of a row"))
    }

    fn at(column: &Self::Column, row: usize) -> Self {
        column.each_ref().map(|column| C::at(column, row))
    }
}

/// Whether a cell is not null.
pub(crate) struct Present(pub(crate) bool);

impl<'a> Cell<'a> for Present {
    type Column = &'a dyn Array;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        let name = names.first().copied().unwrap_or_default();
        let column = batch.column_by_name(name).map(|column| &**column);
        column.ok_or(DecodeError::Column(name))
    }

    fn at(column: &Self::Column, row: usize) -> Self {
        Self(column.is_valid(row))
    }
}

/// How many of several numbers are not finite.
pub(crate) struct NotFinite(pub(crate) u64);

impl<'a> Cell<'a> for NotFinite {
    type Column = Vec<&'a Float64Array>;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        names.iter().map(|name| column(batch, &[*name])).collect()
    }

    fn at(columns: &Self::Column, row: usize) -> Self {
        let bad = |column: &&&Float64Array| column.is_valid(row) && !column.value(row).is_finite();
        Self(columns.iter().filter(bad).count() as u64)
    }
}

/// A list of texts.
pub(crate) struct Texts<'a> {
    values: &'a StringArray,
    range: Range<usize>,
}

impl<'a> Texts<'a> {
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let values = self.values;
        self.range.clone().map(|index| values.value(index))
    }

    pub(crate) fn first(&self) -> Option<&'a str> {
        self.iter().next()
    }
}

impl<'a> Cell<'a> for Texts<'a> {
    type Column = (&'a ListArray, &'a StringArray);

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        let lists: &ListArray = column(batch, names)?;
        let values = lists.values().as_any().downcast_ref();
        let name = names.first().copied().unwrap_or_default();
        Ok((lists, values.ok_or(DecodeError::Column(name))?))
    }

    fn at((lists, values): &Self::Column, row: usize) -> Self {
        let place = |index: usize| {
            lists.value_offsets().get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0)
        };
        Self { values, range: place(row)..place(row + 1) }
    }
}

/// `None`: the list is null.
impl<'a> Cell<'a> for Option<Texts<'a>> {
    type Column = <Texts<'a> as Cell<'a>>::Column;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        Texts::open(batch, names)
    }

    fn at(columns: &Self::Column, row: usize) -> Self {
        columns.0.is_valid(row).then(|| Texts::at(columns, row))
    }
}

/// A cell of a column that parts of earlier releases lack; the default there.
pub(crate) struct Later<C>(pub(crate) C);

impl<'a, C: Cell<'a> + Default> Cell<'a> for Later<C> {
    type Column = Option<C::Column>;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        let lacks = names.iter().any(|name| batch.column_by_name(name).is_none());
        if lacks { Ok(None) } else { C::open(batch, names).map(Some) }
    }

    fn at(column: &Self::Column, row: usize) -> Self {
        Self(column.as_ref().map(|column| C::at(column, row)).unwrap_or_default())
    }
}

/// The verdicts of the gates; `None`: the gate did not run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gates {
    pub(crate) apply: Option<bool>,
    pub(crate) policy: Option<bool>,
    pub(crate) safety: Option<bool>,
    /// The schema gate on the original document.
    pub(crate) schema_before: Option<bool>,
    pub(crate) schema: Option<bool>,
    pub(crate) rescan: Option<bool>,
}

impl Gates {
    pub(crate) const NOT_RUN: Self =
        Self { apply: None, policy: None, safety: None, schema_before: None, schema: None, rescan: None };

    /// Their columns.
    pub(crate) const COLUMNS: [&str; 6] = [
        schema::OK_APPLY,
        schema::OK_POLICY,
        schema::OK_SAFETY,
        schema::SCHEMA_BEFORE,
        schema::OK_SCHEMA,
        schema::OK_RESCAN,
    ];

    /// The verdicts with the names of the gates, in the order they run.
    pub(crate) fn each(self) -> [(&'static str, Option<bool>); 6] {
        [
            (Gate::Apply.as_str(), self.apply),
            (Gate::Policy.as_str(), self.policy),
            (Gate::Safety.as_str(), self.safety),
            ("schema_before", self.schema_before),
            (Gate::Schema.as_str(), self.schema),
            (Gate::Rescan.as_str(), self.rescan),
        ]
    }

    /// Whether a record of this status was judged: at least one gate ran on its repair or its document, so the paper's
    /// code would have written a verdict. Records that need review, need no repair, could not be processed or got no
    /// proposal were not judged.
    pub(crate) fn judged(self, status: &str) -> bool {
        let ran = || self.each().iter().any(|(_, verdict)| verdict.is_some());
        status == Status::Accepted.as_str() || (status == Status::Rejected.as_str() && ran())
    }

    /// The first gate that failed; empty when none did. A document that was invalid before fails the schema gate
    /// afterwards as well; `schema_before` is used only where the check afterwards did not run.
    pub(crate) fn first_failed(self) -> &'static str {
        let before = ("schema_before", self.schema_before);
        let after = self.each().into_iter().filter(|(name, _)| *name != before.0);
        after.chain([before]).find(|(_, verdict)| *verdict == Some(false)).map_or("", |(name, _)| name)
    }
}

impl<'a> Cell<'a> for Gates {
    type Column = <[Option<bool>; 6] as Cell<'a>>::Column;

    fn open(batch: &'a RecordBatch, names: &[&'static str]) -> Result<Self::Column, DecodeError> {
        <[Option<bool>; 6]>::open(batch, names)
    }

    fn at(columns: &Self::Column, row: usize) -> Self {
        let [apply, policy, safety, schema_before, schema, rescan] = <[Option<bool>; 6]>::at(columns, row);
        Self { apply, policy, safety, schema_before, schema, rescan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_RUN: Gates = Gates::NOT_RUN;

    #[test]
    fn a_rejected_record_without_a_verdict_was_not_judged() {
        assert!(NOT_RUN.judged("accepted") && !NOT_RUN.judged("rejected"));
        let ran = Gates { schema_before: Some(true), ..NOT_RUN };
        assert!(ran.judged("rejected") && !ran.judged("needs_review") && !ran.judged("error"));
    }

    #[test]
    fn the_document_is_named_only_where_the_check_afterwards_did_not_run() {
        assert_eq!(NOT_RUN.first_failed(), "");
        let before = Gates { apply: Some(true), schema_before: Some(false), ..NOT_RUN };
        assert_eq!(before.first_failed(), "schema_before");
        assert_eq!(Gates { schema: Some(false), ..before }.first_failed(), "schema");
        assert_eq!(Gates { rescan: Some(false), policy: Some(false), ..before }.first_failed(), "policy");
    }
}
