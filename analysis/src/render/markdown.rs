//! Tables as Markdown.

use std::fmt::Write as _;

use cli_support::output::Align;

use super::shown;
use super::titled::Titled;

/// A heading and a pipe table.
pub(crate) fn markdown(titled: &Titled) -> String {
    let mut text = format!("**{}**\n\n", escape(&titled.title));
    row(&mut text, titled.table.header().iter().map(|(name, _)| escape(name)));
    let rules = titled.table.header().iter().map(|(_, align)| match align {
        Align::Left => "---".to_owned(),
        Align::Right => "---:".to_owned(),
    });
    row(&mut text, rules);
    for cells in titled.table.rows() {
        row(&mut text, cells.iter().map(|cell| escape(cell)));
    }
    text
}

/// Appends a row of escaped cells to a pipe table.
pub(crate) fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push('|');
    for cell in cells {
        text.push(' ');
        text.push_str(&cell);
        text.push_str(" |");
    }
    text.push('\n');
}

/// Escapes a text so that it contains neither markup nor line breaks nor the end of a cell, nor characters that act.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '|' | '\\' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '#' | '!' | '&' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\t' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A code block with a fence longer than any in its text.
pub(crate) fn fenced(text: &mut String, language: &str, body: &str) {
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = write!(text, "{fence}{language}\n{}\n{fence}\n\n", shown(body.trim_end()));
}

#[cfg(test)]
mod tests {
    use cli_support::output::Table;

    use super::*;

    #[test]
    fn code_cannot_leave_its_fence() {
        let mut text = String::new();
        fenced(&mut text, "yaml", "a: |\n  ````\n  <script>\n");
        assert_eq!(text, "`````yaml\na: |\n  ````\n  <script>\n`````\n\n");
        assert_eq!(escape("<img src=x>\n[a](b)"), "\\<img src=x\\> \\[a\\](b)");
    }

    #[test]
    fn cells_keep_to_themselves() {
        let mut table = Table::new([("policy", Align::Left), ("n", Align::Right)]);
        table.push(["a_b | <x>\ny", "1"]);
        let text = markdown(&Titled { title: "By policy".to_owned(), table });
        assert_eq!(text, "**By policy**\n\n| policy | n |\n| --- | ---: |\n| a\\_b \\| \\<x\\> y | 1 |\n");
    }
}
