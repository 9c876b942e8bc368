//! Examines a run at rest: compares ledger, results and corpus. Read-only; [`repair`] deletes unreferenced files.
//!
//! *Invariant*: a state that a step in progress can explain is not reported as a failure of an active run.

mod checks;
mod report;
mod subject;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use domain::ids::RunId;

pub(crate) use report::Report;
pub(crate) use subject::{Place, places};

use crate::database::postgres::{Engine, EngineAddress, Trust};
use crate::ledger::state_folder::StateFolder;
use subject::Subject;

/// Examines one run.
pub(crate) async fn examine(place: Place) -> anyhow::Result<Report> {
    let subject = Subject::read(place).await?;
    let mut checks = vec![];
    checks.extend(checks::engine(&subject));
    checks.extend([
        checks::ledger(&subject),
        checks::run_file(&subject),
        checks::plan(&subject),
        checks::corpus(&subject).await,
    ]);
    checks.extend(checks::parts(&subject).await);
    checks.push(checks::orphans(&subject));
    Ok(Report {
        run: subject.place.run_id.to_string(),
        place: subject.place.folder.display().to_string(),
        state: subject.state_word().to_owned(),
        checks,
    })
}

/// Deletes unreferenced files: parts of lost leases, unfinished files of a killed process. Returns what was deleted.
pub(crate) async fn repair(place: &Place) -> anyhow::Result<Vec<String>> {
    // Locked until the end: a coordinator might be about to commit one of these files.
    let _state = place.state.as_deref().map(StateFolder::open).transpose()?;
    let subject = Subject::read(place.clone()).await?;
    let mut deleted = Vec::new();
    for key in checks::unreferenced(&subject) {
        subject.store.delete(&key).await?;
        deleted.push(key);
    }
    for path in &subject.unfinished {
        remove(path).with_context(|| format!("cannot delete {}", path.display()))?;
        deleted.push(path.display().to_string());
    }
    Ok(deleted)
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Folder of the results in a state folder of `serve`.
const RESULTS: &str = "results";

/// The server of the ledger, to be read: whether it may forget is a check, and does not keep it from being read.
pub(crate) fn engine(address: Option<EngineAddress>) -> Option<Arc<Engine>> {
    address.map(|address| Arc::new(Engine::new(address, Trust::in_memory(true))))
}

/// The runs at the path `target`, or the run of the name `target` in the folder `around`. `engine`: the server that holds the
/// ledger of the state folder `target`; its results are in that folder, or in `around`, which its coordinators share.
pub(crate) fn find(target: &str, around: &Path, engine: Option<&Arc<Engine>>) -> anyhow::Result<Vec<Place>> {
    let path = Path::new(target);
    if path.is_dir() {
        let own = path.join(RESULTS);
        let results = if engine.is_some() && !own.is_dir() { around.to_owned() } else { own };
        let found = places(path, &results, None, engine);
        return if engine.is_some() {
            found.hint("name the folder of the results with --out")
        } else {
            found
        };
    }
    anyhow::ensure!(
        engine.is_none(),
        "{target} is not a folder: with --ledger, name the state folder of `serve`"
    );
    // What cannot be a run's name was meant as a path.
    let Ok(run_id) = target.parse::<RunId>() else { anyhow::bail!("there is no folder {target}") };
    places(around, &around.join(RESULTS), Some(&run_id), None)
        .with_context(|| format!("{target} is neither a folder nor a run in {}", around.display()))
}
