//! Regular files below a folder.
//!
//! *Never* follows a link to a folder (there is no loop to fall into) or out of the folder, and never lists hidden files.
//! What is left out although its name says that it is a manifest is a problem among the files.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use results::file_error::FileError;
use results::root::{Kind, Refused, Root};

use super::names::is_manifest;
use super::text::FileProblem;

/// Regular files below a folder in the order of their path's components.
#[derive(Debug)]
pub(super) struct Walk {
    root: Arc<Root>,
    /// What is still to visit, the next one last.
    pending: Vec<(PathBuf, Kind)>,
}

/// Something below the folder, by its path there.
#[derive(Debug)]
pub(super) enum Found {
    File(PathBuf),
    /// A link to a file below the folder.
    Link(PathBuf),
    Problem(PathBuf, FileProblem),
}

impl Walk {
    pub(super) fn new(root: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::open(&root.display().to_string(), error);
        let open = Arc::new(Root::open(root).map_err(failed)?);
        Self::of(open).map_err(|refused| failed(std::io::Error::other(refused)))
    }

    /// A search of a folder that is open.
    pub(super) fn of(root: Arc<Root>) -> Result<Self, Refused> {
        let mut walk = Self { root, pending: Vec::new() };
        walk.enter(Path::new(""))?;
        Ok(walk)
    }

    /// The folder that is searched.
    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    fn enter(&mut self, folder: &Path) -> Result<(), Refused> {
        let mut names = self.root.list(folder)?;
        names.retain(|(name, _)| !is_hidden(name));
        names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        self.pending.extend(names.into_iter().map(|(name, kind)| (folder.join(name), kind)));
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Found> {
        while let Some((below, kind)) = self.pending.pop() {
            let found = match kind {
                Kind::File => Some(Found::File(below)),
                Kind::Folder => match self.enter(&below) {
                    Ok(()) => None,
                    Err(refused) => Some(Found::Problem(below, refused.into())),
                },
                Kind::Link => self.link(below),
                Kind::Special(what) if is_manifest(&below) => {
                    Some(Found::Problem(below, Refused::Special(what).into()))
                }
                Kind::Special(_) => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn link(&self, below: PathBuf) -> Option<Found> {
        match self.root.file(&below) {
            Ok(_) => Some(Found::Link(below)),
            // Whether a link leads to a folder may be asked of what lies outside, too; nothing there is read.
            Err(_) if fs::metadata(self.root.path().join(&below)).is_ok_and(|target| target.is_dir()) => {
                Some(Found::Problem(below, FileProblem::FolderLink))
            }
            Err(refused) if is_manifest(&below) => Some(Found::Problem(below, refused.into())),
            // Not a manifest, whatever it leads to.
            Err(_) => None,
        }
    }

    /// Where the file behind a link lies, and whether the search finds it there. Decides under which name it is read, not
    /// what may be read.
    pub(super) fn target(&self, link: &Path) -> Option<(PathBuf, bool)> {
        let root = fs::canonicalize(self.root.path()).ok()?;
        let target = fs::canonicalize(self.root.path().join(link)).ok()?;
        let hidden = |part: Component<'_>| is_hidden(part.as_os_str());
        let found = target.strip_prefix(root).is_ok_and(|below| !below.components().any(hidden));
        Some((target, found))
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
