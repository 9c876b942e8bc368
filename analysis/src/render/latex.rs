//! Tables as LaTeX (booktabs).

use std::fmt::Write as _;

use cli_support::output::Align;

use super::shown;
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

/// Escapes a text for LaTeX: its special characters, those that act on a reader, and those that its fonts lack.
///
/// What compiles with every engine and without a package stays: ASCII, and letters of Latin-1 with accents. Other
/// characters are named by their code point.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Behind the end of a row, these would be its arguments.
            '[' | ']' | '*' => {
                let _ = write!(escaped, "{{{c}}}");
            }
            '\n' | '\t' => escaped.push(' '),
            ' '..='~' if named(c).is_none() => escaped.push(c),
            'À'..='Å'
            | 'Ç'..='Ï'
            | 'Ñ'..='Ö'
            | 'Ù'..='Ý'
            | 'à'..='å'
            | 'ç'..='ï'
            | 'ñ'..='ö'
            | 'ù'..='ý'
            | 'ÿ' => {
                escaped.push(c);
            }
            c => match named(c) {
                Some(command) => escaped.push_str(command),
                None => {
                    let _ = write!(escaped, "\\texttt{{U+{:04X}}}", u32::from(c));
                }
            },
        }
    }
    escaped
}

/// The command for a character that LaTeX writes otherwise.
const fn named(c: char) -> Option<&'static str> {
    Some(match c {
        '\\' => "\\textbackslash{}",
        '~' => "\\textasciitilde{}",
        '^' => "\\textasciicircum{}",
        '<' => "\\textless{}",
        '>' => "\\textgreater{}",
        '|' => "\\textbar{}",
        '–' => "--",
        '—' => "---",
        '…' => "\\ldots{}",
        '×' => "$\\times$",
        '÷' => "$\\div$",
        '±' => "$\\pm$",
        '−' => "$-$",
        '≤' => "$\\leq$",
        '≥' => "$\\geq$",
        '→' => "$\\rightarrow$",
        '·' => "$\\cdot$",
        'µ' | 'μ' => "$\\mu$",
        'Δ' => "$\\Delta$",
        'τ' => "$\\tau$",
        'ß' => "\\ss{}",
        'æ' => "\\ae{}",
        'Æ' => "\\AE{}",
        'ø' => "\\o{}",
        'Ø' => "\\O{}",
        '“' => "``",
        '”' => "''",
        '‘' => "`",
        '’' => "'",
        '\u{a0}' => "~",
        _ => return None,
    })
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

    #[test]
    fn a_row_is_no_argument_of_the_one_before() {
        let mut table = Table::new([("[1in]", Align::Left)]);
        table.push(["[2in]"]);
        table.push(["* x"]);
        let text = latex(&Titled { title: String::new(), table });
        assert!(text.contains("\\midrule\n{[}2in{]} \\\\\n{*} x \\\\\n"), "{text}");
    }

    #[test]
    fn what_the_fonts_lack_is_named() {
        assert_eq!(
            escape("Größe 漢 1–2 <x|y>"),
            "Gr\u{f6}\\ss{}e \\texttt{U+6F22} 1--2 \\textless{}x\\textbar{}y\\textgreater{}"
        );
        assert_eq!(escape("\u{1b}\u{202e}"), "\\textbackslash{}u\\{1b\\}\\textbackslash{}u\\{202e\\}");
    }
}
