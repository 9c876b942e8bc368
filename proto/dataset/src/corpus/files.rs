//! A folder, a tar archive or one file as a sorted stream of texts.
//!
//! *Never* follows a link to a folder (there is no loop to fall into) and never opens hidden files or what is no regular
//! file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use domain::config::Limits;

use super::tar::{Archive, is_tar};
use super::{FileError, is_manifest};

/// One file of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the root, with `/` between components; of a single file, its name.
    pub path: String,
    /// Its text, or why there is none.
    pub content: Result<String, FileProblem>,
}

/// Why a file among others has no text. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// Beyond `limits.file_bytes`.
    #[error("{bytes} bytes are more than limits.file_bytes = {limit}; split the file or raise the limit")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// What the limit is.
        limit: u64,
    },
    /// Not UTF-8.
    #[error("not UTF-8 at byte {byte}; save the file as UTF-8")]
    NotUtf8 {
        /// First byte that is not.
        byte: usize,
    },
    /// The system refused.
    #[error("cannot be read: {0}; check its permissions")]
    Unreadable(String),
    /// A link to a folder.
    #[error("is a link to a folder, which is not followed; name that folder instead")]
    FolderLink,
}

/// The manifests (`.yaml`, `.yml`, `.json`) of an input, sorted by path.
#[derive(Debug)]
pub struct Files {
    source: Source,
    limit: u64,
}

#[derive(Debug)]
enum Source {
    Folder(Walk),
    Archive { archive: Archive, paths: std::vec::IntoIter<String> },
    Single(Option<PathBuf>),
}

impl Files {
    /// Opens a folder (searched to any depth), a `.tar` or `.tar.gz`, or one file.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let root = Path::new(path);
        let metadata = fs::metadata(root).map_err(|error| FileError::open(path, error))?;
        let source = if metadata.is_dir() {
            Source::Folder(Walk::new(root)?)
        } else if is_tar(root)? {
            let archive = Archive::open(path, limits)?;
            let paths: Vec<String> =
                archive.paths().filter(|path| is_manifest(Path::new(path))).cloned().collect();
            Source::Archive { archive, paths: paths.into_iter() }
        } else {
            Source::Single(Some(root.to_owned()))
        };
        Ok(Self { source, limit: limits.file_bytes })
    }
}

impl Iterator for Files {
    type Item = SourceFile;

    fn next(&mut self) -> Option<SourceFile> {
        match &mut self.source {
            Source::Folder(walk) => loop {
                let (path, below) = match walk.next()? {
                    Found::File(path, below) => (path, below),
                    Found::Problem(below, problem) => {
                        return Some(SourceFile { path: below, content: Err(problem) });
                    }
                };
                if is_manifest(&path) {
                    return Some(SourceFile { path: below, content: read_text(&path, self.limit) });
                }
            },
            Source::Archive { archive, paths } => {
                let path = paths.next()?;
                let content = archive.text(&path).unwrap_or_else(|| {
                    Err(FileProblem::Unreadable("it is no longer in the archive".to_owned()))
                });
                Some(SourceFile { path, content })
            }
            Source::Single(path) => {
                let path = path.take()?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Some(SourceFile { path: name, content: read_text(&path, self.limit) })
            }
        }
    }
}

/// The text of one file, within `limit` bytes.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, FileProblem> {
    let unreadable = |error: io::Error| FileProblem::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > limit {
        return Err(FileProblem::TooLarge { bytes: length, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(FileProblem::TooLarge { bytes: bytes.len() as u64, limit });
    }
    as_text(bytes)
}

pub(super) fn as_text(bytes: Vec<u8>) -> Result<String, FileProblem> {
    String::from_utf8(bytes).map_err(|error| FileProblem::NotUtf8 { byte: error.utf8_error().valid_up_to() })
}

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
                    // A device, a socket, or a dead link that nobody would read.
                    _ => {}
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn sorted_visible_manifests_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["b.yaml", "a/z.yml", "a/b/c.JSON", "a-b.yaml", "readme.md", ".git/x.yaml", "a/.x.yaml"] {
            write(root, path, path.as_bytes());
        }
        write(root, "bad.yaml", b"ok\xff");
        write(root, "big.yaml", &[b'x'; 101]);
        let limits = Limits { file_bytes: 100, ..Limits::default() };
        let found: Vec<SourceFile> = Files::open(&root.display().to_string(), &limits).unwrap().collect();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/b/c.JSON", "a/z.yml", "a-b.yaml", "b.yaml", "bad.yaml", "big.yaml"]);
        assert_eq!(found[0].content.as_deref(), Ok("a/b/c.JSON"));
        assert_eq!(found[4].content, Err(FileProblem::NotUtf8 { byte: 2 }));
        assert_eq!(found[5].content, Err(FileProblem::TooLarge { bytes: 101, limit: 100 }));
    }

    #[cfg(unix)]
    #[test]
    fn links_cannot_trap_it() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/x.yaml", b"x");
        symlink(root, root.join("a/loop")).unwrap();
        symlink("x.yaml", root.join("a/y.yaml")).unwrap();
        symlink("nowhere", root.join("a/z.yaml")).unwrap();
        symlink("/dev/zero", root.join("a/zero.yaml")).unwrap();
        let found: Vec<SourceFile> =
            Files::open(&root.display().to_string(), &Limits::default()).unwrap().collect();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/loop", "a/x.yaml", "a/y.yaml", "a/z.yaml"]);
        assert_eq!(found[0].content, Err(FileProblem::FolderLink));
        assert_eq!(found[2].content.as_deref(), Ok("x"));
        assert!(matches!(found[3].content, Err(FileProblem::Unreadable(_))));
    }

    #[test]
    fn one_file_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "x.yaml", b"x");
        let path = folder.path().join("x.yaml").display().to_string();
        let found: Vec<SourceFile> = Files::open(&path, &Limits::default()).unwrap().collect();
        assert_eq!(found, [SourceFile { path: "x.yaml".to_owned(), content: Ok("x".to_owned()) }]);
        let error = Files::open("no/such/folder", &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("no/such/folder: cannot be opened"), "{error}");
    }
}
