//! Validates one object against one definition: fields, types, missing fields.

use domain::api_server::KubernetesRelease;
use domain::pointer::Pointer;
use serde_json::{Map, Number, Value};

use super::error::{FieldPath, Format, SchemaError, SchemaErrorKind};
use super::format::{is_base64, is_micro_time, is_rfc3339};
use super::model::{DefinitionId, Model, Type};
use super::rules::{NotAQuantity, Quantity};

/// Errors kept per document: enough to mend it, and a bound on what a hostile document costs.
pub(super) const MAX_ERRORS: usize = 100;

/// Levels of nesting; no real object comes near, and recursion must end.
pub(super) const MAX_DEPTH: usize = 200;

/// The part of a path that one step adds.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// A validation in progress: where it is and what it found.
pub(super) struct Walk<'a> {
    model: &'a Model,
    release: KubernetesRelease,
    path: Vec<Step<'a>>,
    errors: Vec<SchemaError>,
    /// Off inside `status`, which the server drops before it validates.
    requires: bool,
    /// Whether objects are validated although they do not decode.
    is_lenient: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(model: &'a Model, release: KubernetesRelease) -> Self {
        let (path, errors) = (Vec::with_capacity(16), Vec::new());
        Self { model, release, path, errors, requires: true, is_lenient: false }
    }

    /// One that validates what does not decode too.
    pub(super) fn lenient(model: &'a Model, release: KubernetesRelease) -> Self {
        Self { is_lenient: true, ..Self::new(model, release) }
    }

    pub(super) fn model(&self) -> &'a Model {
        self.model
    }

    pub(super) fn release(&self) -> KubernetesRelease {
        self.release
    }

    pub(super) fn is_lenient(&self) -> bool {
        self.is_lenient
    }

    pub(super) fn into_errors(self) -> Vec<SchemaError> {
        self.errors
    }

    /// Runs `inner` one step further down; refuses to go deeper than any object does.
    pub(super) fn below(&mut self, step: Step<'a>, inner: impl FnOnce(&mut Self)) {
        self.path.push(step);
        if self.path.len() > MAX_DEPTH {
            self.report(SchemaErrorKind::TooDeep);
        } else {
            inner(self);
        }
        self.path.pop();
    }

    /// Notes an error at the present place.
    pub(super) fn report(&mut self, kind: SchemaErrorKind) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(SchemaError { pointer: self.here(), kind });
        }
    }

    /// Notes an error one step further down.
    pub(super) fn report_below(&mut self, step: Step<'a>, kind: SchemaErrorKind) {
        self.path.push(step);
        self.report(kind);
        self.path.pop();
    }

    /// Notes that a value is not of the type it should be.
    pub(super) fn wrong_type(&mut self, expected: &'static str, value: &Value) {
        self.report(SchemaErrorKind::WrongType { expected, found: type_name(value).to_owned() });
    }

    /// A whole object: like [`Self::record`], but what its `status` lacks is not asked for. `requires` is off for kinds
    /// whose rules say what they need.
    pub(super) fn object(&mut self, id: DefinitionId, fields: &'a Map<String, Value>, requires: bool) {
        self.requires = requires;
        self.fields(id, fields, true);
        self.requires = true;
    }

    /// How many errors there are.
    pub(super) fn found(&self) -> usize {
        self.errors.len()
    }

    /// Drops the errors after the first `kept` that the server would not have looked for, if one of them hides the rest;
    /// whether one does.
    pub(super) fn settle(&mut self, kept: usize) -> bool {
        if self.is_lenient {
            return false;
        }
        let hides = |error: &SchemaError| error.kind.hides_validation();
        let is_hidden = self.errors.iter().skip(kept).any(hides);
        if is_hidden {
            let mut index = 0;
            self.errors.retain(|error| {
                index += 1;
                index <= kept || hides(error)
            });
        }
        is_hidden
    }

    /// Adds the errors of the object here. A path that the document does not have points at what it has of it.
    pub(super) fn adopt(&mut self, object: &Value, errors: Vec<SchemaError>) {
        let here = self.here();
        let mut prefix = FieldPath(&here).to_string();
        if !prefix.is_empty() {
            prefix.push('.');
        }
        for SchemaError { mut pointer, kind } in errors {
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
            while pointer.resolve(object).is_none()
                && let Some((parent, _)) = pointer.split_last()
            {
                pointer = parent;
            }
            let pointer = pointer.keys().fold(here.clone(), |pointer, key| pointer.child(&key));
            let kind = match kind {
                SchemaErrorKind::Rule { field, reason, text } if !prefix.is_empty() => {
                    SchemaErrorKind::Rule { field: format!("{prefix}{field}"), reason, text }
                }
                other => other,
            };
            self.errors.push(SchemaError { pointer, kind });
        }
    }

    fn here(&self) -> Pointer {
        self.path.iter().fold(Pointer::ROOT, |pointer, step| match step {
            Step::Key(key) => pointer.child(key),
            Step::Index(index) => pointer.index(*index),
        })
    }

    fn record(&mut self, id: DefinitionId, fields: &'a Map<String, Value>) {
        self.fields(id, fields, false);
    }

    fn fields(&mut self, id: DefinitionId, fields: &'a Map<String, Value>, whole: bool) {
        let Some(definition) = self.model.definition(id) else { return };
        let mut seen = 0;
        for (name, value) in fields {
            let Some(field) = definition.field(name) else {
                self.report_below(Step::Key(name), SchemaErrorKind::UnknownField);
                continue;
            };
            if value.is_null() {
                continue;
            }
            seen |= field.required;
            let requires = self.requires;
            self.requires &= !(whole && name == "status");
            self.below(Step::Key(name), |walk| walk.value(field.of, value));
            self.requires = requires;
        }
        self.missing(id, seen);
    }

    fn missing(&mut self, id: DefinitionId, seen: u64) {
        let model: &'a Model = self.model;
        if let Some(definition) = model.definition(id).filter(|_| self.requires) {
            for field in definition.missing(seen) {
                self.report_below(Step::Key(&field.name), SchemaErrorKind::MissingRequired);
            }
        }
    }

    /// A value that is not null.
    fn value(&mut self, of: Type, value: &'a Value) {
        match (of, value) {
            (Type::Any, _)
            | (Type::Object, Value::Object(_))
            | (Type::String | Type::IntOrString, Value::String(_))
            | (Type::Boolean, Value::Bool(_))
            | (Type::Number | Type::Quantity, Value::Number(_)) => {}
            (Type::Bytes, Value::String(text)) => self.format(Format::Base64, is_base64(text)),
            (Type::Time, Value::String(text)) => self.format(Format::Time, is_rfc3339(text)),
            (Type::MicroTime, Value::String(text)) => self.format(Format::MicroTime, is_micro_time(text)),
            (Type::Quantity, Value::String(text)) => match Quantity::parse(text.trim()) {
                Ok(_) => {}
                Err(NotAQuantity::Format) => self.format(Format::Quantity, false),
                Err(NotAQuantity::Suffix) => self.format(Format::QuantitySuffix, false),
            },
            (Type::Int32 | Type::IntOrString, Value::Number(number)) => {
                self.integer("int32", number, i64::from(i32::MIN)..=i64::from(i32::MAX));
            }
            (Type::Int64, Value::Number(number)) => self.integer("int64", number, i64::MIN..=i64::MAX),
            (Type::Record(id), Value::Object(fields)) => self.record(id, fields),
            (Type::List(inner), Value::Array(entries)) => {
                let inner = self.model.inner(inner);
                for (index, entry) in entries.iter().enumerate() {
                    self.below(Step::Index(index), |walk| walk.entry(inner, entry));
                }
            }
            (Type::Map(inner), Value::Object(entries)) => {
                let inner = self.model.inner(inner);
                for (key, entry) in entries {
                    self.below(Step::Key(key), |walk| walk.entry(inner, entry));
                }
            }
            (of, value) => self.wrong_type(go_name(of), value),
        }
    }

    /// An entry of a list or map: null stands for the zero value, which may lack required fields.
    fn entry(&mut self, of: Type, value: &'a Value) {
        match (of, value) {
            (Type::Record(id), Value::Null) => self.missing(id, 0),
            (_, Value::Null) => {}
            (of, value) => self.value(of, value),
        }
    }

    fn format(&mut self, format: Format, is_right: bool) {
        if !is_right {
            self.report(SchemaErrorKind::BadFormat(format));
        }
    }

    fn integer(&mut self, expected: &'static str, number: &Number, range: std::ops::RangeInclusive<i64>) {
        if !whole_number(number).is_some_and(|whole| range.contains(&whole)) {
            self.report(SchemaErrorKind::WrongType { expected, found: format!("number {number}") });
        }
    }
}

/// The number as an integer. A YAML float without a fraction counts: on its way to the server it becomes `1`.
fn whole_number(number: &Number) -> Option<i64> {
    /// From here on JSON writers use an exponent, which Go does not read as an integer.
    const EXPONENT: f64 = 1e21;
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXPONENT)?;
    format!("{float:.0}").parse().ok()
}

/// The JSON type of a value, as Go's decoder calls it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_name(of: Type) -> &'static str {
    match of {
        Type::Any => "any",
        Type::Object | Type::Record(_) => "object",
        Type::String => "string",
        Type::Bytes => "[]byte",
        Type::Time | Type::MicroTime => "time",
        Type::Boolean => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Number => "float64",
        Type::IntOrString => "int or string",
        Type::Quantity => "quantity",
        Type::List(_) => "list",
        Type::Map(_) => "map",
    }
}
