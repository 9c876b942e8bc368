//! Arguments of the commands that compute the figures of the paper.

use std::path::PathBuf;

use clap::Args;

use super::args::{Named, Print};

#[derive(Debug, Args)]
pub(crate) struct Paper {
    /// The folder of the paper's files and their inputs
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: PathBuf,
    /// Folder of the larger runs (rules_full, supported, grok_5k_dev) [default: the folder above the paper's files]
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
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
    /// Risk and expected time by policy (JSON, as `policy-metrics --published` writes) [default: computed from the
    /// runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy_metrics: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct CrossVersion {
    /// The runs, each of one server [default of a name: the server's version]
    #[arg(required = true, value_name = "[NAME=]RUN")]
    pub(crate) runs: Vec<String>,
    /// The paper's table instead: the risk that each run closes
    #[arg(long)]
    pub(crate) risk: bool,
    /// Risk and expected time by policy (JSON, as `policy-metrics --published` writes) [default: computed from the
    /// runs]
    #[arg(long, value_name = "FILE", requires = "risk")]
    pub(crate) policy_metrics: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) print: Print,
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
    /// As in the paper: raw ids, which match no weight, and rejected records count as closed
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
