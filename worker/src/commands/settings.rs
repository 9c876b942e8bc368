//! Configuration of the commands: defaults < file < environment < flags.

use std::path::PathBuf;

use anyhow::Context;
use cli_support::{env, settings};
use domain::config::RunConfig;

/// Maps whose keys are chosen by the user.
const OPEN_MAPS: &[&str] = &["rules.images"];

/// Arguments that set configuration keys.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file (YAML); its keys are those of a run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, e.g. `--set rules.default_tag=stable`; beats file and environment
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Resolves the layers and validates the result.
    pub(crate) fn load(&self) -> anyhow::Result<RunConfig> {
        let defaults = serde_json::to_value(RunConfig::default())?;
        let file = match &self.config {
            Some(path) => Some((path.display().to_string(), settings::read_yaml(path)?)),
            None => None,
        };
        let file = file.as_ref().map(|(path, value)| (path.as_str(), value.clone()));
        let resolved = settings::resolve(&defaults, OPEN_MAPS, file, env::settings(), &self.set)?;
        let config: RunConfig =
            serde_json::from_value(resolved.value).context("the settings are not a valid configuration")?;
        config.check()?;
        Ok(config)
    }
}
