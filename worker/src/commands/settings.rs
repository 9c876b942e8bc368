//! Configuration of the commands: defaults < file < environment < flags.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use cli_support::settings::Resolved;
use cli_support::{env, settings};
use domain::config::{RunConfig, ScannersConfig};
use llm::providers::Providers;
use llm::settings::{OPEN_MAPS, Settings as Told, is_of_machine};

use crate::programs::{self, Proposers};

/// What a worker of a fleet has by its own settings.
pub(crate) struct Machine {
    pub(crate) providers: Providers,
    pub(crate) programs: Arc<Proposers>,
    pub(crate) scanners: ScannersConfig,
    /// What to say about keys of runs, which are not used: they come with each run. `None`: none were set.
    pub(crate) unused: Option<String>,
}

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
    pub(crate) fn with_scanners(&self) -> anyhow::Result<(RunConfig, ScannersConfig)> {
        let told = self.resolve()?.1;
        told.run.check()?;
        told.scanners.check()?;
        Ok((told.run, told.scanners))
    }

    /// Whether the file, the environment or a flag sets one of these keys.
    pub(crate) fn set_any(&self, keys: &[&str]) -> anyhow::Result<bool> {
        Ok(self.resolve()?.0.set_keys(|key| keys.contains(&key)).is_some())
    }

    /// The checked settings of this machine.
    pub(crate) fn machine(&self) -> anyhow::Result<Machine> {
        let (resolved, told) = self.resolve()?;
        told.providers.check().context("the settings of the providers are not valid")?;
        told.scanners.check()?;
        let programs = programs::open(&told)?;
        let unused = resolved.set_keys(|key| !is_of_machine(key));
        let unused = unused.map(|keys| {
            format!("not used: {keys}. These keys come with each run (`coordinator submit --config`)")
        });
        Ok(Machine { providers: told.providers, programs, scanners: told.scanners, unused })
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
        if let Some(taken) = llm::price::List::of(&resolved.value)?.taken(&resolved.value) {
            resolved.fill(&taken.key, taken.price, &taken.source);
        }
        let told = resolved.read(&defaults, Told::from_tree);
        let told = told.map_err(anyhow::Error::msg).context("the settings are not a valid configuration")?;
        Ok((resolved, told))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_shipped_baselines_are_valid_and_name_files_that_are_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(root.join("configs/baselines")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let settings = Settings { config: Some(path.clone()), set: Vec::new() };
            let told = settings.resolve().unwrap().1;
            told.run.check().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let programs = programs::checked(&told).unwrap();
            let program = programs.get(told.run.program().unwrap()).unwrap();
            for policy in &program.policies {
                assert!(domain::policy::PolicyId::find(policy).is_some(), "{policy}");
                for files in &program.files {
                    let files = root.join(files);
                    let one = files.join(format!("{policy}.yaml"));
                    let other = files.join(policy).join("kustomization.yaml");
                    assert!(one.is_file() || other.is_file(), "{}", one.display());
                }
            }
            names.push(told.run.program().unwrap().to_owned());
        }
        names.sort();
        assert_eq!(names, ["kubescape-fix", "kustomize", "kyverno-mutate", "polaris-fix"]);
    }
}
