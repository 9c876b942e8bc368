//! The schema gate: validates a document and returns a report.

use std::sync::OnceLock;

use domain::api_server::KubernetesRelease;
use domain::pointer::Pointer;
use serde_json::{Map, Value};

use super::decode::{DecodeError, EMBEDDED, decode};
use super::error::{SchemaError, SchemaErrorKind};
use super::kinds::Served;
use super::model::{Model, Resource, Type};
use super::rules;
use super::walk::{MAX_ERRORS, Step, Walk};

/// What the structural gate says of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An API server would decode it.
    Valid,
    /// An API server would refuse it; at least one error, at most a hundred, in document order.
    Invalid(Vec<SchemaError>),
    /// Not a built-in kind (a custom resource): the gate has no say.
    UnknownKind {
        /// The API group.
        group: String,
        /// The version.
        version: String,
        /// The kind.
        kind: String,
    },
}

impl Report {
    /// Whether the gate passes: valid, or none of its business.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Invalid(_))
    }

    /// The errors; none unless invalid.
    pub fn errors(&self) -> &[SchemaError] {
        match self {
            Self::Invalid(errors) => errors,
            Self::Valid | Self::UnknownKind { .. } => &[],
        }
    }
}

/// The structure of every built-in kind of one Kubernetes release, and which rules of its server hold.
#[derive(Debug)]
pub struct Structural {
    pub(super) model: Model,
    pub(super) release: KubernetesRelease,
}

impl Structural {
    /// A release, decoded on first use: each is embedded in the binary.
    ///
    /// # Panics
    /// Never: the embedded files are fixed when the binary is built, and a test decodes each.
    pub fn of(release: KubernetesRelease) -> &'static Self {
        static DECODED: [OnceLock<Structural>; EMBEDDED.len()] = [const { OnceLock::new() }; EMBEDDED.len()];
        let at = usize::from(release.minor() - KubernetesRelease::OLDEST.minor());
        let (once, bytes) =
            DECODED.get(at).zip(EMBEDDED.get(at)).expect("each release is embedded: a test looks");
        once.get_or_init(|| {
            Self::decode(bytes, release).expect("the embedded schemas decode: a test does it")
        })
    }

    /// The newest release.
    pub fn newest() -> &'static Self {
        Self::of(KubernetesRelease::NEWEST)
    }

    /// Decodes a file that `scripts/schemas` wrote.
    pub fn decode(bytes: &[u8], release: KubernetesRelease) -> Result<Self, DecodeError> {
        decode(bytes).map(|model| Self { model, release })
    }

    /// The version that the structure was published with, e.g. `1.37.0`.
    pub fn version(&self) -> &str {
        &self.model.version
    }

    /// How many kinds (of a group and version) it knows.
    pub fn kinds(&self) -> usize {
        self.model.kinds.len()
    }

    /// Judges a document; `duplicate_keys` are the repeated keys its parser met, which the value cannot show.
    pub fn validate(&self, document: &Value, duplicate_keys: &[Pointer]) -> Report {
        let mut walk = Walk::new(&self.model, self.release);
        let mut verdict = Verdict::default();
        document_of(&mut walk, document, None, &mut verdict);
        let mut errors = walk.into_errors();
        if !duplicate_keys.is_empty() {
            errors.retain(|error| error.kind.hides_validation());
        }
        errors.extend(
            duplicate_keys
                .iter()
                .take(MAX_ERRORS)
                .map(|pointer| SchemaError { pointer: pointer.clone(), kind: SchemaErrorKind::DuplicateKey }),
        );
        errors.truncate(MAX_ERRORS);
        match verdict.foreign {
            _ if !errors.is_empty() => Report::Invalid(errors),
            Some((group, version, kind)) if !verdict.known => Report::UnknownKind { group, version, kind },
            _ => Report::Valid,
        }
    }

    /// What the server would say of a document if it ignored what it cannot decode, e.g. unknown fields, and looked at what
    /// is wrong already: errors that others hide, and that show when those are mended.
    pub fn hidden_errors(&self, document: &Value) -> Vec<SchemaError> {
        let mut walk = Walk::lenient(&self.model, self.release);
        document_of(&mut walk, document, None, &mut Verdict::default());
        let mut errors = walk.into_errors();
        errors.retain(|error| !error.kind.hides_validation());
        errors
    }
}

/// What the objects of a document were: a list may hold both sorts.
#[derive(Default)]
struct Verdict {
    known: bool,
    /// The first object that is not of a built-in kind.
    foreign: Option<(String, String, String)>,
}

/// The type that entries of a typed list have if they do not say it themselves.
#[derive(Clone, Copy)]
struct Implied<'a> {
    api_version: &'a str,
    kind: &'a str,
}

/// One object, or a list of objects: `kubectl` takes lists apart and sends their entries.
fn document_of<'a>(
    walk: &mut Walk<'a>,
    document: &'a Value,
    implied: Option<Implied<'a>>,
    verdict: &mut Verdict,
) {
    let Value::Object(fields) = document else {
        walk.wrong_type("object", document);
        return;
    };
    let api_version = identity(walk, fields, "apiVersion", implied.map(|implied| implied.api_version));
    let kind = identity(walk, fields, "kind", implied.map(|implied| implied.kind));
    let (Some(api_version), Some(kind)) = (api_version, kind) else { return };
    let Some((group, version)) = split_api_version(api_version) else {
        walk.report_below(Step::Key("apiVersion"), SchemaErrorKind::BadApiVersion(api_version.to_owned()));
        return;
    };
    if (group, version, kind) == ("", "v1", "List") {
        return entries_of(walk, fields, None, verdict);
    }
    match walk.model().served(group, version, kind) {
        Served::Yes(found) => match entry_kind(walk.model(), found) {
            Some(kind) if fields.get("items").is_some_and(Value::is_array) => {
                entries_of(walk, fields, Some(Implied { api_version, kind }), verdict);
            }
            _ => {
                verdict.known = true;
                object_of(walk, found, document, fields);
            }
        },
        Served::No(instead) => walk.report(SchemaErrorKind::NotServed {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            instead,
        }),
        Served::Foreign => {
            verdict.foreign.get_or_insert_with(|| (group.to_owned(), version.to_owned(), kind.to_owned()));
        }
    }
}

/// Decodes, then validates: what the decoder refuses is not looked at further.
fn object_of<'a>(walk: &mut Walk<'a>, kind: &'a Resource, object: &'a Value, fields: &'a Map<String, Value>) {
    let before = walk.found();
    let has_rules = rules::covers(&kind.group, &kind.version, &kind.kind);
    walk.object(kind.definition, fields, !has_rules);
    if !has_rules && kind.is_stored() && !is_named(fields) {
        walk.below(Step::Key("metadata"), |walk| {
            walk.report_below(Step::Key("name"), SchemaErrorKind::MissingRequired);
        });
    }
    if !walk.settle(before) {
        let identity = (&*kind.group, &*kind.version, &*kind.kind);
        let errors = rules::check(identity, object, kind.is_namespaced(), walk.release(), walk.is_lenient());
        walk.adopt(object, errors);
    }
}

/// Whether an object has a name or lets the server make one. Values of a wrong type are reported as such.
fn is_named(fields: &Map<String, Value>) -> bool {
    let given = |value: Option<&Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    match fields.get("metadata") {
        Some(Value::Object(metadata)) => given(metadata.get("name")) || given(metadata.get("generateName")),
        other => given(other),
    }
}

fn entries_of<'a>(
    walk: &mut Walk<'a>,
    fields: &'a Map<String, Value>,
    implied: Option<Implied<'a>>,
    verdict: &mut Verdict,
) {
    walk.below(Step::Key("items"), |walk| match fields.get("items") {
        None | Some(Value::Null) => {}
        Some(Value::Array(entries)) => {
            for (index, entry) in entries.iter().enumerate() {
                walk.below(Step::Index(index), |walk| document_of(walk, entry, implied, verdict));
            }
        }
        Some(other) => walk.wrong_type("list", other),
    });
}

/// The kind of a typed list's entries: `PodList` holds `Pod`s.
fn entry_kind<'a>(model: &'a Model, list: &'a Resource) -> Option<&'a str> {
    let kind = list.kind.strip_suffix("List")?;
    let entry = model.definition_of(&list.group, &list.version, kind)?;
    let items = model.definition(list.definition)?.field("items")?.of;
    matches!(items, Type::List(inner) if model.inner(inner) == Type::Record(entry)).then_some(kind)
}

/// `kind` or `apiVersion` of an object.
fn identity<'a>(
    walk: &mut Walk<'a>,
    fields: &'a Map<String, Value>,
    name: &'static str,
    implied: Option<&'a str>,
) -> Option<&'a str> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => return Some(text),
        None | Some(Value::Null | Value::String(_)) => {
            if implied.is_some() {
                return implied;
            }
            let is_kind = name == "kind";
            walk.report(if is_kind {
                SchemaErrorKind::MissingKind
            } else {
                SchemaErrorKind::MissingApiVersion
            });
        }
        Some(other) => walk.below(Step::Key(name), |walk| walk.wrong_type("string", other)),
    }
    None
}

/// `VERSION` or `GROUP/VERSION`, taken apart.
fn split_api_version(text: &str) -> Option<(&str, &str)> {
    match text.split_once('/') {
        None => Some(("", text)),
        Some((group, version)) => (!version.contains('/')).then_some((group, version)),
    }
}
