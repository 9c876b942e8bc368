//! What undoes the repairs of `worker fix --write`: recorded with `--revert-file FILE`, made with `worker fix --revert FILE`.
//!
//! A file of JSON lines: a header, then an entry for each repaired file, written before that file is. An entry has the edits
//! that restore the file byte for byte while it is as it was left, and for later the inverse patch of each object, which tests
//! that what it takes back is still there. It holds what the repairs removed, secrets too: its owner alone may read it.

mod back;
mod record;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use domain::patch::Patch;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use engine::document::Identity;
use serde::{Deserialize, Serialize};

pub(super) use back::{Manner, run};
pub(super) use record::{Recorder, entry_of};

/// What a file begins with.
const FORMAT: &str = "k8s-auto-fix revert";
const VERSION: u32 = 1;

/// Most bytes of an entry that is read: a file of the largest size that is read, twice, and what JSON adds.
const MOST_BYTES: u64 = 512 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// What undoes the repairs of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its path, as it was named.
    path: String,
    /// Hashes of its text without the repairs and with them.
    before: String,
    after: String,
    /// From the text with the repairs to that without.
    edits: Vec<TextEdit>,
    /// The objects that were repaired, in the order of the repairs.
    objects: Vec<ObjectEntry>,
    companions: Option<CompanionsEntry>,
}

/// A part of the text with the repairs, and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextEdit {
    /// Bytes before it.
    at: usize,
    remove: String,
    insert: String,
}

/// What undoes the repairs of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectEntry {
    /// 0-based number of its document in the file, and its place in that.
    document: usize,
    pointer: Pointer,
    kind: String,
    namespace: String,
    name: String,
    policies: Vec<PolicyId>,
    /// The inverse patch.
    revert: Patch,
}

impl ObjectEntry {
    fn is(&self, identity: &Identity) -> bool {
        self.kind == identity.kind && self.namespace == identity.namespace && self.name == identity.name
    }
}

/// What undoes the companions of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompanionsEntry {
    path: String,
    /// Its text without the companions; `None`: there was no file.
    before: Option<String>,
    /// Hash of its text with them.
    after: String,
}

/// Hands over the entries of a file one after the other.
fn read(path: &Path, mut each: impl FnMut(Entry)) -> anyhow::Result<()> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut lines = BufReader::new(file);
    for number in 1_u64.. {
        let mut line = String::new();
        let read = lines.by_ref().take(MOST_BYTES).read_line(&mut line);
        let bytes = read.with_context(|| format!("cannot read {name}"))?;
        if bytes == 0 {
            anyhow::ensure!(number > 1, "{name} is empty");
            break;
        }
        let invalid = || format!("{name}, line {number}");
        if number == 1 {
            let header: Header = serde_json::from_str(&line)
                .with_context(invalid)
                .hint("name a file that `worker fix --write --revert-file FILE` wrote")?;
            anyhow::ensure!(
                header.format == FORMAT && header.version == VERSION,
                "{name} is a {:?} of version {}; this release reads {FORMAT:?} of version {VERSION}",
                header.format,
                header.version
            );
            continue;
        }
        // A process that was killed while it wrote an entry had not yet written the file that the entry is for.
        match serde_json::from_str(&line) {
            Ok(entry) => each(entry),
            Err(_) if !line.ends_with('\n') => {}
            Err(error) => return Err(error).with_context(invalid),
        }
    }
    Ok(())
}
