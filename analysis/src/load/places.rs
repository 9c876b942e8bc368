//! Resolves run folders, globs, files, `file://` URLs and runs in buckets to Parquet files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use results::layout::{RUN_FILE, is_corpus};
use results::run_file::RunFile;
use results::store::is_bucket_url;
use tempfile::TempDir;
use url::Url;

use super::bucket;
use super::error::LoadError;

/// The runs and files found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The runs named by their folders, with these folders.
    pub(super) runs: Vec<(PathBuf, RunFile)>,
    /// The Parquet files without repeats, in the order found.
    pub(super) parts: Vec<PathBuf>,
    /// Folders of runs that were fetched from buckets.
    pub(super) fetched: Vec<TempDir>,
}

impl Found {
    /// Adds the runs and files at `place`.
    pub(super) fn add(&mut self, place: &str) -> Result<(), LoadError> {
        if is_bucket_url(place) {
            let fetched = bucket::fetch(place)?;
            let found = self.folder(fetched.path(), place);
            self.fetched.push(fetched);
            return found;
        }
        let path = match local(place)? {
            Some(path) => path,
            None => PathBuf::from(place),
        };
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => self.folder(&path, place),
            Ok(_) if path.file_name().is_some_and(|name| name == RUN_FILE) => {
                self.folder(path.parent().unwrap_or(Path::new(".")), place)
            }
            Ok(_) => self.file(&path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if place.contains(['*', '?', '[']) {
                    self.pattern(place)
                } else {
                    Err(LoadError::Missing { place: place.to_owned() })
                }
            }
            Err(source) => Err(LoadError::Read { path, source }),
        }
    }

    fn folder(&mut self, folder: &Path, place: &str) -> Result<(), LoadError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let file = folder.join(RUN_FILE);
        match fs::read(&file) {
            Ok(text) => self.run(folder, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut files = parquet_files(folder)?;
                if files.is_empty() {
                    return Err(LoadError::Empty { place: place.to_owned() });
                }
                files.sort();
                files.iter().try_for_each(|file| self.file(file))
            }
            Err(source) => Err(LoadError::Read { path: file, source }),
        }
    }

    fn run(&mut self, folder: &Path, text: &[u8]) -> Result<(), LoadError> {
        let run = RunFile::parse(text, &folder.display().to_string())?;
        for part in &run.parts {
            let name = &part.name;
            let inside = !name.is_empty()
                && Path::new(name).components().all(|component| matches!(component, Component::Normal(_)));
            if !inside {
                return Err(LoadError::Outside { folder: folder.to_owned(), name: name.clone() });
            }
            let path = folder.join(name);
            if !path.is_file() {
                return Err(LoadError::PartMissing { folder: folder.to_owned(), name: name.clone() });
            }
            self.file(&path)?;
        }
        let folder = canonical(folder)?;
        if self.runs.iter().all(|(known, _)| *known != folder) {
            self.runs.push((folder, run));
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), LoadError> {
        let wrong = |reason: String| LoadError::Pattern { pattern: pattern.to_owned(), reason };
        let mut paths = Vec::new();
        for path in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
            paths.push(
                path.map_err(|error| LoadError::Read {
                    path: error.path().to_owned(),
                    source: error.into(),
                })?,
            );
        }
        if paths.is_empty() {
            return Err(LoadError::Empty { place: pattern.to_owned() });
        }
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.folder(&path, &path.display().to_string())?;
            } else if !is_corpus_path(&path) {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        let path = canonical(path)?;
        if !self.parts.contains(&path) {
            self.parts.push(path);
        }
        Ok(())
    }
}

/// The path of a `file://` URL; `None` if `place` is not a URL.
fn local(place: &str) -> Result<Option<PathBuf>, LoadError> {
    let Some((scheme, _)) = place.split_once("://") else {
        return Ok(None);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => Url::parse(place)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .map(Some)
            .ok_or_else(|| LoadError::Url { url: place.to_owned() }),
        _ => Err(LoadError::Url { url: place.to_owned() }),
    }
}

fn canonical(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

fn is_corpus_path(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_corpus(&name.to_string_lossy()))
}

fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let read = |source| LoadError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let is_part =
            path.extension().is_some_and(|extension| extension == "parquet") && !is_corpus_path(&path);
        if is_part && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(place: &str) -> String {
        Found::default().add(place).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(refusal("ftp://b").contains("unknown scheme 'ftp'"));
        assert!(refusal("s3://key:hush@b/run").contains("credentials come from the environment"));
        assert_eq!(refusal("no/such/run"), "no/such/run does not exist");
        assert_eq!(
            refusal("no/such/*.parquet"),
            "no/such/*.parquet holds no results: no run.json and no *.parquet"
        );
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(&dir.path().display().to_string()).contains("holds no results"));
    }

    #[test]
    fn a_file_is_taken_once_however_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a run");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("part-0.parquet");
        fs::write(&file, "").unwrap();
        let mut found = Found::default();
        let url = Url::from_file_path(&file).unwrap();
        assert!(url.as_str().contains("%20"));
        found.add(url.as_str()).unwrap();
        found.add(&file.display().to_string()).unwrap();
        found.add(&folder.display().to_string()).unwrap();
        found.add(&format!("{}/*.parquet", folder.display())).unwrap();
        assert_eq!(found.parts, [file.canonicalize().unwrap()]);
    }
}
