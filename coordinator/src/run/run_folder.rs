//! The folder of a run's results: whether it is free for a run, the mark that makes it the run's, and what in it is ours.
//!
//! *Invariant*: nothing is written over or deleted that this program did not make. A folder is used for a run only when it was
//! empty, or has the run's mark and no results; a folder is removed only with a mark, and of it only what we made.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;

use domain::ids::RunId;
use proto::status::{ApiError, ErrorReason};
use results::layout::{MARK_FILE, RUN_FILE, STAGED, UNFINISHED, is_corpus, is_part};
use results::run_file::RunFile;
use results::store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::ledger::state_folder::RUN_STATE;
use crate::refusals::{storage, storage_failed};

/// Version of the mark's content.
const FORMAT: u32 = 1;

/// Which command makes the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Maker {
    /// A run of a coordinator.
    Coordinator,
    /// `coordinator import`.
    Import,
}

/// Content of the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    format: u32,
    run_id: RunId,
    made_by: Maker,
}

/// Marks a folder as that of the run.
pub(crate) async fn mark(folder: &Store, run_id: &RunId, made_by: Maker) -> Result<(), ApiError> {
    let mark = Mark { format: FORMAT, run_id: run_id.clone(), made_by };
    let json = serde_json::to_vec(&mark).map_err(|error| storage_failed(&error))?;
    folder.put(MARK_FILE, json.into()).await.map_err(|error| storage(&error))
}

/// Refuses a folder for a new run that holds anything but what an interrupted submission or import of that run left. `state`:
/// the folder of the coordinator's own ledger, which may lie in it.
pub(crate) async fn check_free(
    folder: &Store,
    run_id: &RunId,
    made_by: Maker,
    state: Option<&Path>,
) -> Result<(), ApiError> {
    let taken = |what: &str| {
        let message = format!(
            "{} holds {what}: choose another run id or folder, or move away what is there",
            folder.location()
        );
        Err(ApiError::new(ErrorReason::FolderTaken, message))
    };
    if folder.get(RUN_FILE).await.is_ok() {
        return taken("the results of a run");
    }
    let names = names(folder).await.map_err(|error| storage(&error))?;
    let is_own_state = |name: &str| {
        let found = (name == RUN_STATE).then(|| folder.local_path(name)).flatten();
        let found = found.and_then(|path| path.canonicalize().ok());
        found.is_some() && found == state.and_then(|state| state.canonicalize().ok())
    };
    let staged = STAGED.trim_end_matches('/');
    // The own ledger lies there and does not know the run: it has lost it, and nothing else knows what is left of it.
    let is_own = names.iter().any(|name| is_own_state(name));
    let mut others = names.into_iter().filter(|name| !name.starts_with(UNFINISHED) && !is_own_state(name));
    let is_marked =
        read_mark(folder).await.is_some_and(|mark| mark.run_id == *run_id && mark.made_by == made_by);
    let other = others.find(|name| {
        let is_left = match made_by {
            Maker::Coordinator => is_corpus(name) || (is_own && (is_part(name) || name == staged)),
            Maker::Import => is_corpus(name) || is_part(name),
        };
        !(is_marked && (is_left || name == MARK_FILE))
    });
    match other {
        None => Ok(()),
        Some(name) if name == RUN_STATE || is_part(&name) || name == staged => {
            taken("a run that has not ended")
        }
        Some(name) => taken(&format!("what is not of a run ({name})")),
    }
}

/// The names in a folder, hidden ones included; elsewhere than on this machine the keys of its objects.
async fn names(folder: &Store) -> Result<Vec<String>, StoreError> {
    let Some(path) = folder.local_path(".") else {
        return Ok(folder.list().await?.into_iter().map(|object| object.key).collect());
    };
    let failed = |source| StoreError::Folder { path: path.clone(), error: source };
    match std::fs::read_dir(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(failed)?
            .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}

async fn read_mark(folder: &Store) -> Option<Mark> {
    let json = folder.get(MARK_FILE).await.ok()?;
    serde_json::from_slice(&json).ok()
}

/// Whether a folder is that of the run: by its mark, or by the `run.json` of a release without marks.
pub(crate) async fn is_of_run(folder: &Store, run_id: &RunId) -> bool {
    match read_mark(folder).await {
        Some(mark) => mark.run_id == *run_id,
        None => RunFile::load(folder).await.is_ok_and(|file| file.run_id == *run_id),
    }
}

/// Whether an object of a run's folder is ours, by its key.
pub(crate) fn is_ours(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    [RUN_FILE, MARK_FILE].contains(&key)
        || is_corpus(key)
        || name.starts_with(UNFINISHED)
        || (is_part(key) && Path::new(key).extension() == Some(OsStr::new("parquet")))
}

/// Deletes what is ours in the folder of a run, and the folder when it is empty then; returns whether it is. Follows no link.
pub(crate) fn delete_ours(folder: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (name, kind, path) = (entry.file_name(), entry.file_type()?, entry.path());
        let name = name.to_string_lossy();
        if kind.is_dir() && name == RUN_STATE {
            std::fs::remove_dir_all(path)?;
        } else if kind.is_dir() && name == STAGED.trim_end_matches('/') {
            for part in std::fs::read_dir(&path)? {
                let part = part?;
                if part.file_type()?.is_file()
                    && is_ours(&format!("{STAGED}{}", part.file_name().to_string_lossy()))
                {
                    std::fs::remove_file(part.path())?;
                }
            }
            emptied(&path)?;
        } else if kind.is_file() && name != MARK_FILE && is_ours(&name) {
            std::fs::remove_file(path)?;
        }
    }
    // Last, so that an interrupted removal is completed.
    match std::fs::remove_file(folder.join(MARK_FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    emptied(folder)
}

/// Removes a folder if it is empty; returns whether it was.
fn emptied(folder: &Path) -> io::Result<bool> {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
        removed => removed.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use results::layout::CORPUS_FILE;

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    #[tokio::test]
    async fn only_an_empty_folder_or_what_the_same_run_left_is_free() {
        let around = tempfile::tempdir().unwrap();
        let store = Store::local(around.path()).unwrap();
        let free = async |name: &str, made_by| {
            let folder = store.folder(name).unwrap();
            check_free(&folder, &run(name), made_by, None).await.map_err(|refusal| refusal.message)
        };
        assert_eq!(free("new", Maker::Coordinator).await, Ok(()));
        let foreign = around.path().join("src");
        std::fs::create_dir(&foreign).unwrap();
        assert_eq!(free("src", Maker::Coordinator).await, Ok(()), "it is empty");
        std::fs::write(foreign.join("main.rs"), "fn main() {}").unwrap();
        let refused = free("src", Maker::Coordinator).await.unwrap_err();
        assert!(
            refused.contains("not of a run (main.rs)") && refused.contains("another run id"),
            "{refused}"
        );

        let folder = store.folder("half").unwrap();
        mark(&folder, &run("half"), Maker::Coordinator).await.unwrap();
        folder.put(CORPUS_FILE, "x".into()).await.unwrap();
        std::fs::write(around.path().join("half").join(format!("{UNFINISHED}1")), "").unwrap();
        assert_eq!(free("half", Maker::Coordinator).await, Ok(()), "a submission was interrupted");
        assert!(free("half", Maker::Import).await.is_err());
        folder.put("parts/1.parquet", "x".into()).await.unwrap();
        assert!(free("half", Maker::Coordinator).await.unwrap_err().contains("has not ended"));
        folder.put(RUN_FILE, "{}".into()).await.unwrap();
        assert!(free("half", Maker::Coordinator).await.unwrap_err().contains("the results of a run"));
    }

    #[tokio::test]
    async fn the_state_of_another_coordinator_is_a_run() {
        let around = tempfile::tempdir().unwrap();
        let store = Store::local(around.path()).unwrap();
        let (folder, own) = (store.folder("r").unwrap(), around.path().join("r").join(RUN_STATE));
        std::fs::create_dir_all(&own).unwrap();
        let free = async |state| check_free(&folder, &run("r"), Maker::Coordinator, state).await;
        assert!(free(None).await.unwrap_err().message.contains("has not ended"));
        assert_eq!(free(Some(&own)).await, Ok(()));
        // The own ledger has lost the run.
        folder.put("parts/1.parquet", "x".into()).await.unwrap();
        assert!(free(Some(&own)).await.is_err(), "no mark");
        mark(&folder, &run("r"), Maker::Coordinator).await.unwrap();
        assert_eq!(free(Some(&own)).await, Ok(()));
        assert!(free(None).await.is_err());
    }

    #[test]
    fn what_others_made_stays() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("r");
        std::fs::create_dir_all(folder.join("parts")).unwrap();
        std::fs::create_dir_all(folder.join(RUN_STATE)).unwrap();
        let files =
            [RUN_FILE, CORPUS_FILE, MARK_FILE, "part-00000.parquet", "parts/1.parquet", ".unfinished-x"];
        for name in files {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        for name in ["notes.md", "parts/notes.md"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        assert!(!delete_ours(&folder).unwrap());
        let mut left: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["notes.md", "parts"]);
        assert!(folder.join("parts/notes.md").exists());
        std::fs::remove_dir_all(folder.join("parts")).unwrap();
        std::fs::remove_file(folder.join("notes.md")).unwrap();
        assert!(delete_ours(&folder).unwrap() && !folder.exists());
        assert!(delete_ours(&folder).unwrap(), "it is gone");
    }
}
