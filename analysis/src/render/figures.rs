//! The figures of a command, and the forms in which they are printed.

use cli_support::output::{self, Table};
use serde_json::Value;

use super::latex::latex;
use super::markdown::markdown;
use super::shown;
use super::titled::Titled;

/// The form in which figures are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Tables for people
    #[default]
    Text,
    /// One JSON value
    Json,
    /// Comma-separated values, RFC 4180; several tables are separated by an empty line
    Csv,
    /// Markdown tables
    Md,
    /// LaTeX tables (booktabs, array, longtable)
    Tex,
}

/// The output of a command: one JSON value, and the same as tables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// Everything.
    pub(crate) value: Value,
    pub(crate) tables: Vec<Titled>,
}

impl Figures {
    pub(crate) fn new(value: Value) -> Self {
        Self { value, tables: vec![] }
    }

    /// Adds a table.
    #[must_use]
    pub(crate) fn with(mut self, title: impl Into<String>, table: Table) -> Self {
        self.tables.push(Titled { title: title.into(), table });
        self
    }

    pub(crate) fn render(&self, form: Form, width: Option<u16>) -> String {
        let each = |of: &dyn Fn(&Titled) -> String| self.tables.iter().map(of).collect::<Vec<_>>().join("\n");
        match form {
            Form::Json => output::json(&self.value),
            Form::Text => each(&|titled| format!("{}\n{}", shown(&titled.title), titled.table.text(width))),
            Form::Csv => each(&|titled| titled.table.csv()),
            Form::Md => each(&markdown),
            Form::Tex => each(&|titled| latex(titled, &titled.title)),
        }
    }
}

#[cfg(test)]
mod tests {
    use cli_support::escape::acts;
    use cli_support::output::Align;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Any text, and more often than by chance what means something to a terminal, a spreadsheet or LaTeX.
    fn hostile() -> impl Strategy<Value = String> {
        const MEANT: &[&str] = &[
            "[1in]",
            "*",
            "=1",
            "@x",
            "\\",
            "{",
            "|",
            "<",
            "\n",
            "\t",
            "\r",
            "\u{1b}[31m",
            "\u{202e}",
            "\u{9b}",
            "漢",
        ];
        let piece = prop_oneof![
            any::<String>(),
            any::<char>().prop_map(String::from),
            prop::sample::select(MEANT).prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn no_form_of_any_text_acts() {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(title in hostile(), cells in prop::collection::vec(hostile(), 1..4))| {
            let mut table = Table::new(cells.iter().map(|cell| (cell.as_str(), Align::Left)));
            table.push(cells.clone());
            let figures = Figures::new(json!(cells)).with(title, table);
            for form in [Form::Text, Form::Json, Form::Csv, Form::Md, Form::Tex] {
                let text = figures.render(form, Some(80));
                prop_assert!(!text.contains(acts), "{form:?}: {text:?}");
                if form == Form::Md || form == Form::Tex {
                    // The same lines as for harmless texts: a cell has no line break.
                    let is_long = text.contains("\\begin{longtable}");
                    let lines = if form == Form::Md { 5 } else if is_long { 16 } else { 12 };
                    prop_assert_eq!(text.lines().count(), lines, "{:?}: {:?}", form, text);
                }
                if form == Form::Tex {
                    prop_assert!(!text.lines().any(|line| line.trim_start().starts_with(['[', '*'])), "{text}");
                    prop_assert!(text.chars().all(|c| c < '\u{100}'), "{text}");
                }
            }
        });
    }
}
