//! Reads a folder, a tar archive or one file as a sorted stream of texts.

use std::fs;
use std::path::{Path, PathBuf};

use domain::config::Limits;
use results::file_error::FileError;

use super::names::is_manifest;
use super::tar::{Archive, is_tar};
use super::text::{FileProblem, read_text};
use super::walk::{Found, Walk};

/// One file of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the root, with `/` between components; of a single file, its name.
    pub path: String,
    /// Its text, or why there is none.
    pub content: Result<String, FileProblem>,
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
