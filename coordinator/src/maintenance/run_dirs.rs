//! Run directories at rest: a state folder of `serve`, or a results folder of `run` and `import`, in which each run has its
//! own ledger or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use domain::ids::RunId;
use proto::convert::StoredRun;
use results::layout::RUN_FILE;
use results::run_file::RunFile;
use results::store::Store;

use crate::ledger::SqliteLedger;
use crate::ledger::state_folder::{ENGINE_FILE, LEDGER_FILE, RUN_STATE, StateFolder, is_taken};
use crate::run::removal::{REMOVING, RunStorage, remove_folder, size};

/// State of a run that has not ended and that no coordinator works on.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// A folder with runs.
#[derive(Debug)]
pub(crate) struct RunDirs {
    folder: PathBuf,
    /// Whether it is the state folder of `serve`.
    served: bool,
}

impl RunDirs {
    /// Opens the folder. Read-only.
    pub(crate) fn at(folder: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        anyhow::ensure!(
            !folder.join(ENGINE_FILE).is_file(),
            "the ledger of {} is in a PostgreSQL server: ask the coordinator that serves it",
            folder.display()
        );
        Ok(Self { folder: folder.to_owned(), served: folder.join(LEDGER_FILE).is_file() })
    }

    /// Every run with the size of its results, oldest first. Read-only.
    pub(crate) async fn inventory(&self) -> anyhow::Result<Vec<StoredRun>> {
        if self.served {
            let ledger = SqliteLedger::open_read_only(&self.folder.join(LEDGER_FILE))?;
            return Ok(self.run_storage(ledger, &self.folder.join("results"))?.inventory().await?);
        }
        let mut stored = Vec::new();
        for run_id in self.run_ids()? {
            let path = self.folder.join(run_id.as_str());
            let ledger = path.join(RUN_STATE).join(LEDGER_FILE);
            if ledger.is_file() {
                let runs = self
                    .run_storage(SqliteLedger::open_read_only(&ledger)?, &self.folder)?
                    .inventory()
                    .await?;
                stored.extend(runs.into_iter().filter(|run| run.run_id == run_id));
            } else if path.join(RUN_FILE).is_file() {
                stored.push(imported(&path, run_id).await?);
            }
        }
        stored.sort_by(|a, b| (a.created_at_ms, &a.run_id).cmp(&(b.created_at_ms, &b.run_id)));
        Ok(stored)
    }

    /// Whether a coordinator works on a run that has not ended.
    pub(crate) fn is_worked_on(&self, run_id: &RunId) -> bool {
        is_taken(&if self.served {
            self.folder.clone()
        } else {
            self.folder.join(run_id.as_str()).join(RUN_STATE)
        })
    }

    /// Removes a run that has ended. Fails while a coordinator uses the folder.
    pub(crate) async fn remove(&self, run_id: &RunId) -> anyhow::Result<()> {
        if self.served {
            let state = StateFolder::open(&self.folder)?;
            let own = self.run_storage(state.ledger()?, &self.folder.join("results"))?;
            return Ok(own.remove(run_id).await?);
        }
        let path = self.folder.join(run_id.as_str());
        // Locked until the folder is deleted.
        let own = path.join(RUN_STATE);
        let _state = own.is_dir().then(|| StateFolder::open(&own)).transpose()?;
        let folder = Store::local(&path)?;
        let removed = remove_folder(&path, run_id, &folder).await;
        let is_gone = removed.with_context(|| format!("cannot remove {}", path.display()))?;
        anyhow::ensure!(
            is_gone,
            "{} holds what is not of run {run_id}: that is left in place; delete it by hand if it is not needed",
            path.display()
        );
        Ok(())
    }

    fn run_storage(&self, ledger: SqliteLedger, results: &Path) -> anyhow::Result<RunStorage> {
        Ok(RunStorage {
            ledger: Arc::new(ledger),
            store: Store::local(results)?,
            scratch: self.folder.clone(),
        })
    }

    /// The folders whose names are valid run ids.
    fn run_ids(&self) -> anyhow::Result<Vec<RunId>> {
        let failed = || format!("cannot read {}", self.folder.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(REMOVING)
                && let Ok(run_id) = RunId::new(name)
                && entry.path().is_dir()
            {
                found.push(run_id);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A run without a ledger, as its `run.json` describes it.
async fn imported(path: &Path, run_id: RunId) -> anyhow::Result<StoredRun> {
    let folder = Store::local(path)?;
    let described = RunFile::load(&folder).await?;
    let created = described.created_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(StoredRun {
        run_id,
        state: described.state,
        records: described.records,
        created_at_ms: u64::try_from(created.as_millis()).unwrap_or(u64::MAX),
        bytes: size(&folder).await?,
        results: path.display().to_string(),
    })
}
