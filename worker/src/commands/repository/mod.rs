//! The settings of a repository: `.k8s-auto-fix.yaml`, which `worker detect` and `worker fix` find by themselves.
//!
//! *Never* starts a program, reaches the network or reads a file outside of its folder: its keys are those of [`file`], which
//! narrow what is looked for, leave out findings with a reason, and say which repairs are made. Flags win over it.

mod file;
mod find;
mod suppressions;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli_support::output;
use corpus::Inputs;
use domain::config::RunConfig;
use domain::policy::PolicyId;
use results::root::Root;

use self::file::Contents;
use self::find::NAME;
pub(super) use self::suppressions::Suppressions;
use super::catalogue::CatalogueArgs;
use super::settings::Settings;

/// Arguments about the settings of the repository.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RepositoryArgs {
    /// Settings of the repository, as `.k8s-auto-fix.yaml` has them; flags win over them [default: the nearest
    /// .k8s-auto-fix.yaml, from the first PATH up to the folder that has .git]
    #[arg(long, value_name = "FILE", conflicts_with = "no_repository_config")]
    repository_config: Option<PathBuf>,
    /// Do without settings of the repository
    #[arg(long)]
    no_repository_config: bool,
}

/// The settings of a repository.
#[derive(Debug, Default)]
pub(super) struct Repository {
    contents: Contents,
    /// The folder of the file, without links; `None`: there is no file.
    folder: Option<PathBuf>,
    pub(super) suppressions: Suppressions,
}

impl RepositoryArgs {
    /// Reads the settings, if there are any; says where they are. `paths`: what the command works on.
    pub(super) fn load(&self, paths: &[String]) -> anyhow::Result<Repository> {
        let found = match &self.repository_config {
            _ if self.no_repository_config => None,
            Some(named) => Some(named.clone()),
            None => find::nearest(paths.first().map_or("-", String::as_str)),
        };
        let Some(path) = found else { return Ok(Repository::default()) };
        let repository = Repository::read(&path, paths)?;
        // What is suppressed is said and counted by itself.
        if repository.contents.changes_the_command() {
            output::say(&format!("settings of the repository: {}", path.display()));
        } else {
            tracing::info!(path = %path.display(), "settings of the repository");
        }
        Ok(repository)
    }
}

impl Repository {
    fn read(path: &Path, paths: &[String]) -> anyhow::Result<Self> {
        let failed = || format!("cannot read the settings of the repository {}", path.display());
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = parent.canonicalize().with_context(failed)?;
        let name = Path::new(path.file_name().with_context(failed)?);
        let bytes =
            Root::open(&folder).with_context(failed)?.read(name, file::MOST_BYTES).with_context(failed)?;
        let text = String::from_utf8(bytes).with_context(failed)?;
        let mut contents = file::parse(&path.display().to_string(), &text)?;
        let rules = std::mem::take(&mut contents.suppressions);
        let is_folder = |path: &String| Path::new(path).canonicalize().is_ok_and(|path| path == folder);
        let is_whole = paths.iter().any(is_folder);
        let suppressions = Suppressions::new(rules, folder.clone(), &name.display().to_string(), is_whole);
        Ok(Self { contents, folder: Some(folder), suppressions })
    }

    /// The configuration with the policies that are named: by flags, else by what the user has set, else by the repository.
    pub(super) fn applied(
        &self,
        config: RunConfig,
        wanted: CatalogueArgs,
        settings: &Settings,
    ) -> anyhow::Result<RunConfig> {
        let Contents { catalogue, profile, .. } = &self.contents;
        let mut config = config;
        let is_named = catalogue.is_some() || profile.is_some();
        if is_named && !settings.set_any(&["detector.catalogue", "detector.profile"])? {
            config.detector.profile = profile.as_ref().map(|profile| profile.0);
            if let Some(catalogue) = catalogue {
                config.detector.catalogue = catalogue.0;
            }
        }
        Ok(wanted.applied(config))
    }

    /// The policies that the user named, else those of the repository; empty: all that are configured.
    pub(super) fn policies(&self, named: &[PolicyId]) -> Vec<PolicyId> {
        if named.is_empty() {
            self.contents.policies.iter().map(|policy| policy.0).collect()
        } else {
            named.to_vec()
        }
    }

    /// The inputs without the files that the repository leaves out.
    pub(super) fn excluding(&self, inputs: Inputs) -> Inputs {
        let Some(folder) = &self.folder else { return inputs };
        let patterns = self.contents.exclude.iter().map(|pattern| pattern.0.clone()).collect();
        inputs.excluding_below(folder.clone(), patterns)
    }

    /// The bytes of the file with known findings, of at most `limit` bytes, with its name; it lies below the folder of the
    /// settings.
    pub(super) fn baseline(&self, limit: u64) -> anyhow::Result<Option<(String, Vec<u8>)>> {
        let (Some(path), Some(folder)) = (&self.contents.baseline, &self.folder) else { return Ok(None) };
        let failed = || format!("cannot read the baseline {} of {NAME}", path.display());
        let bytes = Root::open(folder).with_context(failed)?.read(path, limit).with_context(failed)?;
        Ok(Some((path.display().to_string(), bytes)))
    }

    /// From which severity on a finding fails the command, as a word; `None`: the repository does not say.
    pub(super) fn fail_on(&self) -> Option<super::detect::FailOn> {
        self.contents.fail_on.as_ref().map(|fail_on| fail_on.0)
    }

    /// The repairs that are made: those that flags allow, else those that the repository does.
    pub(super) fn allowed(&self, named: &super::fix::allowed::Allowed) -> super::fix::allowed::Allowed {
        let allow = self.contents.allow.iter().map(|caution| caution.0).collect();
        named.or(self.contents.is_unsafe, allow)
    }
}
