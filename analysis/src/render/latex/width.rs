//! Widths of texts in the fonts of LaTeX, and where texts may be broken.

use crate::render::shown;

/// Width in points of a text in Computer Modern at 10 pt.
pub(super) fn width(text: &str) -> f64 {
    shown(text).chars().map(of).sum()
}

/// By the metrics of `cmr10`, rounded up; other letters count as wide, and what is named by its code point as that name.
const fn of(c: char) -> f64 {
    match c {
        'i' | 'l' | '.' | ',' | ':' | ';' | '!' | '\'' | '|' => 2.8,
        'f' | 'j' => 3.1,
        ' ' | '-' | '\n' | '\t' => 3.4,
        '(' | ')' | '[' | ']' | 'I' | '_' => 3.9,
        'r' | 's' | 't' => 4.0,
        'c' | 'e' | 'z' | '?' => 4.8,
        '0'..='9' | 'a' | 'g' | 'o' | '/' | '*' | '"' | '{' | '}' | '$' | '`' => 5.1,
        'b' | 'd' | 'h' | 'k' | 'n' | 'p' | 'q' | 'u' | 'v' | 'x' | 'y' | 'S' | 'J' | '–' => 5.6,
        'w' | 'T' | 'C' | 'B' | 'P' | 'E' | 'F' | 'L' | 'Z' => 7.3,
        'm' | '%' | '#' => 8.4,
        'M' | 'W' | '—' | '…' => 10.5,
        ' '..='~' | '\u{a0}'..='\u{24f}' => 8.0,
        // The named ones are narrower.
        _ => 32.0,
    }
}

/// The pieces of a text between which a line may end: behind spaces and punctuation, and within a word of more than `most`
/// characters. A number is one piece.
pub(super) fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(end_of_piece(rest, most.max(1)));
        rest = after;
        Some(piece)
    })
}

/// Length in bytes of the first piece.
fn end_of_piece(text: &str, most: usize) -> usize {
    let mut chars = text.char_indices().peekable();
    let mut length = 0;
    while let Some((_, c)) = chars.next() {
        let Some((next, following)) = chars.peek().copied() else { break };
        length = if c == ' ' { 0 } else { length + 1 };
        let ends = match c {
            '_' | '/' | '=' | '@' | ';' | ')' | ']' | '}' | '\\' | '&' | '+' => true,
            '.' | ',' | ':' | '-' => !following.is_ascii_digit(),
            _ => false,
        };
        if following != ' ' && (ends || length >= most) {
            return next;
        }
    }
    text.len()
}

/// The widest part of a text that is not broken, at 10 pt: of its pieces, and of the words between its spaces.
pub(super) fn widest_piece(text: &str, most: usize) -> f64 {
    let parts = pieces(text, most).flat_map(|piece| piece.split([' ', '\n', '\t']));
    parts.map(width).fold(0.0, f64::max)
}

/// The widest word between spaces, at 10 pt.
pub(super) fn widest_word(text: &str) -> f64 {
    text.split([' ', '\n', '\t']).map(width).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_behind_punctuation_and_numbers_stay_whole() {
        let of = |text: &'static str, most| pieces(text, most).collect::<Vec<_>>();
        assert_eq!(of("a_b.c: 13,656.5 d", 24), ["a_", "b.", "c: 13,656.5 d"]);
        assert_eq!(of("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(of("ab abcd", 4), ["ab abcd"], "a space begins a new word");
        assert_eq!(of("äöüß", 2), ["äö", "üß"]);
        assert_eq!(of("", 4), Vec::<&str>::new());
        assert_eq!(of("1.5-2", 9), ["1.5-2"]);
    }

    #[test]
    fn pieces_are_the_text() {
        for text in ["", "spec.x_y/z: é  漢 (a)[0]", "///", "  a  "] {
            for most in [1, 3, 24] {
                assert_eq!(pieces(text, most).collect::<String>(), text);
            }
        }
    }

    #[test]
    fn digits_are_as_wide_as_in_the_font() {
        assert!((width("0123456789") - 51.0).abs() < 1e-9);
        assert!(widest_piece("aa_bbbb", 24) < widest_word("aa_bbbb"));
    }
}
