//! The columns that results must have, as Polars types.

use polars::prelude::*;
use results::schema::{COLUMNS, Kind};

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::TextOrNull => DataType::String,
        Kind::TextList => DataType::List(Box::new(DataType::String)),
        Kind::Bool | Kind::BoolOrNull => DataType::Boolean,
        Kind::U32 => DataType::UInt32,
        Kind::U64 | Kind::U64OrNull => DataType::UInt64,
        Kind::F64OrNull => DataType::Float64,
        Kind::TimestampOrNull => DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
    }
}

/// The schema of results.
pub(super) fn expected() -> Schema {
    COLUMNS.iter().map(|&(name, kind, _)| Field::new(name.into(), data_type(kind))).collect()
}

/// The deviations of a file's schema, in one line; `None` without any. Additional columns are allowed.
pub(super) fn problems(found: &Schema) -> Option<String> {
    let problems: Vec<String> = expected()
        .iter()
        .filter_map(|(name, wanted)| match found.get(name) {
            None => Some(format!("column {name:?} is missing")),
            Some(other) if other != wanted => Some(format!("column {name:?} is {other}, not {wanted}")),
            Some(_) => None,
        })
        .collect();
    if problems.is_empty() { None } else { Some(problems.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_schema_is_named_column_by_column() {
        assert_eq!(problems(&expected()), None);
        let mut schema = expected();
        schema.remove("patch").unwrap();
        schema.insert("accepted".into(), DataType::String);
        schema.insert("more".into(), DataType::String);
        assert_eq!(
            problems(&schema).unwrap(),
            "column \"patch\" is missing, column \"accepted\" is str, not bool"
        );
    }
}
