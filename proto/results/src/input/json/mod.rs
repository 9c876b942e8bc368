//! Published detections: a JSON array, alone or under a key of an object, or JSON lines, one entry at a time.
//!
//! *Invariant*: memory is bounded by the limit on one record, for any content of the file.

mod entry;
mod splitter;
#[cfg(test)]
mod tests;

use std::io::Read;

use domain::config::Limits;
use domain::published::Detection;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::file_error::FileError;
use splitter::{Content, Splitter};

pub use crate::input::Input;
pub use entry::{Entry, Malformed};

/// Nesting that the JSON parser follows (its own limit is 128).
const MAX_DEPTH: usize = 120;

const DETECTIONS: &str = "detections.json";

/// The elements of a JSON array, or the values of JSON lines, as typed entries.
#[derive(Debug)]
pub struct Elements<R> {
    splitter: Splitter<R>,
    index: u64,
    /// The published file whose format the entries have, for messages.
    format: &'static str,
}

/// One element: the value, or why it is none. `index` counts from 0.
#[derive(Debug)]
pub struct Element<T> {
    /// 0-based place among the elements.
    pub index: u64,
    /// The value, or what is wrong with it.
    pub content: Result<T, Malformed>,
}

impl Elements<Input> {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let input = Input::open(path)?.text()?;
        let name = input.name().to_owned();
        Ok(Self::new(&name, input, limits))
    }
}

impl<R: Read> Elements<R> {
    /// Takes any reader of plain (unpacked) text; `name` stands for it in errors.
    pub fn new(name: &str, reader: R, limits: &Limits) -> Self {
        Self { splitter: Splitter::new(name, reader, limits.record_bytes), index: 0, format: DETECTIONS }
    }

    /// Takes the entries for those of patches.json, where a message names the format.
    #[must_use]
    pub fn of_patches(self) -> Self {
        Self { format: "patches.json", ..self }
    }

    /// The next element, `None` at the end. Broken JSON is an error of the file; an element of the wrong shape, size or
    /// encoding is [`Malformed`].
    pub fn next_element<T: DeserializeOwned>(&mut self) -> Result<Option<Element<T>>, FileError> {
        self.next_with(|bytes| match bytes.first() {
            Some(b'{') => serde_json::from_slice(bytes),
            // Serde would take a list of the fields' values for an object.
            _ => Err(serde::de::Error::custom("no object")),
        })
    }

    /// As [`Self::next_element`], with the parser's part in the hands of the caller.
    pub(crate) fn next_with<T>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<Option<Element<T>>, FileError> {
        let Some(raw) = self.splitter.next_value()? else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let number = index + 1;
        let at = raw.place;
        let malformed = |what: String| Err(Malformed::of(format!("entry {number}, {at}: {what}")));
        let content = match raw.content {
            Content::TooLarge { bytes, limit } => malformed(format!(
                "{bytes} bytes are more than limits.record_bytes = {limit}; raise the limit or drop the entry"
            )),
            Content::Text { depth, .. } if depth > MAX_DEPTH => {
                malformed(format!("nested {depth} deep, more than {MAX_DEPTH}; drop the entry"))
            }
            Content::Text { bytes, .. } => match parse(bytes) {
                Ok(value) => Ok(value),
                Err(error) => {
                    if let Err(utf8) = std::str::from_utf8(bytes) {
                        let byte = at.byte + utf8.valid_up_to() as u64;
                        malformed(format!("not UTF-8 at byte {byte}; save the file as UTF-8"))
                    } else if let Err(syntax) = serde_json::from_slice::<IgnoredAny>(bytes) {
                        return Err(raw.syntax_error(&syntax));
                    } else {
                        let mut found = salvage(bytes);
                        let is_record =
                            self.format != DETECTIONS || found.id.is_some() || found.policy_id.is_some();
                        let remedy = if is_record {
                            format!("see the format of {}", self.format)
                        } else {
                            Malformed::NO_RECORD.to_owned()
                        };
                        found.message = format!("entry {number}, {at}: {}; {remedy}", reason(&error));
                        Err(found)
                    }
                }
            },
        };
        Ok(Some(Element { index, content }))
    }
}

/// What serde says of the shape, without its own idea of the place.
fn reason(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
    text
}

/// What can still be said of an entry of the wrong shape.
fn salvage(bytes: &[u8]) -> Malformed {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Loose {
        id: serde_json::Value,
        policy_id: serde_json::Value,
        manifest_path: serde_json::Value,
    }
    let object = bytes.first() == Some(&b'{');
    let loose: Loose =
        if object { serde_json::from_slice(bytes).unwrap_or_default() } else { Loose::default() };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Malformed {
        id: text(loose.id),
        policy_id: text(loose.policy_id),
        manifest_path: text(loose.manifest_path),
        message: String::new(),
    }
}

/// The entries of a detections file, in order. After an error of the file it ends.
#[derive(Debug)]
pub struct Detections<R = Input> {
    elements: Elements<R>,
    done: bool,
}

impl Detections {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        Ok(Self { elements: Elements::open(path, limits)?, done: false })
    }
}

impl<R: Read> Detections<R> {
    /// Takes any reader of plain (unpacked) text; `name` stands for it in errors.
    pub fn new(name: &str, reader: R, limits: &Limits) -> Self {
        Self { elements: Elements::new(name, reader, limits), done: false }
    }
}

impl<R: Read> Iterator for Detections<R> {
    type Item = Result<Entry, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.elements.next_element::<Detection>();
        self.done = !matches!(next, Ok(Some(_)));
        next.map(|found| found.map(|Element { index, content }| Entry { index, content })).transpose()
    }
}
