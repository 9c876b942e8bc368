//! The programs that this machine's settings name.

use std::sync::Arc;

use anyhow::Context as _;
use domain::config::RunConfig;
use llm::settings::Settings;
use proposers::Programs;
pub use proposers::Proposers;
use serde_json::Value;

/// Opens every program of the settings: a worker of a fleet offers all that it has.
///
/// # Errors
/// One is not there, is not of its version, or its settings are not valid.
pub fn open(settings: &Settings) -> anyhow::Result<Arc<Proposers>> {
    opened(checked(settings)?)
}

/// Opens the program that proposes for a run; none where a model or the rules do.
///
/// # Errors
/// It is not there, is not of its version, or its settings are not valid.
pub fn open_for(settings: &Settings, run: &RunConfig) -> anyhow::Result<Arc<Proposers>> {
    let programs = checked(settings)?;
    let Some(name) = run.program() else { return Ok(Arc::default()) };
    let config = programs.get(name)?.clone();
    opened(Programs([(name.to_owned(), config)].into()))
}

/// The programs of the settings, checked without a look at this machine.
pub(crate) fn checked(settings: &Settings) -> anyhow::Result<Programs> {
    let programs = Programs::from_value(Value::Object(settings.programs.clone()))
        .and_then(|programs| programs.check(&settings.providers.key_variables()).map(|()| programs));
    programs.context("the settings of the programs are not valid")
}

fn opened(programs: Programs) -> anyhow::Result<Arc<Proposers>> {
    Proposers::open(programs, None).context("a program cannot be started")
}
