//! Collects what the rules find, in the server's words.

use std::fmt::{self, Display, Write as _};

use domain::api_server::KubernetesRelease;
use domain::pointer::Pointer;
use serde_json::Value;

use super::super::error::{Reason, SchemaError, SchemaErrorKind, cut};
use super::super::walk::MAX_ERRORS;
use super::features::Feature;
use super::node::Node;

/// Errors so far, and the release whose rules hold.
#[derive(Debug)]
pub(crate) struct Errors {
    found: Vec<SchemaError>,
    release: KubernetesRelease,
    /// Whether what other errors hide from the server is looked for too.
    is_lenient: bool,
}

/// A value as the server shows it: strings quoted, the rest as JSON.
struct Shown<'v>(Option<&'v Value>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(Value::String(text)) => write!(f, "{:?}", cut(text)),
            Some(other) => f.write_str(&cut(&other.to_string())),
        }
    }
}

/// A text as the server shows a string value.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

impl Errors {
    /// None so far.
    pub(crate) fn of(release: KubernetesRelease, is_lenient: bool) -> Self {
        Self { found: Vec::new(), release, is_lenient }
    }

    /// Whether what other errors hide from the server is looked for too.
    pub(crate) fn is_lenient(&self) -> bool {
        self.is_lenient
    }

    /// Whether the server of the release does so.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        feature.is_in(self.release)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn into_found(self) -> Vec<SchemaError> {
        self.found
    }

    fn note(&mut self, at: &Node<'_, '_>, reason: Reason, text: impl FnOnce() -> String) {
        if self.found.len() < MAX_ERRORS {
            let kind = SchemaErrorKind::Rule { field: at.to_string(), reason, text: text() };
            let pointer = at.keys().iter().fold(Pointer::ROOT, |pointer, key| pointer.child(key));
            self.found.push(SchemaError { pointer, kind });
        }
    }

    /// `Required value`, with what is required where that is not plain (else empty).
    pub(crate) fn required(&mut self, at: &Node<'_, '_>, detail: &str) {
        self.note(at, Reason::Required, || detail.to_owned());
    }

    /// [`Self::required`] if a string, list or map is empty or absent; whether it is there.
    pub(crate) fn needs(&mut self, at: &Node<'_, '_>) -> bool {
        let is_empty = at.is_empty();
        if is_empty {
            self.required(at, "");
        }
        !is_empty
    }

    /// `Invalid value` of what stands there.
    pub(crate) fn invalid(&mut self, at: &Node<'_, '_>, detail: &str) {
        self.note(at, Reason::Invalid, || detailed(Shown(at.value()), detail));
    }

    /// `Invalid value` of something else than what stands there.
    pub(crate) fn invalid_as(&mut self, at: &Node<'_, '_>, shown: impl Display, detail: &str) {
        self.note(at, Reason::Invalid, || detailed(shown, detail));
    }

    /// `Invalid value` of a string, which may be a default.
    pub(crate) fn invalid_text(&mut self, at: &Node<'_, '_>, text: &str, detail: &str) {
        self.note(at, Reason::Invalid, || detailed(quoted(text), detail));
    }

    /// `Invalid value` of a string for each message of a check.
    pub(crate) fn check(&mut self, at: &Node<'_, '_>, check: fn(&str) -> Vec<&'static str>) {
        self.check_text(at, at.str(), check);
    }

    /// [`Self::check`] of another text than the one that stands there.
    pub(crate) fn check_text(&mut self, at: &Node<'_, '_>, text: &str, check: fn(&str) -> Vec<&'static str>) {
        for message in check(text) {
            self.invalid_text(at, text, message);
        }
    }

    /// [`Self::needs`], then [`Self::check`].
    pub(crate) fn needs_checked(&mut self, at: &Node<'_, '_>, check: fn(&str) -> Vec<&'static str>) {
        if self.needs(at) {
            self.check(at, check);
        }
    }

    /// [`Self::check`] unless the string is empty or absent.
    pub(crate) fn check_if_any(&mut self, at: &Node<'_, '_>, check: fn(&str) -> Vec<&'static str>) {
        if !at.is_empty() {
            self.check(at, check);
        }
    }

    /// `Unsupported value` of what stands there.
    pub(crate) fn unsupported(&mut self, at: &Node<'_, '_>, supported: &[&str]) {
        self.note(at, Reason::NotSupported, || detailed(Shown(at.value()), &supported_values(supported)));
    }

    /// `Unsupported value` of a text, which may be a default.
    pub(crate) fn unsupported_text(&mut self, at: &Node<'_, '_>, text: &str, supported: &[&str]) {
        self.note(at, Reason::NotSupported, || detailed(quoted(text), &supported_values(supported)));
    }

    /// [`Self::unsupported`] if a string is there and not among those supported.
    pub(crate) fn one_of(&mut self, at: &Node<'_, '_>, supported: &[&str]) {
        if at.text().is_some_and(|text| !supported.contains(&text)) {
            self.unsupported(at, supported);
        }
    }

    /// [`Self::one_of`] where the server fills in a default for an absent or empty string.
    pub(crate) fn one_of_or_default(&mut self, at: &Node<'_, '_>, supported: &[&str]) {
        if !at.is_empty() {
            self.one_of(at, supported);
        }
    }

    /// `Duplicate value` of what stands there.
    pub(crate) fn duplicate(&mut self, at: &Node<'_, '_>) {
        self.note(at, Reason::Duplicate, || Shown(at.value()).to_string());
    }

    /// `Duplicate value` of a text.
    pub(crate) fn duplicate_text(&mut self, at: &Node<'_, '_>, text: &str) {
        self.note(at, Reason::Duplicate, || quoted(text));
    }

    /// `Not found`.
    pub(crate) fn not_found(&mut self, at: &Node<'_, '_>, text: &str) {
        self.note(at, Reason::NotFound, || quoted(text));
    }

    /// `Forbidden`.
    pub(crate) fn forbidden(&mut self, at: &Node<'_, '_>, detail: &str) {
        self.note(at, Reason::Forbidden, || detail.to_owned());
    }

    /// [`Self::forbidden`] if there is a value.
    pub(crate) fn forbidden_if_set(&mut self, at: &Node<'_, '_>, detail: &str) {
        if at.is_set() {
            self.forbidden(at, detail);
        }
    }

    /// `Too long`, in bytes.
    pub(crate) fn too_long(&mut self, at: &Node<'_, '_>, max: usize) {
        self.note(at, Reason::TooLong, || format!("may not be more than {max} bytes"));
    }

    /// [`Self::too_long`] if a string is longer.
    pub(crate) fn at_most_bytes(&mut self, at: &Node<'_, '_>, max: usize) {
        if at.str().len() > max {
            self.too_long(at, max);
        }
    }

    /// `Too many` entries; whether there are.
    pub(crate) fn at_most_entries(&mut self, at: &Node<'_, '_>, max: usize) -> bool {
        let count = at.len();
        if count > max {
            self.note(at, Reason::TooMany, || format!("{count}: must have at most {max} items"));
        }
        count > max
    }

    /// `must be greater than or equal to 0`.
    pub(crate) fn not_negative(&mut self, at: &Node<'_, '_>) {
        if at.number() < 0 {
            self.invalid(at, "must be greater than or equal to 0");
        }
    }

    /// A port number that must be there.
    pub(crate) fn port_number(&mut self, at: &Node<'_, '_>) {
        self.in_range(at, 1, 65_535);
    }

    /// An integer within bounds; 0 if absent.
    pub(crate) fn in_range(&mut self, at: &Node<'_, '_>, low: i64, high: i64) {
        let number = at.number();
        if !(low..=high).contains(&number) {
            self.invalid_as(at, number, &format!("must be between {low} and {high}, inclusive"));
        }
    }

    /// An integer within bounds, if it is there.
    pub(crate) fn in_range_if_set(&mut self, at: &Node<'_, '_>, low: i64, high: i64) {
        if at.is_set() {
            self.in_range(at, low, high);
        }
    }
}

fn detailed(shown: impl Display, detail: &str) -> String {
    if detail.is_empty() { shown.to_string() } else { format!("{shown}: {detail}") }
}

fn supported_values(supported: &[&str]) -> String {
    let mut text = String::from("supported values: ");
    for (index, value) in supported.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}\"{value}\"");
    }
    text
}
