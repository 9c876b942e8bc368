//! Maps character positions of the parser to byte offsets of the text.

use saphyr_parser::Span;

/// From the parser's character indices to byte offsets; nothing is stored for plain ASCII.
pub(super) struct Offsets(Option<Vec<u32>>);

impl Offsets {
    pub(super) fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self(None);
        }
        let ends = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let starts = text.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX));
        Self(Some(starts.chain([ends]).collect()))
    }

    pub(super) fn byte(&self, index: usize) -> usize {
        match &self.0 {
            None => index,
            Some(table) => table.get(index).or(table.last()).map_or(0, |at| *at as usize),
        }
    }

    pub(super) fn range(&self, span: Span) -> (usize, usize) {
        (self.byte(span.start.index()), self.byte(span.end.index()))
    }
}
