//! The embedded depth of the schema gate: would an API server decode this object?
//!
//! *Owns* the structure of every built-in kind of one Kubernetes release, embedded in the binary.
//! *Never* judges meaning: names, quantities' syntax, selectors, references and the like belong to other rules.
//!
//! What is checked, and where each rule comes from:
//! - the kind is served in its version (the `x-kubernetes-group-version-kind` marks of the `OpenAPI`
//!   publication); objects of a group that is not built in are [`Report::UnknownKind`]: the gate does not judge them;
//! - no unknown and no repeated field: field validation `Strict`, which `kubectl apply` asks for by default;
//!   names are compared with case, as the server does since 1.20;
//! - every value has the JSON type of its Go field, with the liberties of the server's decoder: `null` is
//!   "absent" anywhere, an integer may be written `1.0` in YAML, a quantity may be a bare number, an
//!   int-or-string is either, a time is RFC 3339, `[]byte` is base64;
//! - required fields: the publication's `required` lists, corrected by the table in `required.rs` where the
//!   server's own validation is known to differ; `status` is dropped on creation, so that what it lacks
//!   is not counted as a fault;
//! - the object has a name or a `generateName`, except where it is never stored.
//!
//! Not checked: values (enumerations, ranges, patterns), fields that exclude each other, list entries with
//! equal keys, the schemas inside a `CustomResourceDefinition` below their first level of free-form JSON.
//!
//! `scripts/schemas` regenerates the embedded file from the published schemas.

mod decode;
mod error;
mod format;
mod kinds;
mod model;
mod required;
mod rules;
mod structural;
mod walk;

#[cfg(test)]
mod tests;

pub use decode::DecodeError;
pub use error::{Format, Reason, SchemaError, SchemaErrorKind};
pub use structural::{Report, Structural};
