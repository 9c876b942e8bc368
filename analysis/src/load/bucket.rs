//! Runs in buckets: what the figures of a run need is fetched into a temporary folder, because most figures read it several
//! times.

use std::path::{Component, Path};

use results::layout::{CORPUS_FILE, RUN_FILE, corpus_object};
use results::run_file::RunFile;
use results::store::{Store, StoreError};
use tempfile::TempDir;

use super::error::LoadError;

/// Fetches `run.json`, the parts that it names and the corpus of the run at `url` into a folder, which is deleted with what is
/// returned. The environment has the credentials.
pub(super) fn fetch(url: &str) -> Result<TempDir, LoadError> {
    let run = url.strip_suffix(RUN_FILE).unwrap_or(url).trim_end_matches('/');
    let remote = |source: StoreError| LoadError::Bucket { source };
    let store = Store::open(run).map_err(remote)?;
    let folder = tempfile::Builder::new().prefix("k8s-auto-fix-").tempdir();
    let read = |source| LoadError::Read { path: std::env::temp_dir(), source };
    let folder = folder.map_err(read)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(read)?;
    runtime.block_on(copy(&store, folder.path()))?;
    Ok(folder)
}

async fn copy(run: &Store, folder: &Path) -> Result<(), LoadError> {
    let text = match run.get(RUN_FILE).await {
        Err(StoreError::Missing { .. }) => {
            return Err(LoadError::NoRun { url: run.location().to_owned() });
        }
        text => text.map_err(|source| LoadError::Bucket { source })?,
    };
    let described = RunFile::parse(&text, run.location())?;
    for part in &described.parts {
        let name = Path::new(&part.name);
        if part.name.is_empty()
            || !name.components().all(|component| matches!(component, Component::Normal(_)))
        {
            return Err(LoadError::Outside { folder: run.location().into(), name: part.name.clone() });
        }
        if !object(run, &part.name, &folder.join(name)).await? {
            return Err(LoadError::PartMissing { folder: run.location().into(), name: part.name.clone() });
        }
    }
    // An imported run may have none; who needs it says so.
    let corpus = folder.join(CORPUS_FILE);
    if !object(run, &corpus_object(described.corpus_hash), &corpus).await? {
        object(run, CORPUS_FILE, &corpus).await?;
    }
    let file = folder.join(RUN_FILE);
    std::fs::write(&file, &text).map_err(|source| LoadError::Read { path: file, source })
}

/// Fetches an object to `path`; returns whether there is one.
async fn object(run: &Store, key: &str, path: &Path) -> Result<bool, LoadError> {
    let around = path.parent().unwrap_or(Path::new("."));
    let fetched = async {
        let bytes = run.size(key).await?;
        run.download(key, bytes, around).await
    };
    let file = match fetched.await {
        Ok(file) => file,
        Err(StoreError::Missing { .. }) => return Ok(false),
        Err(source) => return Err(LoadError::Bucket { source }),
    };
    let placed = file.persist(path).map(|_| true);
    placed.map_err(|error| LoadError::Read { path: path.to_owned(), source: error.error })
}
