//! A tar archive with random access: decompressed once into an anonymous temporary file, with an index of its entries.
//!
//! *Invariant*: memory holds the index alone; nothing is ever written under a name that the archive chose.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};

use domain::config::Limits;
use results::file_error::{FileError, Place};
use results::json::Input;

use super::text::{FileProblem, as_text};

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
    TooLarge { bytes: u64, limit: u64 },
}

/// Whether the file, unpacked if need be, begins like a tar archive.
pub(super) fn is_tar(path: &Path) -> Result<bool, FileError> {
    let mut head = Vec::new();
    // A damaged gz is reported by the code that reads the whole file.
    let read = Input::open(&path.display().to_string())?.take(512).read_to_end(&mut head);
    Ok(read.is_ok() && head.get(257..262) == Some(b"ustar"))
}

impl Archive {
    /// Unpacks the archive. Hidden entries and entries that are not regular files are left out; of several entries of one path the
    /// last counts, as with `tar x`.
    pub(super) fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let damaged = |at: u64, error: io::Error| {
            let what = format!("is a damaged tar archive: {error}");
            FileError::new(path, Some(Place::byte(at)), what, "fetch the archive again").with_source(error)
        };
        let spool_failed = |error: io::Error| FileError::write("temporary file for the archive", error);
        let mut spool = tempfile::tempfile().map_err(spool_failed)?;
        let mut index = BTreeMap::new();
        let (mut written, mut at) = (0_u64, 0_u64);
        let mut archive = tar::Archive::new(Input::open(path)?);
        for entry in archive.entries().map_err(|error| damaged(0, error))? {
            let entry = entry.map_err(|error| damaged(at, error))?;
            at = entry.raw_file_position();
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let Some(name) = visible_name(&entry.path().map_err(|error| damaged(at, error))?) else {
                continue;
            };
            let bytes = entry.size();
            let stored = if bytes > limits.file_bytes {
                Stored::TooLarge { bytes, limit: limits.file_bytes }
            } else {
                let mut content = Vec::new();
                entry
                    .take(limits.file_bytes)
                    .read_to_end(&mut content)
                    .map_err(|error| damaged(at, error))?;
                spool.write_all(&content).map_err(spool_failed)?;
                let offset = written;
                written += content.len() as u64;
                Stored::At { offset, length: content.len() }
            };
            index.insert(name, stored);
            if index.len() > MAX_ENTRIES || written > MAX_BYTES {
                let what = format!("holds more than {MAX_ENTRIES} files or {MAX_BYTES} bytes");
                return Err(FileError::new(path, Some(Place::byte(at)), what, "split the archive"));
            }
        }
        Ok(Self { spool: Mutex::new(spool), index })
    }

    /// The paths, sorted by their components.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        let mut paths: Vec<&String> = self.index.keys().collect();
        paths.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        paths.into_iter()
    }

    /// The text of `path`; `None` when the archive has no such file.
    pub(super) fn text(&self, path: &str) -> Option<Result<String, FileProblem>> {
        Some(match *self.index.get(path)? {
            Stored::TooLarge { bytes, limit } => Err(FileProblem::TooLarge { bytes, limit }),
            Stored::At { offset, length } => {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An archive with these files, as a file on disk.
    pub(in crate::read) fn archive(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let mut builder = tar::Builder::new(tempfile::NamedTempFile::new().unwrap());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            // Past the checks of the builder: archives come from strangers.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn name(file: &tempfile::NamedTempFile) -> String {
        file.path().display().to_string()
    }

    #[test]
    fn reads_any_file_and_no_stranger_path() {
        let file = archive(&[
            ("./m/b.yaml", b"old"),
            ("m/a.yaml", b"a\xff"),
            ("m/b.yaml", b"new"),
            ("../evil.yaml", b"x"),
            ("/etc/evil.yaml", b"x"),
            ("m/.hidden.yaml", b"x"),
            ("m/big.yaml", &[b'x'; 50]),
        ]);
        assert!(is_tar(file.path()).unwrap());
        let archive = Archive::open(&name(&file), &Limits { file_bytes: 10, ..Limits::default() }).unwrap();
        assert_eq!(archive.paths().collect::<Vec<_>>(), ["m/a.yaml", "m/b.yaml", "m/big.yaml"]);
        assert_eq!(archive.text("m/b.yaml"), Some(Ok("new".to_owned())));
        assert_eq!(archive.text("m/a.yaml"), Some(Err(FileProblem::NotUtf8 { byte: 1 })));
        assert_eq!(archive.text("m/big.yaml"), Some(Err(FileProblem::TooLarge { bytes: 50, limit: 10 })));
        assert_eq!(archive.text("m/c.yaml"), None);
    }

    #[test]
    fn a_cut_archive_names_the_byte() {
        let file = archive(&[("a.yaml", &[b'x'; 2000]), ("b.yaml", &[b'y'; 2000])]);
        file.as_file().set_len(3000).unwrap();
        let error = Archive::open(&name(&file), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("damaged tar archive"), "{error}");
        assert!(error.to_string().contains("byte "), "{error}");
    }
}
