//! The files and batches at the provider, and what was paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use domain::ids::AnswerKey;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::batch::Batch;
use super::faults::BatchFault;

/// What was asked for and paid by batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BatchReport {
    /// Files that were uploaded.
    pub uploaded: u64,
    /// Batches that were created.
    pub created: u64,
    /// Batches by the state in which they ended.
    pub ended: BTreeMap<&'static str, u64>,
    /// Lines of all batches.
    pub lines: u64,
    /// Lines that were answered, and so are billed.
    pub lines_paid: u64,
    /// Distinct questions among them.
    pub distinct_paid: u64,
    /// Lines that were refused, which cost nothing.
    pub lines_refused: u64,
    /// Injected faults by name.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A file at the provider.
#[derive(Debug, Clone)]
pub(super) struct StoredFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) purpose: String,
    pub(super) name: String,
    pub(super) created_at: u64,
}

/// The files, the batches, and what was paid for.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(super) folder: TempDir,
    pub(super) files: BTreeMap<String, StoredFile>,
    pub(super) all: Vec<Batch>,
    /// Hashes of the bodies that were paid for.
    pub(super) paid: BTreeSet<AnswerKey>,
    pub(super) report: BatchReport,
    numbers: u64,
}

impl Batches {
    /// None yet.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            folder: TempDir::new()?,
            files: BTreeMap::new(),
            all: Vec::new(),
            paid: BTreeSet::new(),
            report: BatchReport::default(),
            numbers: 0,
        })
    }

    /// The counts until now.
    pub(crate) fn report(&self) -> BatchReport {
        self.report.clone()
    }

    /// A number that no file and no batch has.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn fault(&mut self, fault: BatchFault) {
        *self.report.faults.entry(fault.as_str()).or_default() += 1;
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Batch> {
        self.all.iter_mut().find(|batch| batch.id == id)
    }

    /// The batches, newest first.
    pub(super) fn list(&self) -> impl Iterator<Item = &Batch> {
        self.all.iter().rev()
    }

    pub(super) fn add(&mut self, batch: Batch) {
        self.report.created += 1;
        self.report.lines += batch.lines;
        self.all.push(batch);
    }
}

/// A text field of a JSON object; empty where it has none.
pub(super) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
