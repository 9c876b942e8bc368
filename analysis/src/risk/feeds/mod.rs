//! Readers of vulnerability feeds and image scans. A file that is not understood is an error, never an empty feed: an empty
//! feed makes every record harmless.

mod epss;
mod kev;
mod scan;
mod vulnerability;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

pub(crate) use epss::epss;
pub(crate) use kev::kev;
pub(crate) use scan::scan;
pub(crate) use vulnerability::VulnerabilityId;

use crate::load::files::{self, FileError};

/// Provenance of a feed or scan; part of every output that used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the JSON output")]
pub(crate) struct Feed {
    /// `kev`, `epss`, or `scan of IMAGE`.
    pub(crate) feed: String,
    pub(crate) file: String,
    /// The date given in the file.
    pub(crate) date: Option<String>,
    /// Of the file, in hex.
    pub(crate) sha256: String,
    /// Number of vulnerabilities.
    pub(crate) entries: usize,
    /// Number of entries without an id or a score that can be read.
    pub(crate) ignored: usize,
}

impl Feed {
    /// Of the file as it lies on the disk; `counted` are the entries read and those ignored.
    fn of(
        feed: impl Into<String>,
        path: &Path,
        date: Option<&str>,
        counted: (usize, usize),
    ) -> Result<Self, FileError> {
        let bytes =
            std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        let (entries, ignored) = counted;
        Ok(Self {
            feed: feed.into(),
            file: path.display().to_string(),
            date: date.map(str::to_owned),
            sha256: files::sha256(&bytes),
            entries,
            ignored,
        })
    }
}

/// Refuses a feed of which nothing was understood.
fn refuse_empty(path: &Path, counted: (usize, usize), expected: &str) -> Result<(), FileError> {
    match counted {
        (0, 0) => {
            Err(FileError::shape(path, "holds no vulnerability: an empty feed makes every record harmless"))
        }
        (0, ignored) => Err(FileError::shape(
            path,
            format!("none of its {ignored} entries is understood; expected: {expected}"),
        )),
        _ => Ok(()),
    }
}
