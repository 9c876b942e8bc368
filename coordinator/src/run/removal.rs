//! Disk use of runs, and removal of runs that have ended.
//!
//! *Invariant*: an interrupted removal is completed later, and what it leaves until then is not mistaken for a run. First
//! the ledger records the state *removing*. A local folder is renamed before its files are deleted, so that its results
//! vanish at once; in an object store `run.json` is deleted before the parts that it names. The ledger's entry is deleted
//! last.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ids::RunId;
use domain::run::RunState;
use proto::convert::StoredRun;
use proto::status::{ApiError, ErrorReason};
use results::layout::{CORPUS_FILE, MARK_FILE, RUN_FILE};
use results::store::{Store, StoreError};

use super::Coordinator;
use super::run_folder::{delete_ours, is_of_run, is_ours};
use crate::ledger::{Ledger, Swap};
use crate::refusals::{ledger_refusal, storage, unknown_run};

/// Prefix of the name of a folder that is being deleted.
pub(crate) const REMOVING: &str = ".removing-";

/// A ledger and the results of its runs.
pub(crate) struct RunStorage {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Store,
    /// Local folder of corpora, where the results go to an object store.
    pub(crate) scratch: PathBuf,
}

impl RunStorage {
    /// Every run with the size of its results, oldest first.
    pub(crate) async fn inventory(&self) -> Result<Vec<StoredRun>, ApiError> {
        let mut stored = Vec::new();
        for entry in self.ledger.runs().await.map_err(|error| ledger_refusal(&error))? {
            let folder = self.folder(&entry.plan.run_id)?;
            stored.push(StoredRun {
                run_id: entry.plan.run_id,
                state: entry.state,
                records: entry.plan.records,
                created_at_ms: entry.created_at_ms,
                bytes: size(&folder).await.map_err(|error| storage(&error))?,
                results: folder.location().to_owned(),
            });
        }
        Ok(stored)
    }

    /// Removes a run that has ended, with its results.
    pub(crate) async fn remove(&self, run_id: &RunId) -> Result<(), ApiError> {
        let entry = self.ledger.run(run_id).await.map_err(|error| ledger_refusal(&error))?;
        let state = entry.ok_or_else(|| unknown_run(run_id))?.state;
        if !state.has_ended() {
            return Err(not_ended(run_id, state));
        }
        if state != RunState::Removing {
            let swap = self.ledger.advance(run_id, state, RunState::Removing, None).await;
            match swap.map_err(|error| ledger_refusal(&error))? {
                Swap::Done | Swap::Differs(RunState::Removing) => {}
                Swap::Differs(state) => return Err(not_ended(run_id, state)),
            }
        }
        self.finish_removal(run_id).await?;
        tracing::info!(run = %run_id, "removed");
        Ok(())
    }

    /// Deletes the results of a run in the state *removing*, then its entry in the ledger.
    pub(crate) async fn finish_removal(&self, run_id: &RunId) -> Result<(), ApiError> {
        let failed = |error: String| {
            ApiError::new(ErrorReason::Storage, format!("cannot remove the results of run {run_id}: {error}"))
        };
        let folder = self.folder(run_id)?;
        if let Some(path) = self.store.local_path(run_id.as_str()) {
            let deleted = remove_folder(&path, run_id, &folder).await;
            if !deleted.map_err(|error| failed(error.to_string()))? {
                tracing::warn!(run = %run_id, folder = folder.location(), "left in place what is not of this run");
            }
        } else {
            folder.delete(RUN_FILE).await.map_err(|error| storage(&error))?;
            let objects = folder.list().await.map_err(|error| storage(&error))?;
            let keys = objects.into_iter().map(|object| object.key).filter(|key| is_ours(key)).collect();
            folder.delete_all(keys).await.map_err(|error| storage(&error))?;
            folder.delete(MARK_FILE).await.map_err(|error| storage(&error))?;
            // An error means that the file does not exist, or is left for the next removal.
            let _ = std::fs::remove_file(self.scratch.join(format!("{run_id}.{CORPUS_FILE}")));
        }
        self.ledger.remove_run(run_id).await.map(drop).map_err(|error| ledger_refusal(&error))
    }

    fn folder(&self, run_id: &RunId) -> Result<Store, ApiError> {
        self.store.folder(run_id.as_str()).map_err(|error| storage(&error))
    }
}

/// Total size of the objects in a run's folder in bytes.
pub(crate) async fn size(folder: &Store) -> Result<u64, StoreError> {
    Ok(folder.list().await?.iter().map(|object| object.bytes).sum())
}

/// Removes the results of a run on this machine, if its folder is the run's by its mark; returns whether nothing is left of the
/// folder.
pub(crate) async fn remove_folder(path: &Path, run_id: &RunId, folder: &Store) -> std::io::Result<bool> {
    let is_marked = is_of_run(folder, run_id).await;
    let path = path.to_owned();
    let removing = tokio::task::spawn_blocking(move || {
        if is_marked { delete_folder(&path) } else { delete_leftover(&path).map(|()| !path.exists()) }
    });
    removing.await.map_err(std::io::Error::other)?
}

/// Deletes what is ours of a run's folder, after renaming it: what an interruption leaves is not mistaken for a run. What
/// others put there comes back under its name. Returns whether nothing is left.
fn delete_folder(path: &Path) -> std::io::Result<bool> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir()) {
        return Ok(false);
    }
    let Some(doomed) = doomed(path) else { return Ok(false) };
    delete_leftover(path)?;
    allow_missing(std::fs::rename(path, &doomed))?;
    let is_gone = delete_ours(&doomed)?;
    if !is_gone {
        std::fs::rename(&doomed, path)?;
    }
    Ok(is_gone)
}

/// Completes an earlier removal.
fn delete_leftover(path: &Path) -> std::io::Result<()> {
    let Some(doomed) = doomed(path) else { return Ok(()) };
    if !delete_ours(&doomed)? && !path.exists() {
        std::fs::rename(&doomed, path)?;
    }
    Ok(())
}

/// The name of a folder while it is deleted.
fn doomed(path: &Path) -> Option<PathBuf> {
    let (around, name) = (path.parent()?, path.file_name()?);
    Some(around.join(format!("{REMOVING}{}", name.to_string_lossy())))
}

/// Treats a missing file or folder as success.
fn allow_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn not_ended(run_id: &RunId, state: RunState) -> ApiError {
    let message = format!("run {run_id} is {}: only a run that has ended can be removed", state.as_str());
    ApiError::new(ErrorReason::RunLives, message)
}

impl Coordinator {
    /// Every run with the size of its results, oldest first.
    pub async fn inventory(&self) -> Result<Vec<StoredRun>, ApiError> {
        self.run_storage().inventory().await
    }

    /// Removes a run that has ended, with its results.
    pub async fn remove(&self, run_id: &RunId) -> Result<(), ApiError> {
        // Blocks submissions of that id until the end: their corpus would be deleted with the run.
        if !self.scheduler().arriving.insert(run_id.clone()) {
            let message =
                format!("run {run_id} is being submitted: only a run that has ended can be removed");
            return Err(ApiError::new(ErrorReason::RunLives, message));
        }
        let removed = self.run_storage().remove(run_id).await;
        self.scheduler().arriving.remove(run_id);
        removed
    }

    /// Completes an interrupted removal. After a failure the coordinator tries again at its next start.
    pub(super) async fn finish_removal(&self, run_id: &RunId) {
        if let Err(refusal) = self.run_storage().finish_removal(run_id).await {
            tracing::warn!(run = %run_id, error = %refusal, "cannot complete the removal of a run");
        }
    }

    fn run_storage(&self) -> RunStorage {
        RunStorage {
            ledger: Arc::clone(&self.ledger),
            store: self.store.clone(),
            scratch: self.scratch.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Created, MemoryLedger, suite};
    use crate::run::run_folder::{self, Maker};

    #[tokio::test]
    async fn only_an_ended_run_is_removed_and_an_interrupted_removal_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(folder.path()).unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        let storage = RunStorage {
            ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
            store: store.clone(),
            scratch: folder.path().to_owned(),
        };
        let run_id = RunId::new("r").unwrap();
        assert_eq!(ledger.create_run(suite::run("r")).await.unwrap(), Created::New);
        let results = store.folder("r").unwrap();
        run_folder::mark(&results, &run_id, Maker::Coordinator).await.unwrap();
        for key in ["run.json", "part-00000.parquet", "parts/x.parquet"] {
            results.put(key, bytes::Bytes::from_static(b"1234")).await.unwrap();
        }
        assert_eq!(storage.inventory().await.unwrap()[0].bytes, 12);
        assert_eq!(storage.remove(&run_id).await.unwrap_err().reason, ErrorReason::RunLives);
        assert!(folder.path().join("r/run.json").exists());

        ledger.advance(&run_id, RunState::Running, RunState::Cancelled, None).await.unwrap();
        ledger.advance(&run_id, RunState::Cancelled, RunState::Removing, None).await.unwrap();
        // A removal that was interrupted after the folder had been renamed.
        std::fs::rename(folder.path().join("r"), folder.path().join(".removing-r")).unwrap();
        storage.remove(&run_id).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(storage.inventory().await.unwrap(), []);
        assert_eq!(storage.remove(&run_id).await.unwrap_err().reason, ErrorReason::UnknownRun);
    }

    #[tokio::test]
    async fn a_folder_without_the_mark_of_the_run_stays() {
        let around = tempfile::tempdir().unwrap();
        let store = Store::local(around.path()).unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        let storage = RunStorage {
            ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
            store: store.clone(),
            scratch: around.path().to_owned(),
        };
        for (name, marked) in [("src", None), ("other", Some("r")), ("linked", Some("linked"))] {
            let run_id = RunId::new(name).unwrap();
            ledger.create_run(suite::run(name)).await.unwrap();
            ledger.advance(&run_id, RunState::Running, RunState::Cancelled, None).await.unwrap();
            let folder = store.folder(name).unwrap();
            folder.put("main.rs", bytes::Bytes::from_static(b"fn main() {}")).await.unwrap();
            if let Some(marked) = marked {
                run_folder::mark(&folder, &RunId::new(marked).unwrap(), Maker::Coordinator).await.unwrap();
            }
        }
        let target = around.path().join("target");
        std::fs::rename(around.path().join("linked"), &target).unwrap();
        std::os::unix::fs::symlink(&target, around.path().join("linked")).unwrap();
        for name in ["src", "other", "linked"] {
            storage.remove(&RunId::new(name).unwrap()).await.unwrap();
            assert!(around.path().join(name).join("main.rs").exists(), "{name}");
        }
        assert_eq!(storage.inventory().await.unwrap(), []);
    }
}
