//! A run that others can repeat: one archive with all that decides its outcomes, and its replay without network.
//!
//! *Owns* the format of the archive (`Manifest`). *Invariants*: the same run gives the same bytes; nothing of an archive is
//! written outside the folder that it is unpacked to, and nothing that its manifest does not list with size and hash.

mod archive;
mod compare;
mod error;
mod gather;
mod manifest;
mod rerun;
mod unpack;

pub(crate) use archive::{Member, write};
pub(crate) use compare::Comparison;
pub(crate) use gather::{Draft, corpus_reader, secret_documents};
pub(crate) use manifest::{CorpusNote, Manifest, names};
pub(crate) use rerun::Rerun;
pub(crate) use unpack::unpack;
