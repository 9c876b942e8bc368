//! Reads whole documents by the `manifest_path` of a record.
//!
//! Published paths are relative to the folder of the paper's code (`data/manifests/…`), paths in archives to the packed folder
//! (`manifests/…`): a path is found when one of the two ends with the whole of the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use domain::config::Limits;
use results::file_error::FileError;
use results::root::Root;

use super::archive::Archive;
use super::files::shown;
use super::text::{FileProblem, read_text};
use super::walk::{Found, Walk};

/// A folder or an archive of manifests with random access.
#[derive(Debug)]
pub struct Manifests {
    source: Source,
    /// File name → paths of that name, sorted. A link that cannot be read is among them, so that its reason is said.
    by_name: HashMap<String, Vec<String>>,
    limit: u64,
}

#[derive(Debug)]
enum Source {
    Folder(Arc<Root>),
    Archive(Archive),
}

/// Why a path gives no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum ManifestProblem {
    /// No file matches.
    #[error("{path}: not among the manifests; name the folder or archive that holds it")]
    Missing { path: String },
    /// Several files match equally well.
    #[error("{path}: {first} and {second} both match; name a folder that holds one of them")]
    Ambiguous { path: String, first: String, second: String },
    /// The file that matches has no text.
    #[error("{path}: {problem}")]
    File { path: String, problem: FileProblem },
}

impl Manifests {
    /// Opens a folder, or unpacks a tar (packed or not) or a zip into a temporary file.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let root = Path::new(path);
        let metadata = std::fs::metadata(root).map_err(|error| FileError::open(path, error))?;
        let mut by_name: HashMap<String, Vec<String>> = HashMap::new();
        let mut add = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            by_name.entry(name.to_owned()).or_default().push(path.to_owned());
        };
        let source = if metadata.is_dir() {
            let mut walk = Walk::new(root)?;
            while let Some(Found::File(below) | Found::Link(below) | Found::Problem(below, _)) = walk.next() {
                add(&shown(&below));
            }
            Source::Folder(Arc::clone(walk.root()))
        } else {
            let archive = Archive::open(path, limits)?;
            archive.paths().for_each(|path| add(path));
            Source::Archive(archive)
        };
        Ok(Self { source, by_name, limit: limits.file_bytes })
    }

    /// The text of the file that `manifest_path` means.
    pub fn text(&self, manifest_path: &str) -> Result<String, ManifestProblem> {
        let found = self.find(manifest_path)?;
        let text = match &self.source {
            Source::Folder(root) => read_text(root, Path::new(found), self.limit),
            Source::Archive(archive) => archive
                .text(found)
                .unwrap_or_else(|| Err(FileProblem::Unreadable("it is not in the archive".to_owned()))),
        };
        text.map_err(|problem| ManifestProblem::File { path: found.to_owned(), problem })
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn find(&self, manifest_path: &str) -> Result<&str, ManifestProblem> {
        let missing = || ManifestProblem::Missing { path: manifest_path.to_owned() };
        let asked: Vec<&str> =
            manifest_path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let name = asked.last().ok_or_else(missing)?;
        let candidates = self.by_name.get(*name).ok_or_else(missing)?;
        // Within one length of shared path the whole of the candidate wins over a candidate that goes on.
        let score = |candidate: &str| {
            let shared = candidate.rsplit('/').zip(asked.iter().rev()).take_while(|(a, b)| a == *b).count();
            let whole = shared == candidate.split('/').count();
            (whole || shared == asked.len()).then_some((shared, whole))
        };
        let mut best: Option<((usize, bool), &str)> = None;
        let mut rival = None;
        for candidate in candidates {
            let Some(found) = score(candidate) else { continue };
            match best {
                Some((other, _)) if other > found => {}
                Some((other, path)) if other == found => rival = Some((path, candidate)),
                _ => {
                    best = Some((found, candidate));
                    rival = None;
                }
            }
        }
        if let Some((first, second)) = rival {
            return Err(ManifestProblem::Ambiguous {
                path: manifest_path.to_owned(),
                first: first.to_owned(),
                second: second.clone(),
            });
        }
        best.map(|(_, path)| path).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::archive::tests::archive;

    fn manifests(paths: &[&str]) -> Manifests {
        let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (*path, path.as_bytes())).collect();
        let file = archive(&files);
        Manifests::open(&file.path().display().to_string(), &Limits::default()).unwrap()
    }

    #[test]
    fn finds_by_the_longest_whole_suffix() {
        let manifests = manifests(&["m/s/x.yaml", "m/t/x.yaml", "x.yaml", "m/u/y.yaml"]);
        assert_eq!(manifests.text("data/m/s/x.yaml").as_deref(), Ok("m/s/x.yaml"));
        assert_eq!(manifests.text("/abs/./m/t/x.yaml").as_deref(), Ok("m/t/x.yaml"));
        assert_eq!(manifests.text("data/m/v/x.yaml").as_deref(), Ok("x.yaml"), "its whole path is a suffix");
        assert_eq!(manifests.text("y.yaml").as_deref(), Ok("m/u/y.yaml"));
        assert_eq!(manifests.text("x.yaml").as_deref(), Ok("x.yaml"));
        assert!(
            matches!(manifests.text("m/w/y.yaml"), Err(ManifestProblem::Missing { .. })),
            "another folder"
        );
        assert!(matches!(manifests.text(""), Err(ManifestProblem::Missing { .. })));
        assert_eq!(manifests.len(), 4);
    }

    #[test]
    fn does_not_guess_between_equals() {
        let manifests = manifests(&["a/s/x.yaml", "b/s/x.yaml"]);
        assert!(matches!(manifests.text("s/x.yaml"), Err(ManifestProblem::Ambiguous { .. })));
        assert_eq!(manifests.text("b/s/x.yaml").as_deref(), Ok("b/s/x.yaml"));
    }

    #[test]
    fn reads_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("m/s")).unwrap();
        std::fs::write(folder.path().join("m/s/x.yaml"), "kind: Pod").unwrap();
        let manifests = Manifests::open(&folder.path().display().to_string(), &Limits::default()).unwrap();
        assert_eq!(manifests.text("data/m/s/x.yaml").as_deref(), Ok("kind: Pod"));
    }
}
