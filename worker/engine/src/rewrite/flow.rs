//! Edits of collections in flow style, JSON among them.

use domain::pointer::Pointer;
use serde_json::Value;

use super::render;
use super::source::{Child, Source, anchor_of};
use crate::yaml::Position;

impl Source<'_> {
    pub(super) fn set_in_flow(&self, position: &Position, value: &Value) -> Option<String> {
        let (start, end) = position.value;
        let (anchor, old) = anchor_of(self.text.get(start..end)?);
        let text = match value {
            Value::String(text) if !self.json => render::flow_text_like(text, old),
            _ => self.flow_value(value, start),
        };
        let start = start + anchor.len();
        if start == end {
            // Nothing stands behind the colon.
            let colon = self.text.get(position.key.1..)?.starts_with(':');
            return colon.then(|| self.splice(position.key.1 + 1, position.key.1 + 1, &format!(" {text}")));
        }
        let between = self.text.get(position.key.1..start)?;
        (position.key.0 == position.key.1 || between.contains(':')).then(|| self.splice(start, end, &text))
    }

    /// A value in flow style; over several lines where the surroundings are.
    pub(super) fn flow_value(&self, value: &Value, at: usize) -> String {
        let start = self.line_start(at);
        let line = &self.text[start..];
        let margin = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        let several = self.json && self.text.trim().contains('\n');
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty);
        if several && (value.is_object() || value.is_array()) && !empty {
            render::pretty(value, margin, self.json_step(), self.layout.newline)
        } else {
            render::flow(value, self.json)
        }
    }

    /// The indentation of printed JSON: that of the first entry.
    fn json_step(&self) -> &str {
        let first = self.children(&Pointer::ROOT).first().and_then(|child| self.margin(child.position.key.0));
        first.filter(|step| !step.is_empty()).unwrap_or("  ")
    }

    /// Blanks and tabs between the beginning of the line and `at`; `None` where something else stands there.
    fn margin(&self, at: usize) -> Option<&str> {
        let before = self.text.get(self.line_start(at)..at)?;
        before.bytes().all(|byte| byte == b' ' || byte == b'\t').then_some(before)
    }

    pub(super) fn remove_in_flow(&self, children: &[Child<'_>], place: usize) -> Option<String> {
        let begin = |child: &Child<'_>| child.position.key.0.min(child.position.value.0);
        let (start, end) = match (children.get(place + 1), place.checked_sub(1)) {
            (Some(next), _) => (begin(&children[place]), begin(next)),
            (None, Some(before)) => (children[before].position.value.1, children[place].position.value.1),
            (None, None) => return None,
        };
        (start <= end).then(|| self.splice(start, end, ""))
    }

    /// What separates the entry at `start` from the one before it: a blank, or a new line as deep.
    pub(super) fn between_in_flow(&self, start: usize) -> String {
        match self.margin(start) {
            Some(margin) if self.text[..start].contains('\n') => format!("{}{margin}", self.layout.newline),
            _ => " ".to_owned(),
        }
    }

    pub(super) fn append_in_flow(&self, last: &Position, entry: &str) -> Option<String> {
        let (start, end) = (last.key.0.min(last.value.0), last.value.1);
        if last.key.0 < last.key.1 && !self.text.get(last.key.1..end)?.contains(':') {
            return None;
        }
        Some(self.splice(end, end, &format!(",{}{entry}", self.between_in_flow(start))))
    }
}
