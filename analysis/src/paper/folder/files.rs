//! Paths and contents of the paper's files and their inputs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;
use tempfile::TempDir;

use crate::load::AnalysisError;
use crate::load::LoadError;
use crate::load::files::{self, FileError};

/// An error of reading the paper's files or of a check.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaperError {
    #[error("cannot read {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot import {what}")]
    Import {
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// A file has unexpected content.
    #[error("{what}: {problem}")]
    Content { what: String, problem: String },
}

impl From<LoadError> for PaperError {
    fn from(error: LoadError) -> Self {
        Self::Analysis(error.into())
    }
}

/// The folder of the paper's files, and the folder of the larger runs.
#[derive(Debug)]
pub(crate) struct PaperFolder {
    folder: PathBuf,
    corpus: PathBuf,
    pub(super) scratch: TempDir,
}

impl PaperFolder {
    /// Opens the folder. `corpus` is the folder of the larger runs (`rules_full`, `supported`, `grok_5k_dev`), by
    /// default the parent folder.
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

    /// The path of a file of inputs.
    pub(in crate::paper) fn input(&self, name: &str) -> PathBuf {
        self.folder.join("inputs").join(format!("{name}.json.gz"))
    }

    /// The path of a file of a larger run.
    pub(in crate::paper) fn run_file(&self, run: &str, name: &str) -> PathBuf {
        self.corpus.join(run).join(format!("{name}.json.gz"))
    }

    /// A file as JSON.
    pub(in crate::paper) fn json(&self, name: &str) -> Result<Value, PaperError> {
        Ok(files::json(&self.file(name))?)
    }

    /// The objects of a file of inputs.
    pub(in crate::paper) fn entries(&self, name: &str) -> Result<Vec<Value>, PaperError> {
        Ok(files::objects(&self.input(name))?)
    }

    /// A file as text.
    pub(in crate::paper) fn text(&self, name: &str) -> Result<String, PaperError> {
        Ok(String::from_utf8_lossy(&files::bytes(&self.file(name))?).into_owned())
    }

    /// Paths of all files of the folder, relative to it, sorted.
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

/// A path with `/` on every system.
fn relative(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
