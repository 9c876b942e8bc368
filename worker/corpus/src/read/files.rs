//! Reads a folder, an archive or one file as a sorted stream of texts.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::config::Limits;
use results::file_error::FileError;
use results::root::{Below, Refused, Root, named};

use super::archive::{Archive, is_archive};
use super::names::is_manifest;
use super::text::{FileProblem, read_text};
use super::walk::{Found, Walk};

/// One file of the input.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its path below the root, with `/` between components; of a single file, its name.
    pub path: String,
    /// Its text, or why there is none.
    pub content: Result<String, FileProblem>,
    /// Where it lies; `None` in an archive and for standard input.
    pub below: Option<Below>,
    /// Which file it is whatever its name; `None` in an archive and for standard input.
    pub id: Option<FileId>,
}

/// A file of the system, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// Whether it has other names (hard links).
    pub has_names: bool,
}

impl FileId {
    fn of(root: &Root, below: &Path) -> Option<Self> {
        let metadata = root.file(below).ok()?.metadata().ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), has_names: metadata.nlink() > 1 })
    }
}

/// The manifests (`.yaml`, `.yml`, `.json`) of an input, sorted by path.
///
/// A file that several links lead to is read once: under its own name where the folder shows it, else by the first link.
#[derive(Debug)]
pub struct Files {
    source: Source,
    limit: u64,
}

#[derive(Debug)]
enum Source {
    Folder {
        walk: Walk,
        /// Files that were read by a link.
        linked: HashSet<PathBuf>,
    },
    Archive {
        archive: Archive,
        paths: std::vec::IntoIter<String>,
    },
    Single(Option<(Arc<Root>, PathBuf)>),
}

impl Files {
    /// Opens a folder (searched to any depth), a tar (packed or not) or zip archive, or one file.
    pub fn open(path: &str, limits: &Limits) -> Result<Self, FileError> {
        let root = Path::new(path);
        let failed = |error| FileError::open(path, error);
        let source = if std::fs::metadata(root).map_err(failed)?.is_dir() {
            Source::Folder { walk: Walk::new(root)?, linked: HashSet::new() }
        } else {
            named(root).map_err(|refused| FileError::refused(path, &refused))?;
            if is_archive(root)? {
                let archive = Archive::open(path, limits)?;
                let paths: Vec<String> = archive.manifests().cloned().collect();
                Source::Archive { archive, paths: paths.into_iter() }
            } else {
                let folder = Root::open(root.parent().unwrap_or(Path::new(""))).map_err(failed)?;
                let name = root.file_name().unwrap_or_default();
                Source::Single(Some((Arc::new(folder), name.into())))
            }
        };
        Ok(Self { source, limit: limits.file_bytes })
    }

    /// Opens a file or a folder (searched to any depth) below a folder that nothing leaves; an empty path is that folder. The
    /// paths of the files of a folder are those below it.
    ///
    /// # Errors
    /// [`Refused`] for a path or a link that leads out, and for what is neither a regular file nor a folder.
    pub fn below(root: &Arc<Root>, path: &Path, limits: &Limits) -> Result<Self, Refused> {
        let folder = |walk| Source::Folder { walk, linked: HashSet::new() };
        let source = if path.as_os_str().is_empty() {
            folder(Walk::of(Arc::clone(root))?)
        } else {
            match root.file(path) {
                Ok(_) => Source::Single(Some((Arc::clone(root), path.to_owned()))),
                Err(Refused::Folder) => folder(Walk::of(Arc::new(root.folder(path)?))?),
                Err(refused) => return Err(refused),
            }
        };
        Ok(Self { source, limit: limits.file_bytes })
    }
}

impl Iterator for Files {
    type Item = SourceFile;

    fn next(&mut self) -> Option<SourceFile> {
        match &mut self.source {
            Source::Folder { walk, linked } => loop {
                let below = match walk.next()? {
                    Found::Problem(below, problem) => {
                        return Some(SourceFile {
                            path: shown(&below),
                            content: Err(problem),
                            below: None,
                            id: None,
                        });
                    }
                    Found::File(below) | Found::Link(below) if !is_manifest(&below) => continue,
                    Found::File(below) => below,
                    Found::Link(below) => {
                        let read_elsewhere = walk.target(&below).is_some_and(|(target, found)| {
                            (found && is_manifest(&target)) || !linked.insert(target)
                        });
                        if read_elsewhere {
                            continue;
                        }
                        below
                    }
                };
                return Some(read(walk.root(), below, self.limit));
            },
            Source::Archive { archive, paths } => {
                let path = paths.next()?;
                let content = archive.text(&path).unwrap_or_else(|| {
                    Err(FileProblem::Unreadable("it is no longer in the archive".to_owned()))
                });
                Some(SourceFile { path, content, below: None, id: None })
            }
            Source::Single(file) => {
                let (root, name) = file.take()?;
                Some(read(&root, name, self.limit))
            }
        }
    }
}

fn read(root: &Arc<Root>, below: PathBuf, limit: u64) -> SourceFile {
    let (path, content) = (shown(&below), read_text(root, &below, limit));
    let id = FileId::of(root, &below);
    SourceFile { path, content, below: Some(Below::new(Arc::clone(root), below)), id }
}

/// The path with `/` between its components, readable whatever its bytes.
pub(super) fn shown(below: &Path) -> String {
    let parts: Vec<_> = below.iter().map(OsStr::to_string_lossy).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use results::input::encoding::NotText;

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
        assert_eq!(found[4].content, Err(FileProblem::NotText(NotText { encoding: "UTF-8", byte: 2 })));
        assert_eq!(found[5].content, Err(FileProblem::TooLarge { bytes: 101, limit: 100 }));
    }

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
        symlink("/dev/zero", root.join("a/zero.txt")).unwrap();
        write(root, ".data/h", b"hidden");
        symlink("../.data/h", root.join("a/h.yaml")).unwrap();
        symlink("h.yaml", root.join("a/i.yaml")).unwrap();
        let found: Vec<SourceFile> =
            Files::open(&root.display().to_string(), &Limits::default()).unwrap().collect();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/h.yaml", "a/loop", "a/x.yaml", "a/z.yaml", "a/zero.yaml"]);
        assert_eq!(found[0].content.as_deref(), Ok("hidden"), "read by the first link to it");
        assert_eq!(found[1].content, Err(FileProblem::FolderLink));
        assert_eq!(found[2].content.as_deref(), Ok("x"), "and not by the link to it");
        assert_eq!(found[3].content, Err(FileProblem::Refused(Refused::Missing)));
        assert_eq!(found[4].content, Err(FileProblem::Refused(Refused::Outside)));
    }

    #[test]
    fn nothing_below_an_open_folder_leaves_it() {
        use std::os::unix::fs::symlink;
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        write(outer.path(), "outside.yaml", b"outside");
        write(&inner, "a/x.yaml", b"x");
        symlink(outer.path(), inner.join("up")).unwrap();
        symlink("../outside.yaml", inner.join("link.yaml")).unwrap();
        symlink("a", inner.join("b")).unwrap();
        let root = Arc::new(Root::open(&inner).unwrap());
        let below = |path: &str| Files::below(&root, Path::new(path), &Limits::default());
        let paths = |path: &str| below(path).unwrap().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(paths("a/x.yaml"), ["a/x.yaml"]);
        assert_eq!((paths("a"), paths("b")), (vec!["x.yaml".to_owned()], vec!["x.yaml".to_owned()]));
        assert!(paths("").contains(&"a/x.yaml".to_owned()));
        for path in
            ["../outside.yaml", "up", "up/outside.yaml", "link.yaml", "/etc/hostname", "a/../../outside.yaml"]
        {
            assert_eq!(below(path).unwrap_err(), Refused::Outside, "{path}");
        }
        assert_eq!(below("none.yaml").unwrap_err(), Refused::Missing);
    }

    #[test]
    fn one_file_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "x.yaml", b"x");
        let path = folder.path().join("x.yaml").display().to_string();
        let found: Vec<SourceFile> = Files::open(&path, &Limits::default()).unwrap().collect();
        assert_eq!(
            (found.len(), found[0].path.as_str(), found[0].content.as_deref()),
            (1, "x.yaml", Ok("x"))
        );
        let error = Files::open("no/such/folder", &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("no/such/folder: cannot be opened"), "{error}");
    }
}
