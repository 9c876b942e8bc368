//! Findings that are known: those of an earlier run, as SARIF.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use serde_json::Value;

use super::fail_on::FailOn;
use crate::commands::repository::Repository;
use crate::findings::Located;
use crate::findings::fingerprints::{self, Fingerprints};

/// Most bytes of a log that is read.
const MOST_BYTES: u64 = 256 << 20;

/// Arguments that say which findings fail the command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FailureArgs {
    /// Leave out the findings that an earlier log holds, which `--output sarif` wrote: only new ones are shown and counted
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// End with 1 only where a finding is at least as serious as this [default: warning]
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(super) fail_on: Option<FailOn>,
}

impl FailureArgs {
    /// Whether every finding fails the command.
    pub(super) fn is_default(&self) -> bool {
        self.baseline.is_none() && self.fail_on.is_none_or(|fail_on| fail_on == FailOn::Warning)
    }

    /// The known findings: those that the flag names, else those of the repository.
    pub(super) fn open(&self, repository: &Repository) -> anyhow::Result<Option<Baseline>> {
        if let Some(path) = &self.baseline {
            return Baseline::read(path).map(Some);
        }
        let known = repository.baseline(MOST_BYTES)?;
        known.map(|(name, bytes)| Baseline::parse(&name, &bytes)).transpose()
    }

    /// The findings that end the command with 1.
    pub(super) fn fail_on(&self, repository: &Repository) -> FailOn {
        self.fail_on.or(repository.fail_on()).unwrap_or_default()
    }
}

/// The known findings, and those that came since.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    known: HashSet<String>,
    fingerprints: Fingerprints,
    left_out: u64,
}

impl Baseline {
    /// Reads a log of `worker detect --output sarif`.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot read the baseline {}", path.display());
        let bytes = std::fs::metadata(path).with_context(failed)?.len();
        anyhow::ensure!(
            bytes <= MOST_BYTES,
            "the baseline {} has {bytes} bytes, more than {MOST_BYTES}",
            path.display()
        );
        Self::parse(&path.display().to_string(), &std::fs::read(path).with_context(failed)?)
    }

    fn parse(name: &str, bytes: &[u8]) -> anyhow::Result<Self> {
        let log: Value =
            serde_json::from_slice(bytes).with_context(|| format!("cannot read the baseline {name}"))?;
        let Some(runs) = log.get("runs").and_then(Value::as_array) else {
            return Err(anyhow::anyhow!("the baseline {name} is not a SARIF log"))
                .hint("write one with `worker detect … --output sarif > FILE`");
        };
        let results = runs.iter().filter_map(|run| run.get("results")?.as_array()).flatten();
        let prints =
            results.filter_map(|result| result.get("partialFingerprints")?.get(fingerprints::KEY)?.as_str());
        Ok(Self { known: prints.map(str::to_owned).collect(), ..Self::default() })
    }

    /// The findings that are not known, of those of a file.
    pub(super) fn new_ones(&mut self, found: Vec<Located>) -> Vec<Located> {
        let before = found.len();
        let new: Vec<Located> =
            found.into_iter().filter(|found| !self.known.contains(&self.fingerprints.of(found))).collect();
        self.left_out += (before - new.len()) as u64;
        new
    }

    /// How many findings were known.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}
