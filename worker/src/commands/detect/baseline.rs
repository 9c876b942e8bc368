//! Findings that are known: those of an earlier run, as SARIF.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use serde_json::Value;

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
    /// End with 1 only where a finding is at least as serious as this
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    pub(super) fail_on: FailOn,
}

impl FailureArgs {
    /// Whether every finding fails the command.
    pub(super) fn is_default(&self) -> bool {
        self.baseline.is_none() && self.fail_on == FailOn::Warning
    }
}

/// The findings that end the command with 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    #[default]
    Warning,
    /// None: only failures of the command do
    Never,
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
        let text = std::fs::read_to_string(path).with_context(failed)?;
        let log: Value = serde_json::from_str(&text).with_context(failed)?;
        let Some(runs) = log.get("runs").and_then(Value::as_array) else {
            return Err(anyhow::anyhow!("the baseline {} is not a SARIF log", path.display()))
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
