//! Applies operations to the text one by one, and verifies each step by loading the new text.

use domain::config::Limits;
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use serde_json::Value;

use super::source::Source;
use super::steps::{self, Step};
use crate::verify::{ApplyError, apply};
use crate::yaml::{self, LoadError, Loaded};

/// Bytes of text that may be loaded for the edits of one patch. Each edit loads the text again, so that many edits of a
/// long text take the square of its length; beyond this the document is written anew instead, which takes its length.
const MAX_LOADED: usize = 64 << 20;

/// A document after a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The new text.
    pub text: String,
    /// How much of the old text is left in it.
    pub style: Style,
}

/// How a text was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// From the old one, by edits where the patch asks for them.
    Kept,
    /// Anew from the value: comments and layout are lost.
    Reserialised,
}

/// Why a text cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The old text is not a valid document.
    #[error("cannot read the document: {0}")]
    Load(#[from] LoadError),
    /// The patch does not fit the document.
    #[error("cannot apply the patch: {0}")]
    Apply(#[from] ApplyError),
    /// The patched document means something else when it is read again (a key `<<`, for one).
    #[error("the patched document cannot be written as text")]
    Unwritable,
}

/// Applies `patch` to the text of one document.
///
/// # Errors
/// When the text cannot be read, the patch does not apply to its value, or the new value cannot be written.
pub fn rewrite(text: &str, patch: &Patch, limits: &Limits) -> Result<Rewritten, RewriteError> {
    let old = yaml::load(text, limits)?.value;
    let new = apply(&old, patch)?;
    if old == new {
        return Ok(Rewritten { text: text.to_owned(), style: Style::Kept });
    }
    let json = is_json(text);
    let holds = |text: &String| {
        let same = yaml::load(text, limits).is_ok_and(|loaded| loaded.value == new);
        same && (!json || is_json(text))
    };
    if let Some(text) = edit(text, &old, patch, json, limits).filter(holds) {
        return Ok(Rewritten { text, style: Style::Kept });
    }
    let text = anew(&new, text, json);
    if holds(&text) {
        Ok(Rewritten { text, style: Style::Reserialised })
    } else {
        Err(RewriteError::Unwritable)
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The whole document from its value, in the language and with the line breaks of the old text.
fn anew(value: &Value, old: &str, json: bool) -> String {
    let text = if json { format!("{value:#}\n") } else { yaml::to_yaml(value) };
    if old.contains("\r\n") { text.replace('\n', "\r\n") } else { text }
}

/// The text after all operations; `None` when one of them cannot be done in the text, or when they would take too long.
fn edit(text: &str, old: &Value, patch: &Patch, json: bool, limits: &Limits) -> Option<String> {
    if text.len().saturating_mul(patch.len()) > MAX_LOADED {
        return None;
    }
    let mut editing = Editing { text: text.to_owned(), json, limits, left: MAX_LOADED };
    let mut value = old.clone();
    for op in &patch.0 {
        let next = apply(&value, &Patch(vec![op.clone()])).ok()?;
        if next != value {
            editing.follow(op, &value, &next)?;
        }
        value = next;
    }
    Some(editing.text)
}

/// A text between two edits.
struct Editing<'l> {
    text: String,
    json: bool,
    limits: &'l Limits,
    /// Bytes that may still be loaded.
    left: usize,
}

impl Editing<'_> {
    /// Loads the text with its positions.
    fn load(&mut self) -> Option<Loaded> {
        self.left = self.left.checked_sub(self.text.len())?;
        yaml::load_with_spans(&self.text, self.limits).ok()
    }

    /// Does what an operation does that leads from `before` to `after`.
    fn follow(&mut self, op: &Op, before: &Value, after: &Value) -> Option<()> {
        if let Op::Move { from, path } = op
            && let Some(renamed) = self.renamed(from, path, before)
        {
            self.text = renamed;
            return Some(());
        }
        for step in steps_of(op, before, after) {
            let loaded = self.load()?;
            // An alias has the value already when its anchor got it.
            if !step.is_done(&loaded.value) {
                self.text = Source::new(&self.text, &loaded, self.json).follow(&step)?;
            }
        }
        Some(())
    }

    /// A move within one mapping is another name for the same entry.
    fn renamed(&mut self, from: &Pointer, to: &Pointer, before: &Value) -> Option<String> {
        let ((parent, _), (other, key)) = (from.split_last()?, to.split_last()?);
        let map = parent.resolve(before)?.as_object()?;
        if parent != other || map.contains_key(&key) {
            return None;
        }
        let loaded = self.load()?;
        Source::new(&self.text, &loaded, self.json).rename(from, &key)
    }
}

fn steps_of(op: &Op, before: &Value, after: &Value) -> Vec<Step> {
    let mut steps = Vec::new();
    match op {
        Op::Add { path, value } => add(path, value, before, &mut steps),
        Op::Remove { path } => remove(path, before, &mut steps),
        Op::Replace { path, value } => {
            if let Some(old) = path.resolve(before) {
                steps::between(old, value, path, &mut steps);
            }
        }
        Op::Copy { from, path } => {
            if let Some(value) = from.resolve(before) {
                add(path, value, before, &mut steps);
            }
        }
        // The places of both ends may depend on each other: what differs says it without riddles.
        Op::Move { .. } => steps::between(before, after, &Pointer::ROOT, &mut steps),
        Op::Test { .. } => {}
    }
    steps
}

fn add(path: &Pointer, value: &Value, before: &Value, steps: &mut Vec<Step>) {
    let Some((parent, key)) = path.split_last() else {
        steps.push(Step::Set(Pointer::ROOT, value.clone()));
        return;
    };
    match parent.resolve(before) {
        Some(Value::Object(map)) => match map.get(&key) {
            Some(old) => steps::between(old, value, path, steps),
            None if map.is_empty() => {
                let entry = [(key, value.clone())].into_iter().collect();
                steps.push(Step::Set(parent, Value::Object(entry)));
            }
            None => steps.push(Step::InsertKey(parent, key, value.clone())),
        },
        Some(Value::Array(items)) if items.is_empty() => {
            steps.push(Step::Set(parent, Value::Array(vec![value.clone()])));
        }
        Some(Value::Array(items)) => {
            let index = key.parse().unwrap_or(items.len());
            steps.push(Step::InsertItem(parent, index, value.clone()));
        }
        _ => {}
    }
}

fn remove(path: &Pointer, before: &Value, steps: &mut Vec<Step>) {
    let Some((parent, key)) = path.split_last() else { return };
    match parent.resolve(before) {
        Some(Value::Object(map)) if map.len() == 1 => {
            steps.push(Step::Set(parent, Value::Object(serde_json::Map::new())));
        }
        Some(Value::Array(items)) if items.len() == 1 => {
            steps.push(Step::Set(parent, Value::Array(Vec::new())));
        }
        Some(Value::Object(_)) => steps.push(Step::RemoveKey(path.clone())),
        Some(Value::Array(_)) => {
            if let Ok(index) = key.parse() {
                steps.push(Step::RemoveItem(parent, index));
            }
        }
        _ => {}
    }
}
