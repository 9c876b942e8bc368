//! The cells of a column as text, whatever its writer made of it.

use std::fmt::Display;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BinaryViewArray, StringViewArray};
use arrow_schema::DataType;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A text, or a number that stands for one.
    Id,
    /// A text.
    Text,
}

/// A column of a batch. Texts are views: a dictionary holds that of many rows once.
#[derive(Debug)]
pub(super) enum Cells {
    Text(StringViewArray),
    /// Text of writers that do not say that it is text.
    Bytes(BinaryViewArray),
}

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    NotUtf8(usize),
}

impl<'a> Cell<'a> {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) => text.len(),
            Self::NotUtf8(bytes) => bytes,
        }
    }

    pub(super) const fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Cells {
    /// `None`: the column holds neither texts nor what stands for them.
    pub(super) fn of(column: &dyn Array, role: Role) -> Option<Self> {
        if let Some(texts) = column.as_string_view_opt() {
            return Some(Self::Text(texts.clone()));
        }
        if let Some(bytes) = column.as_binary_view_opt() {
            return Some(Self::Bytes(bytes.clone()));
        }
        // What tables make of a column without a single value.
        if column.data_type() == &DataType::Null || column.null_count() == column.len() {
            return Some(Self::Text(StringViewArray::new_null(column.len())));
        }
        let numbers = floating::<Float64Type>(column).or_else(|| floating::<Float32Type>(column));
        let numbers = if role == Role::Id { numbers.or_else(|| whole_numbers(column)) } else { numbers };
        numbers.filter(|texts| role == Role::Id || texts.null_count() == texts.len()).map(Self::Text)
    }

    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Text(texts) if texts.is_valid(row) => Cell::Text(texts.value(row)),
            Self::Bytes(bytes) if bytes.is_valid(row) => {
                let bytes = bytes.value(row);
                std::str::from_utf8(bytes).map_or(Cell::NotUtf8(bytes.len()), Cell::Text)
            }
            Self::Text(_) | Self::Bytes(_) => Cell::Null,
        }
    }
}

fn whole_numbers(column: &dyn Array) -> Option<StringViewArray> {
    fn of<T: ArrowPrimitiveType<Native: Display>>(column: &dyn Array) -> Option<StringViewArray> {
        let numbers = column.as_primitive_opt::<T>()?;
        Some(numbers.iter().map(|number| number.map(|number| number.to_string())).collect())
    }
    of::<Int64Type>(column)
        .or_else(|| of::<UInt64Type>(column))
        .or_else(|| of::<Int32Type>(column))
        .or_else(|| of::<UInt32Type>(column))
        .or_else(|| of::<Int16Type>(column))
        .or_else(|| of::<UInt16Type>(column))
        .or_else(|| of::<Int8Type>(column))
        .or_else(|| of::<UInt8Type>(column))
}

/// Whole numbers become floating ones, and missing texts the number NaN, where a table has cells without a value.
fn floating<T: ArrowPrimitiveType<Native: Into<f64>>>(column: &dyn Array) -> Option<StringViewArray> {
    let text = |number: f64| {
        let is_whole = number.fract() == 0.0;
        (!number.is_nan()).then(|| if is_whole { format!("{number:.0}") } else { number.to_string() })
    };
    let numbers = column.as_primitive_opt::<T>()?;
    Some(numbers.iter().map(|number| text(number?.into())).collect())
}
