//! Batches of calls: files that are uploaded, worked on for a while, and downloaded, with what goes wrong on the way.
//!
//! *Owns* the files (on disk, in a folder of its own), the batches and the counts of what was paid for. A batch is worked on
//! by the clock alone; its output is written when it is looked at after its end.

mod faults;
mod files;
mod http;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use domain::ids::AnswerKey;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

pub use faults::{BatchFault, BatchFaults};
pub(crate) use http::{routes, upload_route};
use work::Batch;
pub(crate) use work::Worker;

/// How batches are worked on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchSettings {
    /// How long a batch takes, in seconds.
    pub delay: f64,
    /// What goes wrong.
    pub faults: BatchFaults,
}

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
struct StoredFile {
    path: PathBuf,
    bytes: u64,
    purpose: String,
    name: String,
    created_at: u64,
}

/// The files, the batches, and what was paid for.
#[derive(Debug)]
pub(crate) struct Batches {
    folder: TempDir,
    files: BTreeMap<String, StoredFile>,
    all: Vec<Batch>,
    /// Hashes of the bodies that were paid for.
    paid: BTreeSet<AnswerKey>,
    report: BatchReport,
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
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn fault(&mut self, fault: BatchFault) {
        *self.report.faults.entry(fault.as_str()).or_default() += 1;
    }

    fn find(&mut self, id: &str) -> Option<&mut Batch> {
        self.all.iter_mut().find(|batch| batch.id == id)
    }

    /// The batches, newest first.
    fn list(&self) -> impl Iterator<Item = &Batch> {
        self.all.iter().rev()
    }

    fn add(&mut self, batch: Batch) {
        self.report.created += 1;
        self.report.lines += batch.lines;
        self.all.push(batch);
    }
}

/// A text field of a JSON object; empty where it has none.
fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
