//! SQL queries over the rows of results, run by Polars.
//!
//! *Never*: changes data. Statements other than queries are refused before they run.

use cli_support::output::{Align, Table};
use polars::prelude::*;
use polars::sql::SQLContext;
use serde_json::{Map, Number, Value, json};

use crate::load::AnalysisError;
use crate::load::Results;
use crate::render::Figures;

/// The name of the table of rows.
pub(crate) const TABLE: &str = "outcomes";

/// First keywords of queries.
const QUESTIONS: [&str; 6] = ["select", "with", "from", "values", "show", "explain"];

/// An error of running a query.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    #[error(transparent)]
    Results(#[from] AnalysisError),
    /// The statement is not a query.
    #[error("a statement that begins with {word:?} is not a query: only {} are allowed", QUESTIONS.join(", "))]
    Changes { word: String },
    #[error("cannot run the query")]
    Refused(#[from] PolarsError),
}

/// Runs one query. The rows are the table `outcomes`. Fails if a record occurs twice.
pub(crate) fn ask(results: &Results, statement: &str) -> Result<Figures, SqlError> {
    let word: String = statement
        .trim_start_matches([' ', '\t', '\n', '('])
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    if !QUESTIONS.contains(&word.to_ascii_lowercase().as_str()) {
        return Err(SqlError::Changes { word });
    }
    results.refuse_repeats()?;
    let mut context = SQLContext::new();
    context.register(TABLE, results.frame());
    let answer = context.execute(statement)?.collect()?;
    Ok(figures(&answer)?)
}

fn figures(answer: &DataFrame) -> PolarsResult<Figures> {
    let columns = answer.columns();
    let align =
        |column: &Column| if column.dtype().is_primitive_numeric() { Align::Right } else { Align::Left };
    let mut table = Table::new(columns.iter().map(|column| (column.name().to_string(), align(column))));
    let mut rows = vec![];
    for row in 0..answer.height() {
        let mut entry = Map::new();
        let mut cells = vec![];
        for column in columns {
            let value = value(&column.get(row)?);
            cells.push(match &value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            entry.insert(column.name().to_string(), value);
        }
        table.push(cells);
        rows.push(Value::Object(entry));
    }
    let title = format!("Result (n = {} rows)", rows.len());
    Ok(Figures::new(json!(rows)).with(title, table))
}

/// A cell as JSON; non-finite numbers become null.
fn value(cell: &AnyValue<'_>) -> Value {
    match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(yes) => json!(yes),
        AnyValue::List(items) => items.iter().map(|item| value(&item)).collect(),
        cell if cell.is_float() => {
            let number = cell.try_extract::<f64>().ok().and_then(Number::from_f64);
            number.map_or(Value::Null, Value::Number)
        }
        cell if cell.is_unsigned_integer() => cell.try_extract::<u64>().map_or(Value::Null, |x| json!(x)),
        cell if cell.is_signed_integer() => cell.try_extract::<i64>().map_or(Value::Null, |x| json!(x)),
        cell => match cell.get_str() {
            Some(text) => json!(text),
            None => json!(cell.to_string()),
        },
    }
}
