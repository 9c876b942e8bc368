//! Records what undoes the repairs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use corpus::FileScan;
use domain::ids::DocumentHash;
use domain::patch::Patch;
use similar::{DiffOp, TextDiff};

use super::{CompanionsEntry, Entry, FORMAT, Header, ObjectEntry, TextEdit, VERSION};
use crate::commands::companions::Companions;
use crate::commands::fix::repaired::{Repair, Repaired};
use crate::commands::fix::tracking::lines_of;

/// Longest time to look for the smallest difference of a file; a larger one is written then.
const LONGEST: Duration = Duration::from_secs(2);

/// Writes a file that undoes repairs.
#[derive(Debug)]
pub(in crate::commands::fix) struct Recorder {
    path: PathBuf,
    /// Made with its first entry.
    file: Option<File>,
}

impl Recorder {
    /// For a file that is not there yet: an older one may be needed.
    pub(in crate::commands::fix) fn new(path: &Path) -> anyhow::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(anyhow::anyhow!("{} is there already", path.display()))
                .hint("name another file, or remove it if its repairs need not be undone");
        }
        Ok(Self { path: path.to_owned(), file: None })
    }

    /// Writes an entry, which is on the disk afterwards.
    pub(in crate::commands::fix) fn push(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        let mut text = String::new();
        if self.file.is_none() {
            let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
            self.file = Some(new.with_context(failed)?);
            let header = Header { format: FORMAT.to_owned(), version: VERSION };
            text = serde_json::to_string(&header)? + "\n";
        }
        text = text + &serde_json::to_string(entry)? + "\n";
        let file = self.file.as_mut().with_context(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).with_context(failed)
    }
}

/// What undoes the repairs of a file with its companions.
pub(in crate::commands::fix) fn entry_of(
    file: &FileScan,
    repaired: &Repaired,
    companions: Option<&Companions>,
) -> Entry {
    let new = repaired.text.as_deref().unwrap_or(&file.text);
    Entry {
        path: file.path.clone(),
        before: hash(&file.text),
        after: hash(new),
        edits: edits(new, &file.text),
        objects: objects(file, &repaired.repairs),
        companions: companions.map(|companions| CompanionsEntry {
            path: companions.path.clone(),
            before: companions.was_there.then(|| companions.old.clone()),
            after: hash(&companions.new),
        }),
    }
}

/// The hash of a text.
pub(super) fn hash(text: &str) -> String {
    DocumentHash::of(text.as_bytes()).to_string()
}

/// What leads from one text to another, by lines.
pub(super) fn edits(from: &str, to: &str) -> Vec<TextEdit> {
    let (old, new) = (lines_of(from), lines_of(to));
    let diff = TextDiff::configure().timeout(LONGEST).diff_slices(&old, &new);
    let (mut edits, mut at) = (Vec::new(), 0);
    for op in diff.ops() {
        let text = |lines: &[&str], range: Range<usize>| lines.get(range).unwrap_or_default().concat();
        let remove: String = text(&old, op.old_range());
        let bytes = remove.len();
        if !matches!(op, DiffOp::Equal { .. }) {
            edits.push(TextEdit { at, remove, insert: text(&new, op.new_range()) });
        }
        at += bytes;
    }
    edits
}

/// The inverse patch of each object: its repairs undone one after the other, the last one first.
fn objects(file: &FileScan, repairs: &[Repair]) -> Vec<ObjectEntry> {
    let mut entries: Vec<ObjectEntry> = Vec::new();
    let mut numbers: Vec<usize> = repairs.iter().map(|repair| repair.object).collect();
    numbers.dedup();
    for number in numbers {
        let Some(object) = file.objects.get(number) else { continue };
        let own: Vec<&Repair> = repairs.iter().filter(|repair| repair.object == number).collect();
        let inverses: Option<Vec<&Patch>> = own.iter().map(|repair| repair.inverse.as_ref()).collect();
        // Without one of them the others lead nowhere.
        let Some(inverses) = inverses else { continue };
        let identity = &object.document.identity;
        entries.push(ObjectEntry {
            document: object.place.piece,
            pointer: object.place.pointer.clone(),
            kind: identity.kind.clone(),
            namespace: identity.namespace.clone(),
            name: identity.name.clone(),
            policies: own.iter().map(|repair| repair.policy).collect(),
            revert: Patch(inverses.iter().rev().flat_map(|patch| patch.0.iter().cloned()).collect()),
        });
    }
    entries
}
