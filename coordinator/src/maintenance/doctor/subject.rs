//! Input of the doctor: a run's folder and its ledger entries. Read-only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use domain::ids::{PartHash, RunFileHash, RunId, ShardIndex};
use domain::run::RunState;
use results::layout::{MARK_FILE, RUN_FILE};
use results::run_file::{RunFile, RunFileError};
use results::store::{Listed, Store, StoreError};

use crate::database::Trouble;
use crate::database::postgres::ownership::owner;
use crate::database::postgres::{Engine, EngineFacts, EngineRecord};
use crate::ledger::state_folder::{ENGINE_FILE, LEDGER_FILE, RUN_STATE, is_taken};
use crate::ledger::{Ledger, LedgerError, PostgresLedger, RunEntry, ShardEntry, SqliteLedger};
use crate::maintenance::run_dirs::INTERRUPTED;

/// Shards in a page of the ledger.
const PAGE: usize = 1000;

/// Location of a run.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) run_id: RunId,
    /// The folder of its results.
    pub(crate) folder: PathBuf,
    /// The folder of its ledger, if there is one.
    pub(crate) state: Option<PathBuf>,
    /// The server that holds the ledger instead.
    pub(crate) engine: Option<Arc<Engine>>,
}

/// What the server of the ledger says of itself, and what was seen of it before.
#[derive(Debug)]
pub(crate) struct ExaminedEngine {
    pub(crate) facts: Result<EngineFacts, Trouble>,
    pub(crate) seen: Option<EngineRecord>,
}

/// State of a run on disk.
pub(crate) struct Subject {
    pub(crate) place: Place,
    pub(crate) store: Store,
    /// Whether a coordinator is working on it.
    pub(crate) active: bool,
    /// Objects in its folder, listed before the ledger was read, so that every part in the ledger is among them.
    pub(crate) objects: Vec<Listed>,
    /// Files that are being written, or that a killed process left.
    pub(crate) unfinished: Vec<PathBuf>,
    pub(crate) engine: Option<ExaminedEngine>,
    pub(crate) ledger: Option<Result<Recorded, LedgerError>>,
    pub(crate) run_file: Result<RunFile, RunFileError>,
    /// Hash of the bytes of `run.json`.
    pub(crate) run_file_hash: Option<RunFileHash>,
}

/// Content of the ledger about a run.
pub(crate) struct Recorded {
    pub(crate) entry: Option<RunEntry>,
    pub(crate) shards: Vec<ShardEntry>,
}

/// A part that ledger or `run.json` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpectedPart {
    pub(crate) key: String,
    pub(crate) rows: u64,
    pub(crate) bytes: Option<u64>,
    pub(crate) hash: PartHash,
}

/// The runs at `path`: a run's own folder, a state folder of `serve` with its `results`, or a folder with runs. `which`: this one
/// alone. `engine`: the server that holds the ledger of this state folder.
pub(crate) fn places(
    path: &Path,
    results: &Path,
    which: Option<&RunId>,
    engine: Option<&Arc<Engine>>,
) -> anyhow::Result<Vec<Place>> {
    anyhow::ensure!(path.is_dir(), "{} is not a folder", path.display());
    anyhow::ensure!(
        engine.is_some() || !path.join(ENGINE_FILE).is_file(),
        "the ledger of {} is in a PostgreSQL server: name it with --ledger or --ledger-file",
        path.display()
    );
    let served = engine.is_some() || path.join(LEDGER_FILE).is_file();
    if !served && is_run(path) {
        let whole = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let run_id = RunId::new(name)?;
        return Ok(vec![at(run_id, path.to_owned(), own_state(path))]);
    }
    let around = if served { results } else { path };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(around).with_context(|| format!("cannot read {}", around.display()))? {
        let folder = entry.with_context(|| format!("cannot read {}", around.display()))?.path();
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(run_id) = RunId::new(name) else { continue };
        if which.is_some_and(|which| *which != run_id) || !folder.is_dir() {
            continue;
        }
        if served {
            let state = Some(path.to_owned());
            found.push(Place { run_id, folder, state, engine: engine.cloned() });
        } else if is_run(&folder) {
            let state = own_state(&folder);
            found.push(at(run_id, folder, state));
        }
    }
    found.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    anyhow::ensure!(
        !found.is_empty(),
        "{} contains no runs: give the folder of a run, or of runs",
        path.display()
    );
    Ok(found)
}

fn at(run_id: RunId, folder: PathBuf, state: Option<PathBuf>) -> Place {
    Place { run_id, folder, state, engine: None }
}

fn own_state(folder: &Path) -> Option<PathBuf> {
    let state = folder.join(RUN_STATE);
    state.is_dir().then_some(state)
}

fn is_run(folder: &Path) -> bool {
    folder.join(RUN_FILE).is_file() || folder.join(RUN_STATE).is_dir()
}

impl Subject {
    /// Reads a run.
    pub(crate) async fn read(place: Place) -> Result<Self, StoreError> {
        let store = Store::local(&place.folder)?;
        let active = place.state.as_deref().is_some_and(is_taken) || has_owner(&place).await;
        let objects = store.list().await?;
        let unfinished = unfinished(&place.folder);
        let engine = match (&place.engine, &place.state) {
            (Some(engine), Some(state)) => Some(ExaminedEngine {
                facts: engine.facts().await,
                seen: EngineRecord::load(&state.join(ENGINE_FILE)).unwrap_or_default(),
            }),
            _ => None,
        };
        let ledger = match (&place.engine, &place.state) {
            (Some(engine), _) => Some(read_engine(engine, &place.run_id).await),
            (None, None) => None,
            (None, Some(state)) => Some(read_ledger(&state.join(LEDGER_FILE), &place.run_id).await),
        };
        let run_file = RunFile::load(&store).await;
        let run_file_hash = store.get(RUN_FILE).await.ok().map(|bytes| RunFileHash::of(&bytes));
        Ok(Self { place, store, active, objects, unfinished, engine, ledger, run_file, run_file_hash })
    }

    /// The run's entries in the ledger, where there are any.
    pub(crate) fn recorded(&self) -> Option<(&RunEntry, &[ShardEntry])> {
        match &self.ledger {
            Some(Ok(Recorded { entry: Some(entry), shards })) => Some((entry, shards)),
            _ => None,
        }
    }

    /// State of the run by the ledger, otherwise by `run.json`.
    pub(crate) fn state(&self) -> Option<RunState> {
        let described = self.run_file.as_ref().ok().map(|file| file.state);
        self.recorded().map(|(entry, _)| entry.state).or(described)
    }

    /// The state in a word: of a run that has not ended and that no coordinator works on, that it is interrupted.
    pub(crate) fn state_word(&self) -> &'static str {
        match self.state() {
            None => "unknown",
            Some(state) if !state.has_ended() && !self.active => INTERRUPTED,
            Some(state) => state.as_str(),
        }
    }

    /// The parts that hold the run's rows: those in `run.json` for a finished run, otherwise those in the ledger.
    pub(crate) fn expected_parts(&self) -> Option<Vec<ExpectedPart>> {
        let described = self.run_file.as_ref().ok().map(|file| {
            let part = |part: &results::run_file::PartEntry| ExpectedPart {
                key: part.name.clone(),
                rows: part.rows,
                bytes: None,
                hash: part.hash,
            };
            file.parts.iter().map(part).collect()
        });
        match self.recorded() {
            Some((entry, shards)) if entry.state != RunState::Finished => Some(committed(shards)),
            _ => described,
        }
    }
}

/// The committed parts in the ledger.
pub(crate) fn committed(shards: &[ShardEntry]) -> Vec<ExpectedPart> {
    let parts = shards.iter().filter_map(|shard| shard.part.as_ref());
    parts
        .map(|part| ExpectedPart {
            key: part.key.clone(),
            rows: part.tally.records,
            bytes: Some(part.bytes),
            hash: part.hash,
        })
        .collect()
}

async fn read_ledger(path: &Path, run_id: &RunId) -> Result<Recorded, LedgerError> {
    let missing = || LedgerError::Unusable {
        place: path.display().to_string(),
        reason: "the file is missing".to_owned(),
    };
    if !path.is_file() {
        return Err(missing());
    }
    let ledger = SqliteLedger::open_read_only(path)?;
    ledger.check().await?;
    recorded(&ledger, run_id).await
}

/// Whether any coordinator serves the runs of the server.
async fn has_owner(place: &Place) -> bool {
    let Some(engine) = &place.engine else { return false };
    // An engine that does not answer is reported by its facts.
    matches!(owner(engine).await, Ok(Some(_)))
}

async fn read_engine(engine: &Arc<Engine>, run_id: &RunId) -> Result<Recorded, LedgerError> {
    let ledger = PostgresLedger::open_read_only(Arc::clone(engine)).await?;
    recorded(&ledger, run_id).await
}

async fn recorded(ledger: &dyn Ledger, run_id: &RunId) -> Result<Recorded, LedgerError> {
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
    Ok(Recorded { entry, shards })
}

fn after(shard: &ShardEntry) -> ShardIndex {
    ShardIndex(shard.shard.end())
}

/// Unfinished files: their names, or that of their folder, begin with a dot.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [folder.to_owned(), folder.join(results::layout::STAGED)] {
        // A missing folder has no files.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name != RUN_STATE && name != MARK_FILE {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
