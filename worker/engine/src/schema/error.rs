//! Schema errors of an object, in the wording of the API server.

use std::borrow::Cow;
use std::fmt;

use domain::pointer::Pointer;

/// A text longer than this is cut in messages: field names come from the document and may be anything.
const MAX_SHOWN: usize = 300;

/// What a rule says, with the value: longer than any of the server's own messages.
const MAX_TEXT: usize = 2_000;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where; for a missing field, where it should be.
    pub pointer: Pointer,
    /// What is wrong there.
    pub kind: SchemaErrorKind,
}

/// The faults an API server finds, most of them while it decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaErrorKind {
    /// The object decodes, and is refused by the server's validation.
    Rule {
        /// The field in the server's notation. Some of its paths are not the document's: `spec.template.labels`.
        field: String,
        /// What sort of fault it is.
        reason: Reason,
        /// The value and what is wrong with it; may be empty.
        text: String,
    },
    /// The object has no such field.
    UnknownField,
    /// The field is written twice in the document.
    DuplicateKey,
    /// The value's JSON type is not the field's.
    WrongType {
        /// The field's type, as the Go type is called.
        expected: &'static str,
        /// The value's JSON type, with the number itself where only its size or fraction is wrong.
        found: String,
    },
    /// The text is not of the field's format.
    BadFormat(Format),
    /// The field must be there.
    MissingRequired,
    /// `kind` is missing.
    MissingKind,
    /// `apiVersion` is missing.
    MissingApiVersion,
    /// `apiVersion` is neither `VERSION` nor `GROUP/VERSION`.
    BadApiVersion(String),
    /// A built-in group that does not serve this kind in this version.
    NotServed {
        /// `apiVersion` as written.
        api_version: String,
        /// `kind` as written.
        kind: String,
        /// What to write or use in its place, if anything.
        instead: Option<String>,
    },
    /// The value lies deeper than any real object.
    TooDeep,
}

impl SchemaErrorKind {
    /// Whether the server finds it while it decodes. It then validates nothing.
    pub fn hides_validation(&self) -> bool {
        !matches!(self, Self::Rule { .. } | Self::MissingRequired)
    }
}

/// Sorts of faults in the server's validation (its `field.ErrorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It stands there twice.
    Duplicate,
    /// It may not be there, given the rest.
    Forbidden,
    /// It is malformed or out of bounds.
    Invalid,
    /// It refers to something that the object does not have.
    NotFound,
    /// It is not one of a few values.
    NotSupported,
    /// It must be there.
    Required,
    /// It has too many bytes.
    TooLong,
    /// It has too many entries.
    TooMany,
}

impl Reason {
    /// As messages begin.
    pub fn text(self) -> &'static str {
        match self {
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::Invalid => "Invalid value",
            Self::NotFound => "Not found",
            Self::NotSupported => "Unsupported value",
            Self::Required => "Required value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// Text formats that decoding checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An RFC 3339 time.
    Time,
    /// An RFC 3339 time with exactly six digits behind the second.
    MicroTime,
    /// Base64.
    Base64,
    /// A quantity: a number, and letters behind it.
    Quantity,
    /// The letters behind a quantity's number.
    QuantitySuffix,
}

impl std::error::Error for SchemaError {}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = FieldPath(&self.pointer);
        match &self.kind {
            SchemaErrorKind::UnknownField => write!(f, "strict decoding error: unknown field \"{path}\""),
            SchemaErrorKind::DuplicateKey => write!(f, "strict decoding error: duplicate field \"{path}\""),
            SchemaErrorKind::WrongType { expected, found } => {
                write!(f, "cannot unmarshal {found} into field \"{path}\" of type {expected}")
            }
            SchemaErrorKind::Rule { field, reason, text } => {
                let colon = if text.is_empty() { "" } else { ": " };
                write!(f, "{}: {}{colon}{}", Shown(field), reason.text(), cut_at(text, MAX_TEXT))
            }
            SchemaErrorKind::BadFormat(Format::Time) => {
                write!(f, "cannot parse field \"{path}\" as an RFC 3339 time")
            }
            SchemaErrorKind::BadFormat(Format::MicroTime) => {
                write!(f, "cannot parse field \"{path}\" as an RFC 3339 time with microseconds")
            }
            SchemaErrorKind::BadFormat(Format::Quantity) => {
                write!(
                    f,
                    "field \"{path}\": quantities must match the regular expression \
                     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                )
            }
            SchemaErrorKind::BadFormat(Format::QuantitySuffix) => {
                write!(f, "field \"{path}\": unable to parse quantity's suffix")
            }
            SchemaErrorKind::BadFormat(Format::Base64) => {
                write!(f, "illegal base64 data in field \"{path}\"")
            }
            SchemaErrorKind::MissingRequired => write!(f, "{path}: Required value"),
            SchemaErrorKind::MissingKind => write!(f, "{}: Object 'Kind' is missing", Place(path)),
            SchemaErrorKind::MissingApiVersion => {
                write!(f, "{}: Object 'apiVersion' is missing", Place(path))
            }
            SchemaErrorKind::BadApiVersion(text) => {
                write!(f, "unexpected GroupVersion string: {}", Shown(text))
            }
            SchemaErrorKind::NotServed { api_version, kind, instead } => {
                let (kind, version) = (Shown(kind), Shown(api_version));
                write!(f, "no matches for kind \"{kind}\" in version \"{version}\"")?;
                instead.as_ref().map_or(Ok(()), |instead| write!(f, " ({instead})"))
            }
            SchemaErrorKind::TooDeep => write!(f, "field \"{path}\" is nested too deeply"),
        }
    }
}

/// A pointer in the server's notation: `spec.containers[0].name`.
pub(super) struct FieldPath<'a>(pub(super) &'a Pointer);

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for key in self.0.keys() {
            if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
                text.push('[');
                text.push_str(&key);
                text.push(']');
            } else {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&key);
            }
        }
        Shown(&text).fmt(f)
    }
}

/// The object a message without a field speaks of.
struct Place<'a>(FieldPath<'a>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0.as_str().is_empty() { f.write_str("document") } else { self.0.fmt(f) }
    }
}

/// Text of the document, cut.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&cut(self.0))
    }
}

/// Cuts a text of the document to what a message shows.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    cut_at(text, MAX_SHOWN)
}

fn cut_at(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
