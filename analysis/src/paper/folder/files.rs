//! Where the published files and their inputs lie.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;
use tempfile::TempDir;

use crate::load::AnalysisError;
use crate::load::LoadError;
use crate::load::files::{self, FileError};

/// Why the reference cannot be used, or a check not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaperError {
    /// A folder that cannot be read.
    #[error("cannot read {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A published run that cannot be read.
    #[error("cannot import {what}")]
    Import {
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Figures that cannot be computed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// A file of another content than expected.
    #[error("{what}: {problem}")]
    Content { what: String, problem: String },
}

impl From<LoadError> for PaperError {
    fn from(error: LoadError) -> Self {
        Self::Analysis(error.into())
    }
}

/// The folder of the published files, and beside it the larger runs.
#[derive(Debug)]
pub(crate) struct PaperFolder {
    folder: PathBuf,
    corpus: PathBuf,
    pub(super) scratch: TempDir,
}

impl PaperFolder {
    /// Opens the folder; `corpus` holds the larger runs (`rules_full`, `supported`, `grok_5k_dev`), by default the
    /// folder above.
    pub(crate) fn open(folder: &Path, corpus: Option<&Path>) -> Result<Self, PaperError> {
        let wrong = |source| PaperError::Folder { path: folder.to_owned(), source };
        let folder = folder.canonicalize().map_err(wrong)?;
        fs::read_dir(&folder).map_err(wrong)?;
        let above = folder.parent().unwrap_or(&folder).to_owned();
        let scratch = TempDir::new().map_err(wrong)?;
        Ok(Self { corpus: corpus.map_or(above, Path::to_owned), folder, scratch })
    }

    pub(in crate::paper) fn file(&self, name: &str) -> PathBuf {
        match name.strip_prefix("../") {
            Some(name) => self.corpus.join(name),
            None => self.folder.join(name),
        }
    }

    /// A file of inputs.
    pub(in crate::paper) fn input(&self, name: &str) -> PathBuf {
        self.folder.join("inputs").join(format!("{name}.json.gz"))
    }

    /// A file of a larger run.
    pub(in crate::paper) fn run_file(&self, run: &str, name: &str) -> PathBuf {
        self.corpus.join(run).join(format!("{name}.json.gz"))
    }

    /// The JSON of a published file.
    pub(in crate::paper) fn json(&self, name: &str) -> Result<Value, PaperError> {
        Ok(files::json(&self.file(name))?)
    }

    /// The entries of a file of inputs.
    pub(in crate::paper) fn entries(&self, name: &str) -> Result<Vec<Value>, PaperError> {
        Ok(files::objects(&self.input(name))?)
    }

    /// The text of a published file.
    pub(in crate::paper) fn text(&self, name: &str) -> Result<String, PaperError> {
        Ok(String::from_utf8_lossy(&files::bytes(&self.file(name))?).into_owned())
    }

    /// Every file of the folder, relative to it, in order.
    pub(in crate::paper) fn files(&self) -> Result<Vec<String>, PaperError> {
        let mut found = vec![];
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let wrong = |source| PaperError::Folder { path: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(wrong)? {
                let path = entry.map_err(wrong)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(inside) = path.strip_prefix(&self.folder) {
                    found.push(relative(inside));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A path as it is written in the table.
fn relative(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
