//! What the doctor examines: a run's folder and its ledger entries. Reads only.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::ids::{PartHash, RunId, ShardIndex};
use domain::run::RunState;
use results::run_file::{RUN_FILE, RunFile, RunFileError};
use results::store::{Listed, Store, StoreError};

use crate::ledger::state_folder::{LEDGER_FILE, RUN_STATE, is_taken};
use crate::ledger::{Ledger, LedgerError, RunEntry, ShardEntry, SqliteLedger};

/// Shards that are read from the ledger at once.
const PAGE: usize = 1000;

/// Where a run lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) run_id: RunId,
    /// The folder of its results.
    pub(crate) folder: PathBuf,
    /// The folder of its ledger, if there is one.
    pub(crate) state: Option<PathBuf>,
}

/// Everything that is known of a run.
pub(crate) struct Subject {
    pub(crate) place: Place,
    pub(crate) store: Store,
    /// Whether a coordinator works on it.
    pub(crate) living: bool,
    /// What lies in its folder. Taken before the ledger was read: what the ledger names was there.
    pub(crate) objects: Vec<Listed>,
    /// Files that are still being written, or were when somebody was killed.
    pub(crate) unfinished: Vec<PathBuf>,
    pub(crate) ledger: Option<Result<Told, LedgerError>>,
    pub(crate) run_file: Result<RunFile, RunFileError>,
}

/// What the ledger says.
pub(crate) struct Told {
    pub(crate) entry: Option<RunEntry>,
    pub(crate) shards: Vec<ShardEntry>,
}

/// A part that somebody vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) key: String,
    pub(crate) rows: u64,
    pub(crate) bytes: Option<u64>,
    pub(crate) hash: PartHash,
}

/// The runs at `path`: a run's own folder, a state folder of `serve`, or a folder with runs. `which`: this one alone.
pub(crate) fn places(path: &Path, which: Option<&RunId>) -> anyhow::Result<Vec<Place>> {
    anyhow::ensure!(path.is_dir(), "there is no folder {}", path.display());
    let served = path.join(LEDGER_FILE).is_file();
    if !served && is_run(path) {
        let whole = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let run_id = RunId::new(name)?;
        return Ok(vec![at(run_id, path.to_owned(), own_state(path))]);
    }
    let around = if served { path.join("results") } else { path.to_owned() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&around).with_context(|| format!("cannot read {}", around.display()))? {
        let folder = entry.with_context(|| format!("cannot read {}", around.display()))?.path();
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(run_id) = RunId::new(name) else { continue };
        if which.is_some_and(|which| *which != run_id) || !folder.is_dir() {
            continue;
        }
        if served {
            found.push(at(run_id, folder, Some(path.to_owned())));
        } else if is_run(&folder) {
            let state = own_state(&folder);
            found.push(at(run_id, folder, state));
        }
    }
    found.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    anyhow::ensure!(!found.is_empty(), "there is not a run in {}", path.display());
    Ok(found)
}

fn at(run_id: RunId, folder: PathBuf, state: Option<PathBuf>) -> Place {
    Place { run_id, folder, state }
}

fn own_state(folder: &Path) -> Option<PathBuf> {
    let state = folder.join(RUN_STATE);
    state.is_dir().then_some(state)
}

fn is_run(folder: &Path) -> bool {
    folder.join(RUN_FILE).is_file() || folder.join(RUN_STATE).is_dir()
}

impl Subject {
    /// Reads what there is.
    pub(crate) async fn read(place: Place) -> Result<Self, StoreError> {
        let store = Store::local(&place.folder)?;
        let living = place.state.as_deref().is_some_and(is_taken);
        let objects = store.list().await?;
        let unfinished = unfinished(&place.folder);
        let ledger = match &place.state {
            None => None,
            Some(state) => Some(tell(&state.join(LEDGER_FILE), &place.run_id).await),
        };
        let run_file = RunFile::load(&store).await;
        Ok(Self { place, store, living, objects, unfinished, ledger, run_file })
    }

    /// What the ledger says, where it says something.
    pub(crate) fn told(&self) -> Option<(&RunEntry, &[ShardEntry])> {
        match &self.ledger {
            Some(Ok(Told { entry: Some(entry), shards })) => Some((entry, shards)),
            _ => None,
        }
    }

    /// Where the run stands: the ledger has the first word.
    pub(crate) fn state(&self) -> Option<RunState> {
        let described = self.run_file.as_ref().ok().map(|file| file.state);
        self.told().map(|(entry, _)| entry.state).or(described)
    }

    /// The parts that hold the run's rows: of a finished run those that `run.json` names, of any other those that the
    /// ledger names.
    pub(crate) fn vouched(&self) -> Option<Vec<Vouched>> {
        let described = self.run_file.as_ref().ok().map(|file| {
            let part = |part: &results::run_file::PartEntry| Vouched {
                key: part.name.clone(),
                rows: part.rows,
                bytes: None,
                hash: part.hash,
            };
            file.parts.iter().map(part).collect()
        });
        match self.told() {
            Some((entry, shards)) if entry.state != RunState::Finished => Some(committed(shards)),
            _ => described,
        }
    }
}

/// The parts that the ledger names.
pub(crate) fn committed(shards: &[ShardEntry]) -> Vec<Vouched> {
    let parts = shards.iter().filter_map(|shard| shard.part.as_ref());
    parts
        .map(|part| Vouched {
            key: part.key.clone(),
            rows: part.tally.records,
            bytes: Some(part.bytes),
            hash: part.hash,
        })
        .collect()
}

async fn tell(path: &Path, run_id: &RunId) -> Result<Told, LedgerError> {
    let missing = || LedgerError::Unusable {
        place: path.display().to_string(),
        reason: "the file is not there".to_owned(),
    };
    if !path.is_file() {
        return Err(missing());
    }
    let ledger = SqliteLedger::open_read_only(path)?;
    ledger.check().await?;
    let entry = ledger.run(run_id).await?;
    let mut shards: Vec<ShardEntry> = Vec::new();
    if entry.is_some() {
        loop {
            let next = shards.last().map_or(ShardIndex(0), after);
            let page = ledger.shards(run_id, next, PAGE).await?;
            if page.is_empty() {
                break;
            }
            shards.extend(page);
        }
    }
    Ok(Told { entry, shards })
}

fn after(shard: &ShardEntry) -> ShardIndex {
    ShardIndex(shard.shard.end())
}

/// Files in the making: their names begin with a dot, or lie in a folder whose name does.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [folder.to_owned(), folder.join(results::layout::STAGED)] {
        // A folder that is not there has nothing in it.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name != RUN_STATE {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
