//! The run's own copy of its corpus: written once when the run is submitted, read shard by shard.
//!
//! Parquet with independent row groups: the text of a document is stored in the first row of each group that refers to it,
//! so that reading a slice decodes only the groups that it touches.
//! *Invariant*: the corpus hash depends on content and order, not on how rows fall into groups.

mod check;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

pub use crate::file_error::FileError;
pub use check::{FoundCorpus, check_corpus};
pub use reader::CorpusReader;
pub use writer::{CorpusSummary, CorpusWriter};

/// Rows of a group at most.
const GROUP_ROWS: usize = 1000;

/// Metadata key of the format version.
const FORMAT_KEY: &str = "k8s_auto_fix.corpus";

/// Version of the format.
const FORMAT_VERSION: &str = "1";

const POSITION: &str = "position";
const ID: &str = "id";
const MANIFEST_PATH: &str = "manifest_path";
const DOCUMENT_HASH: &str = "document_hash";
const RAW_POLICY_ID: &str = "raw_policy_id";
const VIOLATION_TEXT: &str = "violation_text";
const PROBLEM_KIND: &str = "problem_kind";
const PROBLEM_MESSAGE: &str = "problem_message";
const DOCUMENT: &str = "document";
const NEIGHBOURS: &str = "neighbours";

fn columns() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let fields = vec![
        Field::new(POSITION, DataType::UInt64, false),
        text(ID, false),
        text(MANIFEST_PATH, false),
        Field::new(DOCUMENT_HASH, DataType::FixedSizeBinary(32), false),
        text(RAW_POLICY_ID, false),
        text(VIOLATION_TEXT, false),
        text(PROBLEM_KIND, true),
        text(PROBLEM_MESSAGE, true),
        text(DOCUMENT, true),
        text(NEIGHBOURS, true),
    ];
    let metadata = HashMap::from([(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}
