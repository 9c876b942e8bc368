//! Cells of a batch, typed, and what is wrong with one.

use std::sync::Arc;

use arrow_array::{Array, Float64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};

/// Why a row is not an outcome.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum DecodeError {
    /// A column is missing or has another type.
    #[error("column {0} is missing or has another type")]
    Column(&'static str),
    /// A cell holds what its column cannot mean.
    #[error("column {column}: {text:?} is not legal")]
    Cell { column: &'static str, text: String },
}

/// A column that parts of earlier releases do not have.
pub(super) fn later<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<Option<&'a A>, DecodeError> {
    batch.column_by_name(name).map(|_| typed(batch, name)).transpose()
}

pub(super) fn typed<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a A, DecodeError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<A>())
        .ok_or(DecodeError::Column(name))
}

pub(super) fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

pub(super) fn number(column: &Float64Array, row: usize) -> Option<f64> {
    column.is_valid(row).then(|| column.value(row))
}

pub(super) fn texts(column: &ListArray, row: usize) -> Vec<String> {
    let items = column.value(row);
    let Some(items) = items.as_any().downcast_ref::<StringArray>() else { return Vec::new() };
    items.iter().flatten().map(str::to_owned).collect()
}

pub(super) fn word<T>(
    column: &'static str,
    text: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, DecodeError> {
    parse(text).ok_or_else(|| illegal(column, text))
}

pub(super) fn illegal(column: &'static str, text: &str) -> DecodeError {
    DecodeError::Cell { column, text: text.chars().take(80).collect() }
}

/// What the lists of columns hold.
pub(super) fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Utf8, false))
}
