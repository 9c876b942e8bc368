//! Inputs of the command line as a stream of files that can be read twice.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use domain::config::Limits;
use glob::Pattern;

use crate::error::CorpusError;
use crate::read::{FileId, FileProblem, Files, SourceFile, as_text, is_archive};

/// Files of a batch at most; bytes of a batch before no further file is added.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: usize = 8 << 20;

/// Folders, archives, files, and standard input.
#[derive(Debug, Clone)]
pub struct Inputs {
    roots: Vec<Root>,
    excluded: Vec<Pattern>,
    /// Patterns for paths below a folder.
    excluded_below: Option<(PathBuf, Vec<Pattern>)>,
}

#[derive(Debug, Clone)]
enum Root {
    Path {
        path: String,
        folder: bool,
        archive: bool,
    },
    /// What was read already: standard input can be read once only.
    Text(SourceFile),
}

impl Inputs {
    /// Takes paths as they were named; `-` is standard input.
    pub fn open(paths: &[String], limits: &Limits) -> Result<Self, CorpusError> {
        let roots: Result<Vec<Root>, CorpusError> =
            paths.iter().map(|path| Root::open(path, limits)).collect();
        Ok(Self { roots: roots?, excluded: Vec::new(), excluded_below: None })
    }

    /// Texts under their paths.
    pub fn of_texts(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::of_files(texts.into_iter().map(|(path, text)| SourceFile {
            path,
            content: Ok(text),
            below: None,
            id: None,
        }))
    }

    /// Files that were read already.
    pub fn of_files(files: impl IntoIterator<Item = SourceFile>) -> Self {
        let roots = files.into_iter().map(Root::Text).collect();
        Self { roots, excluded: Vec::new(), excluded_below: None }
    }

    /// Without the files that match a pattern: by their names where the pattern has no `/`, else by their paths.
    #[must_use]
    pub fn excluding(self, excluded: &[Pattern]) -> Self {
        Self { excluded: excluded.to_vec(), ..self }
    }

    /// Without the files that match a pattern, by their paths below `folder` (absolute, without links); see [`path_below`].
    #[must_use]
    pub fn excluding_below(self, folder: PathBuf, excluded: Vec<Pattern>) -> Self {
        Self { excluded_below: Some((folder, excluded)).filter(|(_, excluded)| !excluded.is_empty()), ..self }
    }

    fn is_excluded(&self, path: &str) -> bool {
        let is_below = self.excluded_below.as_ref().is_some_and(|(folder, excluded)| {
            let below = path_below(folder, path);
            below.is_some_and(|below| excluded.iter().any(|pattern| glob_matches(pattern, &below)))
        });
        is_below || self.excluded.iter().any(|pattern| glob_matches(pattern, path))
    }

    /// The first input whose files cannot be written to.
    pub fn read_only(&self) -> Option<&str> {
        self.roots.iter().find_map(|root| match root {
            Root::Text(_) => Some("-"),
            Root::Path { path, archive: true, .. } => Some(path),
            Root::Path { .. } => None,
        })
    }

    /// Every file in batches of bounded size, each with the path under which the user finds it. A file that has several
    /// names, or was named several times, comes once, under the first of them.
    pub fn batches<E: From<CorpusError>>(
        &self,
        limits: &Limits,
        mut each: impl FnMut(Vec<SourceFile>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut seen: HashSet<FileId> = HashSet::new();
        for root in &self.roots {
            for file in root.files(limits)? {
                if self.is_excluded(&file.path) {
                    continue;
                }
                let may_come_again = file.id.filter(|id| id.has_names || self.roots.len() > 1);
                if may_come_again.is_some_and(|id| !seen.insert(id)) {
                    continue;
                }
                bytes += file.content.as_ref().map_or(0, String::len);
                batch.push(file);
                if batch.len() >= BATCH_FILES || bytes >= BATCH_BYTES {
                    each(std::mem::take(&mut batch))?;
                    bytes = 0;
                }
            }
        }
        if !batch.is_empty() {
            each(batch)?;
        }
        Ok(())
    }
}

/// Whether a path matches a pattern: by its name where the pattern has no `/`, else as a whole.
pub fn glob_matches(pattern: &Pattern, path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    let by_name = !pattern.as_str().contains('/') && pattern.matches(name);
    by_name || pattern.matches(path)
}

/// The path of a file below `folder` (absolute, without links); `None`: it lies elsewhere. A member of an archive, and standard
/// input, which lie nowhere, keep their path.
pub fn path_below(folder: &Path, path: &str) -> Option<String> {
    let named = Path::new(path);
    let parent = named.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(parent), Some(name)) = (parent.canonicalize(), named.file_name()) else {
        return Some(path.to_owned());
    };
    let below = parent.join(name).strip_prefix(folder).ok()?.display().to_string();
    Some(below)
}

impl Root {
    fn open(path: &str, limits: &Limits) -> Result<Self, CorpusError> {
        if path == "-" {
            return Ok(Self::Text(stdin(limits.file_bytes)?));
        }
        let metadata = std::fs::metadata(path).map_err(|error| CorpusError::Path(path.to_owned(), error))?;
        let folder = metadata.is_dir();
        let archive = metadata.is_file() && is_archive(Path::new(path))?;
        Ok(Self::Path { path: path.trim_end_matches('/').to_owned(), folder, archive })
    }

    fn files(&self, limits: &Limits) -> Result<Box<dyn Iterator<Item = SourceFile> + '_>, CorpusError> {
        match self {
            Self::Text(file) => Ok(Box::new(std::iter::once(file.clone()))),
            Self::Path { path, folder, archive } => {
                let root = if path.is_empty() { "/" } else { path };
                let files = Files::open(root, limits)?;
                Ok(Box::new(files.map(move |mut file| {
                    if *folder {
                        file.path = if path == "." { file.path } else { format!("{path}/{}", file.path) };
                    } else if !archive {
                        file.path.clone_from(path);
                    }
                    file
                })))
            }
        }
    }
}

fn stdin(limit: u64) -> Result<SourceFile, CorpusError> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(CorpusError::Stdin)?;
    let content = if bytes.len() as u64 > limit {
        Err(FileProblem::TooLarge { bytes: bytes.len() as u64, limit })
    } else {
        as_text(bytes)
    };
    Ok(SourceFile { path: "-".to_owned(), content, below: None, id: None })
}
