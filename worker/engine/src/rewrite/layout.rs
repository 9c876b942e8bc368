//! Detects the user's indentation and line breaks.

use domain::pointer::Pointer;

use crate::yaml::{Indentation, Spans};

/// How the user writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// How far collections are indented.
    pub(super) by: Indentation,
    /// Line feed, or carriage return and line feed.
    pub(super) newline: &'static str,
}

impl Layout {
    /// Looks at the text: what most of its collections do.
    pub(super) fn of(text: &str, spans: &Spans) -> Self {
        let (mut mappings, mut lists) = ([0_u32; 9], [0_u32; 9]);
        for (pointer, position) in spans {
            let Some((parent, key)) = pointer.split_last() else { continue };
            let Some(parent_column) = key_column(text, spans, &parent) else { continue };
            let in_list = position.key.0 == position.key.1;
            if in_list {
                if key == "0"
                    && let Some(dash) = dash_column(text, position.value.0)
                    && let Some(count) = dash.checked_sub(parent_column).and_then(|by| lists.get_mut(by))
                {
                    *count += 1;
                }
            } else if let Some(column) = key_column(text, spans, pointer)
                && let Some(count) = column.checked_sub(parent_column).and_then(|by| mappings.get_mut(by))
            {
                *count += 1;
            }
        }
        mappings[0] = 0;
        let usual = Indentation::USUAL;
        let by = Indentation { mapping: most(&mappings, usual.mapping), list: most(&lists, usual.list) };
        Self { by, newline: if text.contains("\r\n") { "\r\n" } else { "\n" } }
    }
}

/// The most frequent index; of equals the first; `otherwise` when nothing was counted.
fn most(counts: &[u32], otherwise: usize) -> usize {
    let best = counts.iter().copied().max().unwrap_or(0);
    if best == 0 { otherwise } else { counts.iter().position(|count| *count == best).unwrap_or(otherwise) }
}

/// The column (from 0) of a key that stands first on its line, dashes aside.
fn key_column(text: &str, spans: &Spans, pointer: &Pointer) -> Option<usize> {
    let position = spans.get(pointer)?;
    if position.key.0 == position.key.1 {
        return None;
    }
    column(text, position.key.0)
}

/// Bytes between the line's beginning and `at`, when there are only blanks and dashes between them.
pub(super) fn column(text: &str, at: usize) -> Option<usize> {
    let before = text.get(..at)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    before[start..].bytes().all(|byte| byte == b' ' || byte == b'-').then_some(at - start)
}

/// The column of the dash before a list's entry that begins on the dash's line.
fn dash_column(text: &str, at: usize) -> Option<usize> {
    let line = text.get(..at)?.trim_end_matches(' ');
    line.ends_with('-').then(|| column(text, line.len() - 1)).flatten()
}
