//! Configuration of the commands: defaults < file < environment < flags.

use std::path::PathBuf;

use anyhow::Context;
use cli_support::settings::Resolved;
use cli_support::{env, settings};
use domain::config::{DetectorConfig, RunConfig};
use llm::providers::Providers;
use llm::settings::{Settings as Told, is_of_machine};

/// Maps whose keys are chosen by the user.
const OPEN_MAPS: &[&str] = &["rules.images"];

/// Arguments that set configuration keys.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file (YAML); see configs/run.yaml for every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, e.g. `--set rules.default_tag=stable`; beats file and environment
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The checked configuration of a run.
    pub(crate) fn load(&self) -> anyhow::Result<RunConfig> {
        let told = self.resolve()?.1;
        told.run.check()?;
        Ok(told.run)
    }

    /// The checked configuration of a run, and the scanners of this machine.
    pub(crate) fn with_detector(&self) -> anyhow::Result<(RunConfig, DetectorConfig)> {
        let told = self.resolve()?.1;
        told.run.check()?;
        told.detector.check()?;
        Ok((told.run, told.detector))
    }

    /// The checked providers and scanners of this machine, and what to say about keys of runs, which are not used: they come
    /// with each run. `None`: none were set.
    pub(crate) fn of_machine(&self) -> anyhow::Result<(Providers, DetectorConfig, Option<String>)> {
        let (resolved, told) = self.resolve()?;
        told.providers.check().context("the settings of the providers are not valid")?;
        told.detector.check()?;
        let unused = resolved.set_keys(|key| !is_of_machine(key));
        let unused = unused.map(|keys| {
            format!("not used: {keys}. These keys come with each run (`coordinator submit --config`)")
        });
        Ok((told.providers, told.detector, unused))
    }

    /// Resolves the layers, and tells the keys of runs and of this machine apart.
    fn resolve(&self) -> anyhow::Result<(Resolved, Told)> {
        let defaults = llm::settings::defaults()?;
        let file = match &self.config {
            Some(path) => Some((path.display().to_string(), settings::read_yaml(path)?)),
            None => None,
        };
        let file = file.as_ref().map(|(path, value)| (path.as_str(), value.clone()));
        let mut resolved = settings::resolve(&defaults, OPEN_MAPS, file, env::settings(), &self.set)?;
        if let Some(taken) = llm::price::taken(&resolved.value)? {
            resolved.fill(&taken.key, taken.price, &taken.source);
        }
        let told =
            Told::from_tree(resolved.value.clone()).context("the settings are not a valid configuration")?;
        Ok((resolved, told))
    }
}
