//! Maps character positions of the parser to byte offsets of the text.

use saphyr_parser::Span;

/// From the parser's character indices to byte offsets; no table is stored for plain ASCII.
pub(super) struct Offsets<'t> {
    text: &'t str,
    table: Option<Vec<u32>>,
}

impl<'t> Offsets<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let table = (!text.is_ascii()).then(|| {
            let ends = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let starts = text.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX));
            starts.chain([ends]).collect()
        });
        Self { text, table }
    }

    pub(super) fn byte(&self, index: usize) -> usize {
        match &self.table {
            None => index,
            Some(table) => table.get(index).or(table.last()).map_or(0, |at| *at as usize),
        }
    }

    pub(super) fn range(&self, span: Span) -> (usize, usize) {
        (self.byte(span.start.index()), self.byte(span.end.index()))
    }

    /// Behind the closing quote of the scalar at `start`; `None` where it is not in quotes. The parser lets such a scalar reach
    /// over a comment behind it.
    pub(super) fn quoted_end(&self, start: usize) -> Option<usize> {
        let mut rest = self.text.get(start..)?;
        while rest.starts_with(['&', '!']) {
            rest = rest.get(rest.find(char::is_whitespace)?..)?.trim_start();
        }
        let begin = self.text.len() - rest.len();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let mut characters = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            if c == '\\' && quote == '"' {
                characters.next();
            } else if c == quote {
                // A single quote within single quotes is doubled.
                if quote == '\'' && characters.next_if(|(_, next)| *next == quote).is_some() {
                    continue;
                }
                return Some(begin + at + 1);
            }
        }
        None
    }
}
