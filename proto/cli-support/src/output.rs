//! Data for stdout: text tables, JSON, CSV.
//!
//! *Invariant*: characters from inputs that act on a terminal or in a spreadsheet are escaped ([`crate::escape`]).

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};
use serde_json::Value;

use crate::env;
use crate::escape;
pub use crate::escape::visible;
use crate::layout::{self, Need};

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    #[default]
    Text,
    /// One JSON value.
    Json,
    /// Comma-separated values, RFC 4180, with a header.
    Csv,
}

/// A line under the header, and nothing else to look past.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// On which side a column's cells stand in a text table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header, ready to be printed as text or CSV.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = (S, Align)>) -> Self {
        Self { header: header.into_iter().map(|(name, align)| (name.into(), align)).collect(), rows: vec![] }
    }

    /// Adds a row. Missing cells are empty, cells beyond the header are dropped.
    pub fn push<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// The columns, left to right.
    pub fn header(&self) -> &[(String, Align)] {
        &self.header
    }

    /// The rows, each as long as the header.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table for people, at most `width` columns wide (`None`: unlimited). Cells that do not fit are broken between words;
    /// where words would have to be broken, columns stand below the others, with the first column again.
    pub fn text(&self, width: Option<u16>) -> String {
        let all = || (0..self.header.len()).map(|column| (column, usize::MAX)).collect();
        let Some(width) = width else { return self.part(&all(), None) };
        let needs: Vec<Need> = (0..self.header.len()).map(|column| self.need(column, width)).collect();
        let parts = layout::parts(&needs, usize::from(width));
        parts.iter().map(|part| self.part(part, Some(width))).collect::<Vec<_>>().join("\n")
    }

    /// What a column needs. A figure is not broken; of a word, what is longer than a quarter of the table may be, of a figure
    /// a half.
    fn need(&self, column: usize, width: u16) -> Need {
        let longest_word = |text: &str| text.split_whitespace().map(length).max().unwrap_or(0);
        let most = usize::from(width) / 4;
        let Some((name, align)) = self.header.get(column) else { return Need { natural: 0, least: 0 } };
        let mut need = Need { natural: length(name), least: longest_word(name).min(most) };
        for cell in self.rows.iter().filter_map(|row| row.get(column)) {
            // The first column stands beside every other one.
            let is_figure = *align == Align::Right && column > 0;
            let least = if is_figure { length(cell).min(2 * most) } else { longest_word(cell).min(most) };
            need.natural = need.natural.max(length(cell));
            need.least = need.least.max(least);
        }
        Need { least: need.least.max(1).min(need.natural.max(1)), ..need }
    }

    /// Some of the columns, each with its width.
    fn part(&self, columns: &layout::Part, width: Option<u16>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        let of = |cells: &[String]| -> Vec<String> {
            let cells = columns.iter().filter_map(|(column, _)| cells.get(*column));
            cells.map(|cell| visible(cell).into_owned()).collect()
        };
        let names: Vec<String> = self.header.iter().map(|(name, _)| name.clone()).collect();
        table.set_header(of(&names));
        for row in &self.rows {
            table.add_row(of(row));
        }
        for (column, (at, given)) in table.column_iter_mut().zip(columns) {
            if self.header.get(*at).is_some_and(|(_, align)| *align == Align::Right) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if width.is_some() {
                // With the blank on either side.
                let given = u16::try_from(given + 2).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(given)));
            }
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        text
    }

    /// The table without as many of the `least` columns, in their order, as have to go for it to fit `width` without breaking a
    /// cell; and the names of those that went.
    pub fn fitted<'l>(&self, width: Option<u16>, least: &[&'l str]) -> (Self, Vec<&'l str>) {
        let mut table = self.clone();
        let mut gone = Vec::new();
        let Some(width) = width.map(usize::from) else { return (table, gone) };
        for name in least {
            let widest = table.text(None).lines().map(|line| line.chars().count()).max().unwrap_or(0);
            if widest <= width {
                break;
            }
            let Some(at) = table.header.iter().position(|(column, _)| column == name) else { continue };
            table.header.remove(at);
            for row in &mut table.rows {
                row.remove(at);
            }
            gone.push(*name);
        }
        (table, gone)
    }

    /// The table as CSV, lines ended by a line feed; no cell is a formula ([`escape::cell`]).
    pub fn csv(&self) -> String {
        let mut text = String::new();
        csv_line(&mut text, self.header.iter().map(|(name, _)| name.as_str()));
        for row in &self.rows {
            csv_line(&mut text, row.iter().map(String::as_str));
        }
        text
    }
}

/// Characters of a text on a terminal, at most.
fn length(text: &str) -> usize {
    visible(text).chars().count()
}

fn csv_line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        let cell = escape::cell(cell);
        if cell.contains([',', '"', '\n']) {
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}

/// A JSON value as text, indented, with a line feed at its end.
pub fn json(value: &Value) -> String {
    // The alternate form of a `Value` is indented and cannot fail.
    format!("{}\n", escape::json(&format!("{value:#}")))
}

/// A JSON value on one line, with a line feed at its end.
pub fn json_line(value: &Value) -> String {
    format!("{}\n", escape::json(&value.to_string()))
}

/// Writes `text` to stdout; of what acts on a terminal, colours and ends of lines alone ([`escape::laid_out`]). The error
/// of a closed pipe is for [`crate::failure::finish`] to judge.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(escape::laid_out(text).as_bytes())?;
    stdout.flush()
}

/// Replaces the last `lines` lines of a terminal on stdout by `text`.
pub fn redraw(lines: usize, text: &str) -> io::Result<()> {
    if lines > 0 {
        // To the first of these lines, and clear everything below.
        io::stdout().lock().write_all(format!("\u{1b}[{lines}A\u{1b}[J").as_bytes())?;
    }
    print(text)
}

/// Writes a line of talk to stderr. A closed stderr is ignored.
pub fn say(line: &str) {
    crate::progress::aside(|| {
        let _ = writeln!(io::stderr().lock(), "{}", visible(line));
    });
}

/// The width of the terminal on stdout; `None` when stdout is not a terminal.
pub fn stdout_width() -> Option<u16> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.max(40))
}

/// Colours for one stream: they do nothing where they are not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    /// For text on stdout.
    pub fn stdout() -> Self {
        Self { enabled: colour_wanted(io::stdout().is_terminal(), &env::process) }
    }

    /// For text on stderr.
    pub fn stderr() -> Self {
        Self { enabled: colour_wanted(io::stderr().is_terminal(), &env::process) }
    }

    /// Without any colour.
    pub const PLAIN: Self = Self { enabled: false };

    /// Whether colours are sent.
    pub const fn is_enabled(self) -> bool {
        self.enabled
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.enabled { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Something that stands out: a heading, a figure.
    pub fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Something good.
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something bad.
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Something to look at.
    pub fn notable(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something of less weight.
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

/// Colour is for terminals that can show it, unless `NO_COLOR` is set to anything.
fn colour_wanted(terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    terminal
        && variable(env::NO_COLOR).is_none_or(|value| value.is_empty())
        && variable(env::TERM).is_none_or(|value| value != "dumb")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("policy", Align::Left), ("n", Align::Right)]);
        table.push(["a", "1"]);
        table.push(["b, \"c\"\nd", "1000"]);
        table
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(table().csv(), "policy,n\na,1\n\"b, \"\"c\"\"\nd\",1000\n");
    }

    #[test]
    fn text_aligns_numbers_and_keeps_its_width() {
        let text = table().text(None);
        assert!(text.contains("    1\n"), "{text}");
        let mut wide = table();
        wide.push(["x ".repeat(200), "2".to_owned()]);
        assert!(wide.text(Some(60)).lines().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn no_word_and_no_figure_is_broken_and_nothing_is_left_out() {
        let names = [
            "run",
            "proposer",
            "records",
            "accepted of valid",
            "95 % interval",
            "accepted of all",
            "interval",
        ];
        let mut table = Table::new(
            names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, if at < 2 { Align::Left } else { Align::Right })),
        );
        table.push([
            "grok-night",
            "model, rules",
            "13656",
            "98.71 %",
            "98.50 – 98.89",
            "97.12 %",
            "96.80 – 97.40",
        ]);
        for width in [40_u16, 60, 80, 120] {
            let text = table.text(Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}: {text}");
            for whole in ["grok-night", "13656", "98.50 – 98.89", "96.80 – 97.40", "97.12 %"] {
                assert!(text.contains(whole), "{width}: {whole} of {text}");
            }
        }
    }

    #[test]
    fn columns_go_one_after_the_other_until_the_table_fits() {
        let mut table = Table::new(["a", "b", "c", "d"].map(|name| (name, Align::Left)));
        table.push(["1".repeat(20), "2".repeat(20), "3".repeat(20), "4".repeat(20)]);
        let columns = |width| {
            let (table, gone) = table.fitted(width, &["c", "no such", "a", "b"]);
            let names: Vec<String> = table.header().iter().map(|(name, _)| name.clone()).collect();
            (names.concat(), gone.concat())
        };
        assert_eq!(columns(None), ("abcd".to_owned(), String::new()));
        assert_eq!(columns(Some(120)), ("abcd".to_owned(), String::new()));
        assert_eq!(columns(Some(80)), ("abd".to_owned(), "c".to_owned()));
        assert_eq!(columns(Some(50)), ("bd".to_owned(), "ca".to_owned()));
        let (narrow, _) = table.fitted(Some(50), &["c", "a"]);
        assert!(narrow.text(Some(50)).lines().all(|line| line.chars().count() <= 50));
    }

    #[test]
    fn short_and_long_rows_fit_the_header() {
        let mut table = Table::new([("a", Align::Left), ("b", Align::Left)]);
        table.push(["1"]);
        table.push(["1", "2", "3"]);
        assert_eq!(table.csv(), "a,b\n1,\n1,2\n");
    }

    #[test]
    fn no_form_of_a_table_acts() {
        let any = prop::collection::vec(hostile(), 1..4);
        proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(cells in any)| {
            let mut table = Table::new(cells.iter().map(|cell| (cell.as_str(), Align::Left)));
            table.push(cells.clone());
            let all = json!(cells);
            for form in [table.csv(), table.text(None), table.text(Some(60)), json(&all), json_line(&all)] {
                prop_assert!(!form.contains(escape::acts), "{form:?}");
            }
            let csv = table.csv();
            let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
            for line in lines.records() {
                for (cell, given) in line.unwrap().iter().zip(&cells) {
                    prop_assert!(!is_formula(cell), "{cell:?}");
                    let text = |cell: &str| cell.trim_start_matches(['\'', '\u{feff}']).to_owned();
                    prop_assert_eq!(text(cell), text(&visible(given)));
                }
            }
        });
    }

    /// Whether a spreadsheet would compute a cell that is not a figure.
    fn is_formula(cell: &str) -> bool {
        let is_number = |part: &str| {
            let digits = part.trim_end_matches('%').trim_end().replace(',', "");
            digits.parse::<f64>().is_ok_and(f64::is_finite)
        };
        let is_figure = cell == "-" || cell.split(" – ").all(is_number);
        !is_figure && cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
    }

    /// Texts with what acts and what begins a formula more often than by chance.
    fn hostile() -> impl Strategy<Value = String> {
        let pieces = prop_oneof![
            any::<String>(),
            any::<char>().prop_map(String::from),
            prop::sample::select(
                &[
                    "=",
                    "+",
                    "-",
                    "@",
                    "\t",
                    "\r",
                    "\n",
                    "1",
                    "1e5",
                    ",",
                    "\"",
                    "%",
                    " – ",
                    "\u{1b}[31m",
                    "\u{202e}",
                    "\u{9b}",
                    "＝"
                ][..]
            )
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(pieces, 0..5).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn json_is_indented_and_ends_its_line() {
        assert_eq!(json(&json!({"a": 1})), "{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let of = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(colour_wanted(true, &of(&[])));
        assert!(!colour_wanted(false, &of(&[])));
        assert!(!colour_wanted(true, &of(&[("NO_COLOR", "1")])));
        assert!(colour_wanted(true, &of(&[("NO_COLOR", "")])));
        assert!(!colour_wanted(true, &of(&[("TERM", "dumb")])));
    }
}
