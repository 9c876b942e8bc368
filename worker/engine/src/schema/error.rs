//! Schema errors of an object, in the wording of the API server.

use std::fmt;

use domain::pointer::Pointer;

/// A text longer than this is cut in messages: field names come from the document and may be anything.
const MAX_SHOWN: usize = 300;

/// One structural fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where; for a missing field, where it should be.
    pub pointer: Pointer,
    /// What is wrong there.
    pub kind: SchemaErrorKind,
}

/// The faults an API server finds before it looks at any meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaErrorKind {
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

/// Text formats that decoding checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An RFC 3339 time.
    Time,
    /// Base64.
    Base64,
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
            SchemaErrorKind::BadFormat(Format::Time) => {
                write!(f, "cannot parse field \"{path}\" as an RFC 3339 time")
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
struct FieldPath<'a>(&'a Pointer);

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
        match self.0.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}
