//! Regular files below a folder.
//!
//! *Never* follows a link to a folder (there is no loop to fall into) and never lists hidden files or what is not a regular
//! file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use results::file_error::FileError;

use super::names::is_manifest;
use super::text::FileProblem;

/// Regular files below a folder in the order of their path's components.
#[derive(Debug)]
pub(super) struct Walk {
    /// What is still to visit, the next one last: path and path below the root.
    pending: Vec<(PathBuf, String)>,
}

pub(super) enum Found {
    File(PathBuf, String),
    Problem(String, FileProblem),
}

impl Walk {
    pub(super) fn new(root: &Path) -> Result<Self, FileError> {
        let mut walk = Self { pending: Vec::new() };
        walk.enter(root, "").map_err(|error| FileError::open(&root.display().to_string(), error))?;
        Ok(walk)
    }

    fn enter(&mut self, folder: &Path, below: &str) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        for name in names {
            let shown = name.to_string_lossy();
            let below = if below.is_empty() { shown.into_owned() } else { format!("{below}/{shown}") };
            self.pending.push((folder.join(name), below));
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Found> {
        while let Some((path, below)) = self.pending.pop() {
            let unreadable = |error: io::Error| FileProblem::Unreadable(error.to_string());
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => return Some(Found::Problem(below, unreadable(error))),
            };
            if kind.is_dir() {
                if let Err(error) = self.enter(&path, &below) {
                    return Some(Found::Problem(below, unreadable(error)));
                }
            } else if kind.is_file() {
                return Some(Found::File(path, below));
            } else if kind.is_symlink() {
                match fs::metadata(&path) {
                    Ok(target) if target.is_file() => return Some(Found::File(path, below)),
                    Ok(target) if target.is_dir() => {
                        return Some(Found::Problem(below, FileProblem::FolderLink));
                    }
                    Err(error) if is_manifest(&path) => {
                        return Some(Found::Problem(below, unreadable(error)));
                    }
                    // A device, a socket, or a dead link.
                    _ => {}
                }
            }
        }
        None
    }
}
