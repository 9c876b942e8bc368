//! Finds words of the left column of the vocabulary that remain in names, file names and messages.
//!
//! Reads Rust source as tokens and `.proto` files as identifiers, so comments do not count. `table` holds the words,
//! where each of them counts, and the places that may keep one with the reason.

mod found;
mod scan;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use found::Found;
use table::{ALLOWED, Allowed, Group, WORDS};

/// Folders of the workspace that hold source files.
const FOLDERS: [&str; 5] = ["analysis", "coordinator", "proto", "scripts/xtask", "worker"];

/// A word of the left column that remains in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remaining {
    /// Path from the root of the workspace.
    file: PathBuf,
    /// First line of the word in the file; 0 when the word is in the name of the file.
    line: usize,
    /// The name, or the message with the word.
    found: String,
    /// The word to use instead.
    instead: &'static str,
    /// Why it may stay; `None` is a fault.
    reason: Option<&'static str>,
}

impl Remaining {
    /// Whether the table of exceptions gives a reason for it.
    pub fn is_allowed(&self) -> bool {
        self.reason.is_some()
    }
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} → {}", self.file.display(), self.line, self.found, self.instead)?;
        match self.reason {
            Some(reason) => write!(f, " (stays: {reason})"),
            None => f.write_str(" (rename it, or give a reason in scripts/xtask/src/words/table.rs)"),
        }
    }
}

/// Every word that remains under a root, once per file.
pub fn remaining(root: &Path) -> Result<Vec<Remaining>> {
    search(root, WORDS, ALLOWED)
}

/// A sentence for each word without a reason, and for each reason without a word.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let remaining = remaining(root)?;
    let mut faults: Vec<String> =
        remaining.iter().filter(|word| !word.is_allowed()).map(ToString::to_string).collect();
    let is_used = |allowed: &Allowed| remaining.iter().any(|word| matches(allowed, &word.file, &word.found));
    faults.extend(ALLOWED.iter().filter(|allowed| !is_used(allowed)).map(|allowed| {
        format!(
            "{}: {:?} has a reason in words/table.rs and does not occur: drop it",
            allowed.path, allowed.found
        )
    }));
    Ok(faults)
}

fn search(root: &Path, words: &[Group], allowed: &[Allowed]) -> Result<Vec<Remaining>> {
    let mut all: Vec<Remaining> = Vec::new();
    for folder in FOLDERS {
        for file in files(&root.join(folder))? {
            let place = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
            let groups: Vec<&Group> = words.iter().filter(|group| group.covers(&place)).collect();
            if groups.is_empty() {
                continue;
            }
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut names = scan::file_names(&place);
            names.extend(scan::source(&place, &text)?);
            let mut here: Vec<Remaining> =
                names.iter().flat_map(|name| judge(&place, name, &groups, allowed)).collect();
            here.sort_by(|a, b| (&a.found, a.line).cmp(&(&b.found, b.line)));
            here.dedup_by(|next, first| next.found == first.found && next.instead == first.instead);
            all.extend(here);
        }
    }
    all.sort();
    Ok(all)
}

fn judge(place: &Path, name: &Found, groups: &[&Group], allowed: &[Allowed]) -> Vec<Remaining> {
    let entries = groups.iter().flat_map(|group| group.words_in(name));
    entries
        .map(|instead| Remaining {
            file: place.to_path_buf(),
            line: name.line,
            found: name.text.clone(),
            instead,
            reason: allowed
                .iter()
                .find(|allowed| matches(allowed, place, &name.text))
                .map(|allowed| allowed.reason),
        })
        .collect()
}

fn matches(allowed: &Allowed, place: &Path, found: &str) -> bool {
    place.starts_with(allowed.path) && found.contains(allowed.found)
}

/// Source files below a folder, in a stable order. A folder that is absent has none.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
