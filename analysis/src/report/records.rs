//! The table of records of a report, stored by columns to be compact in the page.

use std::collections::HashMap;

use cli_support::output::{Align, Table};
use polars::prelude::*;
use results::schema;
use serde_json::{Map, Value, json};

use crate::load::AnalysisError;
use crate::load::Results;
use crate::metrics::failures::first_failed_gate;
use crate::render::shown;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Records {
    /// Number of records in the results.
    pub(crate) all: usize,
    /// Number of records in the table.
    pub(crate) rows: usize,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: &'static str,
    cells: Cells,
}

#[derive(Debug, Clone, PartialEq)]
enum Cells {
    /// A dictionary, and the index of each row's word.
    Words(Vec<String>, Vec<usize>),
    /// Numbers, and their number of decimals.
    Numbers(Vec<Option<f64>>, usize),
}

/// Name and expression of the columns of words.
fn words() -> Vec<(&'static str, Expr)> {
    let object = when(col(schema::NAMESPACE).eq(lit("")))
        .then(col(schema::NAME))
        .otherwise(col(schema::NAMESPACE) + lit("/") + col(schema::NAME));
    vec![
        ("run", col(schema::RUN_ID)),
        ("record", col(schema::RECORD_ID)),
        ("status", col(schema::STATUS)),
        ("policy", col(schema::POLICY_ID)),
        ("kind", col(schema::KIND)),
        ("object", object),
        ("gate", first_failed_gate()),
        ("fault", col(schema::FAULT)),
        ("reason", col(schema::ERRORS).list().first()),
        ("manifest", col(schema::MANIFEST_PATH)),
    ]
}

/// Name, expression and decimals of the columns of numbers.
fn numbers() -> Vec<(&'static str, Expr, usize)> {
    let real = |expr: Expr| expr.cast(DataType::Float64);
    let ops = when(col(schema::PATCH).is_not_null()).then(col(schema::PATCH_OPS)).otherwise(lit(NULL));
    vec![
        ("operations", real(ops), 0),
        ("time, ms", real(col(schema::TOTAL_MS)), 2),
        ("tokens", real(col(schema::TOTAL_TOKENS)), 0),
    ]
}

/// Maximum length of a cell in characters.
const LETTERS: usize = 240;

impl Records {
    /// Reads at most `most` records in corpus order. If there are more, those that were not accepted come first.
    pub(super) fn read(results: &Results, most: usize) -> Result<Self, AnalysisError> {
        let all = results.frame().select([len()]).collect()?;
        let all = all.column("len")?.get(0)?.try_extract::<usize>()?;
        let mut columns: Vec<Expr> = words().into_iter().map(|(name, expr)| expr.alias(name)).collect();
        columns.extend(numbers().into_iter().map(|(name, expr, _)| expr.alias(name)));
        let mut order = vec![schema::POSITION, schema::RUN_ID];
        if all > most {
            order.insert(0, schema::ACCEPTED);
        }
        let rows = u32::try_from(most).unwrap_or(u32::MAX);
        let frame = results
            .frame()
            .sort(order, SortMultipleOptions::default())
            .limit(rows)
            .select(columns)
            .collect()?;
        let mut columns = vec![];
        for (name, _) in words() {
            columns.push(Column { name, cells: dictionary(frame.column(name)?.str()?) });
        }
        for (name, _, decimals) in numbers() {
            let cells = frame.column(name)?.f64()?.iter().collect();
            columns.push(Column { name, cells: Cells::Numbers(cells, decimals) });
        }
        // Columns without information are left out.
        columns.retain(|column| match &column.cells {
            Cells::Words(words, _) => column.name != "run" || words.len() > 1,
            Cells::Numbers(values, _) => values.iter().any(Option::is_some),
        });
        Ok(Self { all, rows: frame.height(), columns })
    }

    /// The records as compact JSON.
    pub(super) fn json(&self) -> Value {
        let columns = self.columns.iter().map(|column| {
            let mut entry = Map::new();
            entry.insert("name".to_owned(), json!(column.name));
            match &column.cells {
                Cells::Words(words, codes) => {
                    entry.insert("words".to_owned(), json!(words));
                    entry.insert("codes".to_owned(), json!(codes));
                }
                Cells::Numbers(values, decimals) => {
                    let short = values.iter().map(|value| value.map(|x| written(x, *decimals)));
                    entry.insert("decimals".to_owned(), json!(decimals));
                    entry.insert("values".to_owned(), short.collect());
                }
            }
            Value::Object(entry)
        });
        json!({"rows": self.rows, "columns": columns.collect::<Vec<_>>()})
    }

    pub(super) fn table(&self) -> Table {
        let align =
            |cells: &Cells| if matches!(cells, Cells::Words(..)) { Align::Left } else { Align::Right };
        let mut table = Table::new(self.columns.iter().map(|column| (column.name, align(&column.cells))));
        for row in 0..self.rows {
            table.push(self.columns.iter().map(|column| match &column.cells {
                Cells::Words(words, codes) => {
                    codes.get(row).and_then(|code| words.get(*code)).cloned().unwrap_or_default()
                }
                Cells::Numbers(values, decimals) => {
                    values.get(row).copied().flatten().map_or_else(String::new, |x| format!("{x:.decimals$}"))
                }
            }));
        }
        table
    }
}

/// A number rounded to `decimals`; an integer without a decimal point.
fn written(x: f64, decimals: usize) -> Value {
    let x = crate::stats::round(x, decimals);
    #[expect(clippy::cast_possible_truncation, reason = "a count, or a time in ms")]
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

fn dictionary(column: &StringChunked) -> Cells {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut words = vec![];
    let codes = column.iter().map(|word| {
        let word = word.unwrap_or_default();
        *places.entry(word).or_insert_with(|| {
            words.push(shown(word).chars().take(LETTERS).collect());
            words.len() - 1
        })
    });
    let codes = codes.collect();
    Cells::Words(words, codes)
}
