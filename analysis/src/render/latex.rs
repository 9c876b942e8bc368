//! Tables as LaTeX (booktabs).

use std::fmt::Write as _;

use cli_support::output::Align;

use super::titled::Titled;

/// A `table` with its caption.
pub(crate) fn latex(titled: &Titled) -> String {
    let columns: String = titled
        .table
        .header()
        .iter()
        .map(|(_, align)| if *align == Align::Left { 'l' } else { 'r' })
        .collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\\begin{{table}}\n\\caption{{{}}}\n\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        escape(&titled.title)
    );
    text.push_str("\\toprule\n");
    let header = titled.table.header().iter().map(|(name, _)| format!("\\textbf{{{}}}", escape(name)));
    row(&mut text, header);
    text.push_str("\\midrule\n");
    for cells in titled.table.rows() {
        row(&mut text, cells.iter().map(|cell| escape(cell)));
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n");
    text
}

/// Appends a row of escaped cells.
pub(crate) fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push_str(&cells.into_iter().collect::<Vec<_>>().join(" & "));
    text.push_str(" \\\\\n");
}

/// Escapes the special characters of LaTeX.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use cli_support::output::Table;

    use super::*;

    #[test]
    fn what_latex_reads_is_escaped() {
        let mut table = Table::new([("policy", Align::Left), ("n", Align::Right)]);
        table.push(["a_b & 5 %", "1"]);
        let text = latex(&Titled { title: "50 % of $x$".to_owned(), table });
        assert!(text.contains("\\begin{tabular}{@{}lr@{}}"), "{text}");
        assert!(text.contains("a\\_b \\& 5 \\% & 1 \\\\\n") && text.contains("50 \\% of \\$x\\$"), "{text}");
        assert_eq!(escape("\\^~"), "\\textbackslash{}\\textasciicircum{}\\textasciitilde{}");
    }
}
