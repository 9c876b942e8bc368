//! The embedded depth of the schema gate: would an API server accept this object?
//!
//! *Owns* the structure of every built-in kind of each Kubernetes release from 1.30 on, embedded in the binary, and the
//! server's own rules for the kinds that users write (`rules/`): those of the newest release, and what differs in older ones
//! (`rules/features.rs`).
//! *Never* judges what depends on a cluster: namespaces, classes and definitions that may exist, ranges of ports and
//! addresses, webhooks.
//! *Invariant*: the order is the server's. It decodes strictly; what it cannot decode it reports first and alone. Then it
//! fills in defaults, drops `status`, and validates.
//!
//! What is checked, and where each rule comes from:
//! - the kind is served in its version (the `x-kubernetes-group-version-kind` marks of the `OpenAPI`
//!   publication); objects of a group that is not built in are [`Report::UnknownKind`]: the gate does not judge them;
//! - no unknown and no repeated field: field validation `Strict`, which `kubectl apply` asks for by default;
//!   names are compared with case, as the server does since 1.20;
//! - every value has the JSON type of its Go field, with the liberties of the server's decoder: `null` is
//!   "absent" anywhere, an integer may be written `1.0` in YAML, an int-or-string is either; a quantity parses, a time is
//!   RFC 3339, `[]byte` is base64;
//! - the rules of the kind. A kind without rules has its fields required by the publication's lists, corrected by the
//!   table in `required.rs`, and a name or a `generateName` except where it is never stored.
//!
//! Not checked: the types of CEL expressions beyond what they show themselves, regular expressions beyond their brackets and
//! repetitions, defaults inside a `CustomResourceDefinition`'s schema, the certificate inside a signing request.
//!
//! `scripts/schemas` regenerates the embedded files from the published schemas.

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
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use decode::DecodeError;
pub use error::{Format, Reason, SchemaError, SchemaErrorKind};
pub use structural::{Report, Structural};
