//! Arguments of the commands that compute figures of runs and of small files.

use std::path::PathBuf;
use std::str::FromStr;

use analysis::render::Form;
use clap::Args;

use super::Input;

/// Runs, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct Print {
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Form,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 1337, value_name = "N")]
    pub(crate) seed: u64,
}

/// `NAME=PLACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) place: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, place)) if !name.is_empty() && !place.is_empty() => {
                Ok(Self { name: name.to_owned(), place: place.to_owned() })
            }
            _ => Err("not of the form NAME=PLACE".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// US dollars for a million tokens of prompts
    #[arg(long, value_name = "USD", requires = "price_completion")]
    pub(crate) price_prompt: Option<f64>,
    /// US dollars for a million tokens of answers
    #[arg(long, value_name = "USD", requires = "price_prompt")]
    pub(crate) price_completion: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct Ablation {
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Gates whose verdicts are ignored, as name:gate,gate of policy, safety, kubectl, rescan; by default all, and
    /// each gate left out
    #[arg(long, value_name = "NAME:GATES")]
    pub(crate) scenario: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DetectorEval {
    /// The detections (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) detections: PathBuf,
    /// The labels (JSON object: manifest path → policies)
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Significance {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(value_name = "PATH", required_unless_present = "counts")]
    pub(crate) paths: Vec<String>,
    /// Counts instead of runs: CSV with corpus, accepted, total
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    pub(crate) counts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct MultiSeed {
    /// Acceptance by corpus and seed (JSON)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Calibration {
    /// The runs, by name
    #[arg(required = true, value_name = "NAME=RUN")]
    pub(crate) runs: Vec<Named>,
    /// Risk and expected time by policy (JSON, as `policy-metrics --published` writes); of the runs when not given
    #[arg(long, value_name = "FILE")]
    pub(crate) policy_metrics: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct CrossVersion {
    #[command(flatten)]
    pub(crate) calibration: Calibration,
}

#[derive(Debug, Args)]
pub(crate) struct Throughput {
    /// The detections (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) detections: PathBuf,
    /// The verdicts (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) verified: PathBuf,
    /// Risk by record (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) risk: PathBuf,
    /// As published: raw ids, which no weight matches, and rejected records count as closed
    #[arg(long)]
    pub(crate) published: bool,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Baselines {
    /// Our detections (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) detections: PathBuf,
    /// Our verdicts (JSON list)
    #[arg(long, value_name = "FILE")]
    pub(crate) verified: PathBuf,
    /// A baseline's CSV: kyverno, polaris_cli, polaris_webhook, map or llmsec
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) baseline: Vec<Named>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Fairness {
    /// The assignments (JSON list)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Hours after which an item counts as starved
    #[arg(long, default_value_t = 24.0, value_name = "HOURS")]
    pub(crate) starved: f64,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeReport {
    /// What `coordinator probe` wrote (JSON)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}
