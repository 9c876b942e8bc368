//! The columns that results must have, compared with those of a file.

use std::fs::File;
use std::path::Path;

use arrow_schema::{DataType, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use results::scan::{Problem, ScanError};
use results::schema;

/// The schema of a Parquet file.
pub(super) fn found(path: &Path) -> Result<Schema, ScanError> {
    let read = || -> Result<Schema, Problem> {
        let metadata = ArrowReaderMetadata::load(&File::open(path)?, ArrowReaderOptions::default())?;
        Ok(metadata.schema().as_ref().clone())
    };
    read().map_err(|problem| ScanError { part: path.display().to_string(), problem })
}

/// The deviations of a file's schema, in one line; `None` without any. Additional columns are allowed, and those of later
/// releases may be missing.
pub(super) fn problems(found: &Schema) -> Option<String> {
    let expected = schema::outcomes();
    let problems: Vec<String> = expected
        .fields()
        .iter()
        .filter_map(|wanted| {
            let (name, wanted) = (wanted.name(), wanted.data_type());
            match found.field_with_name(name).ok().map(arrow_schema::Field::data_type) {
                None if schema::LATER.contains(&name.as_str()) => None,
                None => Some(format!("column {name:?} is missing")),
                Some(other) if !same(other, wanted) => {
                    Some(format!("column {name:?} is {other}, not {wanted}"))
                }
                Some(_) => None,
            }
        })
        .collect();
    if problems.is_empty() { None } else { Some(problems.join(", ")) }
}

/// Whether two types are equal, whatever the items of a list are called and whether they may be null.
fn same(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::List(found), DataType::List(wanted)) => found.data_type() == wanted.data_type(),
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn a_foreign_schema_is_named_column_by_column() {
        let ours = schema::outcomes();
        assert_eq!(problems(&ours), None);
        let earlier = ours.fields().iter().filter(|field| !schema::LATER.contains(&field.name().as_str()));
        assert_eq!(problems(&Schema::new(earlier.cloned().collect::<Vec<_>>())), None);
        let fields = ours.fields().iter().filter(|field| field.name() != "patch").map(|field| {
            let field = field.as_ref().clone();
            if field.name() == "accepted" { field.with_data_type(DataType::Utf8) } else { field }
        });
        let more = Field::new("more", DataType::Utf8, true);
        let schema = Schema::new(fields.chain([more]).collect::<Vec<_>>());
        assert_eq!(
            problems(&schema).unwrap(),
            "column \"patch\" is missing, column \"accepted\" is Utf8, not Boolean"
        );
    }
}
