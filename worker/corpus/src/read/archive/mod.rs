//! A tar or zip archive with random access: decompressed once into an anonymous temporary file, with an index of its entries.
//!
//! *Invariant*: memory holds the index alone, with names of bounded length; nothing is ever written under a name that the
//! archive chose.

mod members;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};

use domain::config::Limits;
use results::file_error::{FileError, Place};
use results::input::zip::{self, Zip};
use results::input::{Budget, Input};

use super::names::{NAME_BYTES, is_manifest, shortened};
use super::text::{FileProblem, as_text};
use members::Members;

/// Entries of an archive at most.
const MAX_ENTRIES: usize = 4_000_000;

/// Unpacked bytes of an archive at most.
const MAX_BYTES: u64 = 64 << 30;

#[derive(Debug)]
pub(super) struct Archive {
    spool: Mutex<File>,
    index: BTreeMap<String, Stored>,
}

#[derive(Debug, Clone)]
enum Stored {
    At { offset: u64, length: usize },
    Problem(FileProblem),
}

/// Whether the file is a zip archive or, unpacked if need be, begins like a tar archive.
pub(crate) fn is_archive(path: &Path) -> Result<bool, FileError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| FileError::open(&name, error))?;
    if Zip::of(&name, &file)?.is_some() {
        return Ok(true);
    }
    let mut head = Vec::new();
    // A damaged gz is reported by the code that reads the whole file.
    let read = Input::from_file(&name, file)?.take(512).read_to_end(&mut head);
    Ok(read.is_ok() && head.get(257..262) == Some(b"ustar"))
}

impl Archive {
    /// Unpacks the archive. Hidden entries and entries that are not regular files are left out; of several entries of one path the
    /// last counts, as with `tar x`.
    pub(super) fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|error| FileError::open(path, error))?;
        let mut spool = Spool {
            path,
            limit: limits.file_bytes,
            file: tempfile::tempfile().map_err(spool_failed)?,
            index: BTreeMap::new(),
            written: 0,
        };
        match Zip::of(path, &file)? {
            Some(zip) => spool.unzip(&zip)?,
            None => spool.untar()?,
        }
        Ok(Self { spool: Mutex::new(spool.file), index: spool.index })
    }

    /// The paths, sorted by their components.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        sorted(self.index.keys())
    }

    /// The paths of manifests, and what stands for names that were too long to tell.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &String> {
        let listed = self.index.iter().filter(|(path, stored)| {
            is_manifest(Path::new(path)) || matches!(stored, Stored::Problem(FileProblem::LongName { .. }))
        });
        sorted(listed.map(|(path, _)| path))
    }

    /// The text of `path`; `None` when the archive has no such file.
    pub(super) fn text(&self, path: &str) -> Option<Result<String, FileProblem>> {
        Some(match self.index.get(path)? {
            Stored::Problem(problem) => Err(problem.clone()),
            &Stored::At { offset, length } => {
                let read = || {
                    let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
                    spool.seek(SeekFrom::Start(offset))?;
                    let mut bytes = vec![0; length];
                    spool.read_exact(&mut bytes)?;
                    io::Result::Ok(bytes)
                };
                read().map_err(|error| FileProblem::Unreadable(error.to_string())).and_then(as_text)
            }
        })
    }
}

fn sorted<'a>(paths: impl Iterator<Item = &'a String>) -> std::vec::IntoIter<&'a String> {
    let mut paths: Vec<&String> = paths.collect();
    paths.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    paths.into_iter()
}

/// An archive that is being unpacked.
struct Spool<'a> {
    path: &'a str,
    limit: u64,
    file: File,
    index: BTreeMap<String, Stored>,
    written: u64,
}

impl Spool<'_> {
    fn untar(&mut self) -> Result<(), FileError> {
        let path = self.path;
        let damaged = |at: u64, error: io::Error| {
            let what = format!("is a damaged tar archive: {error}");
            FileError::new(path, Some(Place::byte(at)), what, "fetch the archive again").with_source(error)
        };
        let mut members = Members::new(Input::open(path)?);
        while let Some(member) = members.next().map_err(|error| damaged(members.position(), error))? {
            if !member.regular {
                continue;
            }
            let Some(name) = name_of(&member.name, member.name_bytes, member.at) else { continue };
            let content = if member.name_bytes > NAME_BYTES as u64 {
                Err(FileProblem::LongName { bytes: member.name_bytes, limit: NAME_BYTES })
            } else if member.size > self.limit {
                Err(FileProblem::TooLarge { bytes: member.size, limit: self.limit })
            } else {
                Ok(members.content(member.size).map_err(|error| damaged(member.at, error))?)
            };
            self.store(name, member.at, content)?;
        }
        Ok(())
    }

    fn unzip(&mut self, zip: &Zip) -> Result<(), FileError> {
        let mut budget = Budget::of_zip();
        let path = self.path;
        zip.members(|member| {
            if !member.is_visible_file() {
                return Ok(());
            }
            let name_bytes = member.name.len() as u64;
            let Some(name) = name_of(&with_slashes(member.name), name_bytes, member.at) else {
                return Ok(());
            };
            let content = if name_bytes > NAME_BYTES as u64 {
                Err(FileProblem::LongName { bytes: name_bytes, limit: NAME_BYTES })
            } else {
                self.content(&member)
            };
            let unpacked = content.as_ref().map_or(0, |content| content.len() as u64);
            budget
                .spend(unpacked, zip.bytes())
                .map_err(|error| FileError::read(path, Some(Place::byte(member.at)), error))?;
            self.store(name, member.at, content)
        })
    }

    /// The content of a member of a zip, up to the limit.
    fn content(&self, member: &zip::Member<'_>) -> Result<Vec<u8>, FileProblem> {
        let content = member
            .content(self.limit.saturating_add(1))
            .map_err(|error| FileProblem::Unpackable(error.to_string()))?;
        let bytes = content.len() as u64;
        if bytes > self.limit {
            return Err(FileProblem::TooLarge { bytes: member.size.max(bytes), limit: self.limit });
        }
        Ok(content)
    }

    fn store(
        &mut self,
        name: String,
        at: u64,
        content: Result<Vec<u8>, FileProblem>,
    ) -> Result<(), FileError> {
        let stored = match content {
            Err(problem) => Stored::Problem(problem),
            Ok(content) => {
                self.file.write_all(&content).map_err(spool_failed)?;
                let offset = self.written;
                self.written += content.len() as u64;
                Stored::At { offset, length: content.len() }
            }
        };
        self.index.insert(name, stored);
        if self.index.len() > MAX_ENTRIES || self.written > MAX_BYTES {
            let what = format!("holds more than {MAX_ENTRIES} files or {MAX_BYTES} bytes");
            return Err(FileError::new(self.path, Some(Place::byte(at)), what, "split the archive"));
        }
        Ok(())
    }
}

fn spool_failed(error: io::Error) -> FileError {
    FileError::write("temporary file for the archive", error)
}

/// The path of a member that has `bytes` bytes, of which `name` may be the first, with `/` between its components; `None` when
/// it is hidden or no relative path. One that is too long is cut, and told from others by where its member is.
fn name_of(name: &[u8], bytes: u64, at: u64) -> Option<String> {
    let path = visible_name(Path::new(OsStr::from_bytes(name)))?;
    if bytes <= NAME_BYTES as u64 { Some(path) } else { Some(shortened(&path, at)) }
}

/// The name with `/` for the separators of Windows, which some of its programs write.
fn with_slashes(name: &[u8]) -> Vec<u8> {
    let is_foreign = !name.contains(&b'/');
    name.iter().map(|byte| if is_foreign && *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// The path with `/` between its components; `None` when it is hidden or no relative path.
fn visible_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                let name = name.to_string_lossy();
                if name.starts_with('.') {
                    return None;
                }
                parts.push(name.into_owned());
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}
