//! The table of records by columns: words with a dictionary, numbers with their decimals.

use std::collections::HashMap;

use cli_support::output::{Align, Table};
use serde_json::{Map, Value, json};

use crate::render::shown;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Records {
    /// Number of records in the results.
    pub(crate) all: usize,
    /// Number of records in the table.
    pub(crate) rows: usize,
    /// Whether each row has the outcomes of two runs.
    pub(crate) is_paired: bool,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
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

/// Maximum length of a cell in characters.
pub(super) const LETTERS: usize = 240;

impl Records {
    /// Without columns that have no information.
    pub(super) fn new(all: usize, rows: usize, is_paired: bool, mut columns: Vec<Column>) -> Self {
        columns.retain(|column| match &column.cells {
            Cells::Words(words, _) => column.name != "run" || words.len() > 1,
            Cells::Numbers(values, _) => values.iter().any(Option::is_some),
        });
        Self { all, rows, is_paired, columns }
    }

    /// The records as compact JSON.
    pub(in crate::report) fn json(&self) -> Value {
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

    pub(in crate::report) fn table(&self) -> Table {
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

/// Columns of words: a name for each place of the rows.
pub(super) fn columns<'a, const N: usize>(
    names: &'a [&'static str; N],
    rows: &'a [[String; N]],
) -> impl Iterator<Item = Column> + 'a {
    names.iter().copied().enumerate().map(|(place, name)| {
        let cells = rows.iter().map(|row| row.get(place).map_or("", String::as_str));
        Column { name, cells: dictionary(cells) }
    })
}

/// Columns of numbers, with their decimals.
pub(super) fn number_columns<'a, const N: usize>(
    names: &'a [(&'static str, usize); N],
    rows: &'a [[Option<f64>; N]],
) -> impl Iterator<Item = Column> + 'a {
    names.iter().copied().enumerate().map(|(place, (name, decimals))| {
        let cells = rows.iter().map(|row| row.get(place).copied().flatten()).collect();
        Column { name, cells: Cells::Numbers(cells, decimals) }
    })
}

/// A number rounded to `decimals`; an integer without a decimal point.
fn written(x: f64, decimals: usize) -> Value {
    let x = crate::stats::round(x, decimals);
    #[expect(clippy::cast_possible_truncation, reason = "a count, or a time in ms")]
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

fn dictionary<'a>(column: impl Iterator<Item = &'a str>) -> Cells {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut words = vec![];
    let codes = column.map(|word| {
        *places.entry(word).or_insert_with(|| {
            words.push(shown(word).chars().take(LETTERS).collect());
            words.len() - 1
        })
    });
    let codes = codes.collect();
    Cells::Words(words, codes)
}
