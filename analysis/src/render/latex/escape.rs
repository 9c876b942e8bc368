//! Escapes texts for LaTeX.

use std::fmt::Write as _;

use crate::render::shown;

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
        'Σ' | '∑' => "$\\Sigma$",
        'Φ' => "$\\Phi$",
        'α' => "$\\alpha$",
        'β' => "$\\beta$",
        'γ' => "$\\gamma$",
        'ε' => "$\\epsilon$",
        'λ' => "$\\lambda$",
        'ρ' => "$\\rho$",
        'σ' => "$\\sigma$",
        'τ' => "$\\tau$",
        'φ' => "$\\phi$",
        '≈' => "$\\approx$",
        '≠' => "$\\neq$",
        '∞' => "$\\infty$",
        '√' => "$\\surd$",
        '∈' => "$\\in$",
        '⌊' => "$\\lfloor$",
        '⌋' => "$\\rfloor$",
        '⌈' => "$\\lceil$",
        '⌉' => "$\\rceil$",
        '←' => "$\\leftarrow$",
        '↔' => "$\\leftrightarrow$",
        '•' => "$\\bullet$",
        '°' => "$^\\circ$",
        '²' => "$^2$",
        '³' => "$^3$",
        '⁻' => "$^-$",
        '½' => "$\\frac{1}{2}$",
        '§' => "\\S{}",
        '€' => "EUR",
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
    use super::*;

    #[test]
    fn what_latex_reads_is_escaped() {
        assert_eq!(escape("a_b & 5 % of $x$"), "a\\_b \\& 5 \\% of \\$x\\$");
        assert_eq!(escape("\\^~"), "\\textbackslash{}\\textasciicircum{}\\textasciitilde{}");
    }

    #[test]
    fn what_the_fonts_lack_is_named() {
        assert_eq!(
            escape("Größe 漢 1–2 <x|y>"),
            "Gr\u{f6}\\ss{}e \\texttt{U+6F22} 1--2 \\textless{}x\\textbar{}y\\textgreater{}"
        );
        assert_eq!(escape("\u{1b}\u{202e}"), "\\textbackslash{}u\\{1b\\}\\textbackslash{}u\\{202e\\}");
        assert_eq!(escape("1 − Φ(z) ≈ ⌊x⌋"), "1 $-$ $\\Phi$(z) $\\approx$ $\\lfloor$x$\\rfloor$");
    }
}
