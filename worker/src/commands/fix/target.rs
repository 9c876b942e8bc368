//! Where repaired files go: into the files themselves, or into a folder of their own.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use corpus::FileScan;
use domain::config::Limits;
use results::root::{Below, Root};

use crate::commands::companions::{Companions, store};

/// Where repaired files go.
#[derive(Debug)]
pub(super) enum Target {
    /// Nowhere: the diff is shown.
    None,
    /// Into the files.
    InPlace,
    /// Into an empty folder, at the same paths.
    Folder { root: Arc<Root>, path: PathBuf },
}

impl Target {
    /// A folder that is made, or that is empty: nothing is overwritten, and no link leads out of it.
    pub(super) fn folder(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot write into {}", path.display());
        std::fs::create_dir_all(path).with_context(failed)?;
        if std::fs::read_dir(path).with_context(failed)?.next().is_some() {
            return Err(anyhow::anyhow!("{} is not empty", path.display()))
                .hint("name a new folder for the repaired files");
        }
        Ok(Self::Folder { root: Arc::new(Root::open(path).with_context(failed)?), path: path.to_owned() })
    }

    /// Whether files are written.
    pub(super) const fn writes(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Writes a repaired file with its companions. Returns the other names of the file, which were written with it.
    pub(super) fn write(
        &self,
        file: &FileScan,
        text: Option<&str>,
        companions: Option<&Companions>,
        limits: &Limits,
    ) -> anyhow::Result<Vec<PathBuf>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::InPlace => store(file, text, companions, limits),
            Self::Folder { root, path } => {
                if let Some(companions) = companions {
                    let mode = if companions.private { 0o600 } else { 0o644 };
                    put(root, path, &companions.path, &companions.new, mode)?;
                }
                if let Some(text) = text {
                    put(root, path, &file.path, text, 0o644)?;
                }
                Ok(Vec::new())
            }
        }
    }
}

fn put(root: &Arc<Root>, folder: &Path, path: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    let below = below(path);
    if let Some(parent) = below.parent() {
        let parent = folder.join(parent);
        std::fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    Ok(Below::new(Arc::clone(root), below).replace(text.as_bytes(), mode)?)
}

/// A path as one below a folder: without `..`, and not from the root.
fn below(path: &str) -> PathBuf {
    if path == "-" {
        return PathBuf::from("stdin.yaml");
    }
    let names = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_below_the_folder() {
        for (path, expected) in
            [("a/b.yaml", "a/b.yaml"), ("/a/b", "a/b"), ("../../a", "a"), ("./a", "a"), ("-", "stdin.yaml")]
        {
            assert_eq!(below(path), Path::new(expected));
        }
    }
}
