//! Tables as LaTeX (booktabs, array, longtable).
//!
//! *Invariant*: a table fits the page of the class `article` ([`layout::PAGE`]), as far as its texts can be broken, and
//! compiles with pdflatex, whatever its texts.

mod escape;
mod layout;
mod width;

use std::fmt::Write as _;

use cli_support::output::Align;

pub(crate) use escape::escape;
use layout::{Column, Layout};
use width::pieces;

use super::titled::Titled;

/// A `table`, or a `longtable` where one page does not hold it, with its caption and `\label{tab:…}`.
pub(crate) fn latex(titled: &Titled, label: &str) -> String {
    let layout = Layout::of(&titled.table);
    let header = titled.table.header().iter().map(|(name, _)| format!("\\textbf{{{}}}", layout.cell(name)));
    let mut head = String::from("\\toprule\n");
    row(&mut head, header);
    head.push_str("\\midrule\n");
    let mut body = String::new();
    for cells in titled.table.rows() {
        row(&mut body, cells.iter().map(|cell| layout.cell(cell)));
    }
    let columns = layout.columns();
    let caption = broken(&titled.title, layout::CAPTION);
    let label = label_of(label);
    let size = layout.size();
    if layout.is_long {
        format!(
            "\\begingroup{size}\\setlength{{\\LTcapwidth}}{{\\linewidth}}\n\\begin{{longtable}}{{{columns}}}\n\
             \\caption{{{caption}}}\\label{{tab:{label}}}\\\\\n{head}\\endfirsthead\n{head}\\endhead\n\
             \\bottomrule\n\\endfoot\n{body}\\end{{longtable}}\n\\endgroup\n"
        )
    } else {
        format!(
            "\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{label}}}{size}\n\
             \\begin{{tabular}}{{{columns}}}\n{head}{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )
    }
}

/// Appends a row of escaped cells.
pub(crate) fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push_str(&cells.into_iter().collect::<Vec<_>>().join(" & "));
    text.push_str(" \\\\\n");
}

impl Layout {
    /// A cell, with places where it may be broken if its column is narrower than it.
    fn cell(&self, text: &str) -> String {
        self.most.map_or_else(|| escape(text), |most| broken(text, most))
    }

    fn columns(&self) -> String {
        let mut columns = String::from("@{}");
        for column in &self.columns {
            let _ = match column {
                Column::Natural(Align::Left) => write!(columns, "l"),
                Column::Natural(Align::Right) => write!(columns, "r"),
                Column::Wrapped(align, share) => {
                    let ragged = if *align == Align::Left { "raggedright" } else { "raggedleft" };
                    write!(columns, ">{{\\{ragged}\\arraybackslash}}p{{{share:.4}\\linewidth}}")
                }
            };
        }
        columns.push_str("@{}");
        columns
    }

    /// The size of its texts and the gaps between columns.
    fn size(&self) -> String {
        let size = self.size.command();
        if self.gap < layout::GAP {
            format!("{size}\\setlength{{\\tabcolsep}}{{{}pt}}", self.gap)
        } else {
            size.to_owned()
        }
    }
}

/// An escaped text that may be broken between its pieces.
fn broken(text: &str, most: usize) -> String {
    pieces(text, most).map(escape).collect::<Vec<_>>().join("\\allowbreak{}")
}

/// A label of letters, digits and dashes.
fn label_of(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use cli_support::output::Table;

    use super::*;

    fn titled(title: &str, table: Table) -> Titled {
        Titled { title: title.to_owned(), table }
    }

    #[test]
    fn a_narrow_table_keeps_its_columns() {
        let mut table = Table::new([("policy", Align::Left), ("n", Align::Right)]);
        table.push(["a_b & 5 %", "1"]);
        let text = latex(&titled("50 % of $x$", table), "By policy, run 1");
        assert!(text.contains("\\begin{tabular}{@{}lr@{}}"), "{text}");
        assert!(text.contains("a\\_b \\& 5 \\% & 1 \\\\\n") && text.contains("50 \\% of \\$x\\$"), "{text}");
        assert!(text.contains("\\centering\n") && text.contains("\\label{tab:by-policy-run-1}\n"), "{text}");
    }

    #[test]
    fn a_row_is_no_argument_of_the_one_before() {
        let mut table = Table::new([("[1in]", Align::Left)]);
        table.push(["[2in]"]);
        table.push(["* x"]);
        let text = latex(&titled("", table), "x");
        assert!(text.contains("\\midrule\n{[}2in{]} \\\\\n{*} x \\\\\n"), "{text}");
    }

    #[test]
    fn a_wide_table_is_wrapped_and_its_words_may_be_broken() {
        let mut table = Table::new([("n", Align::Right), ("reason", Align::Left)]);
        table.push(["1", &"spec.template.spec.containers_are_many ".repeat(10)]);
        table.push(["1", &"0123456789abcdef".repeat(8)]);
        let text = latex(&titled("t", table), "x");
        assert!(text.contains("p{0.") && text.contains("\\raggedright"), "{text}");
        assert!(text.contains("spec.\\allowbreak{}template.\\allowbreak{}"), "{text}");
        let hash = text.lines().find(|line| line.contains("cdef")).unwrap();
        assert!(hash.matches("\\allowbreak{}").count() >= 4, "{hash}");
    }

    #[test]
    fn a_long_table_goes_on_over_pages() {
        let mut table = Table::new([("a", Align::Left)]);
        for place in 0..60 {
            table.push([place.to_string()]);
        }
        let text = latex(&titled("t", table), "x");
        assert!(text.contains("\\begin{longtable}") && text.contains("\\endhead\n"), "{text}");
        assert!(!text.contains("\\begin{table}"));
    }
}
