//! Changes of a text, and where they stand in it for other programs.

use std::ops::Range;

/// A part of a text with what takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Bytes of the old text; empty: an insertion.
    pub(crate) old: Range<usize>,
    pub(crate) new: String,
}

/// Edits of a file that belong together: none of the repairs is whole without all of them, and each change can be made
/// without the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Numbers of the repairs, in their order.
    pub(crate) repairs: Vec<usize>,
    /// In the order of the text; they do not overlap.
    pub(crate) edits: Vec<Edit>,
}

impl Edit {
    /// The same edit with its end on a line that exists: behind the last line break there is none.
    pub(crate) fn on_lines(&self, text: &str) -> Self {
        let Self { old, new } = self;
        let line_break = if text.ends_with("\r\n") { "\r\n" } else { "\n" };
        if old.end < text.len() || !text.ends_with(line_break) {
            return self.clone();
        }
        let end = old.end - line_break.len();
        match new.strip_suffix(line_break) {
            // What is added behind the last line break stands before it, after one of its own.
            Some(new) if old.is_empty() => Self { old: end..end, new: format!("{line_break}{new}") },
            Some(new) => Self { old: old.start..end, new: new.to_owned() },
            // The line break before the lines that go, goes in place of the one behind them.
            None if new.is_empty() && text[..old.start].ends_with(line_break) => {
                Self { old: old.start - line_break.len()..end, new: String::new() }
            }
            None => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_ends_on_a_line_that_exists() {
        for (text, old, new) in [
            ("a\nb\n", 4..4, "c\n"),
            ("a\nb\n", 2..4, "c\n"),
            ("a\nb\n", 2..4, ""),
            ("a\r\nb\r\n", 6..6, "c\r\n"),
            ("a\r\nb\r\n", 3..6, ""),
            ("a\nb", 2..3, "c"),
            ("a\nb\n", 0..2, "c\n"),
        ] {
            let edit = Edit { old, new: new.to_owned() };
            let on_lines = edit.on_lines(text);
            assert!(on_lines.old.end < text.len() || !text.ends_with('\n'), "{on_lines:?}");
            let made = |edit: &Edit| {
                let mut text = text.to_owned();
                text.replace_range(edit.old.clone(), &edit.new);
                text
            };
            assert_eq!(made(&on_lines), made(&edit), "{edit:?} {on_lines:?}");
        }
    }
}
