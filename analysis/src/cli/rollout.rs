//! Arguments of the commands about risk, orders and the simulated queue.

use std::path::PathBuf;

use clap::Args;

use super::args::{Named, Print};
use crate::risk::{EPSS_URL, KEV_URL};

/// What waits: accepted records of runs, or of published files.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(value_name = "PATH", required_unless_present = "verified")]
    pub(crate) paths: Vec<String>,
    /// Published verdicts instead of runs (JSON list); joined by id to the detections, which must be of the same run
    #[arg(long, value_name = "FILE", conflicts_with = "paths", requires = "detections")]
    pub(crate) verified: Option<PathBuf>,
    /// Published detections (JSON list)
    #[arg(long, value_name = "FILE", requires = "verified")]
    pub(crate) detections: Option<PathBuf>,
    /// Risk by record (JSON, as `risk` writes)
    #[arg(long, value_name = "FILE")]
    pub(crate) risk: Option<PathBuf>,
    /// Terms by policy (JSON, as `policy-metrics --published` writes), with --verified
    #[arg(long, value_name = "FILE", requires = "verified")]
    pub(crate) policy_metrics: Option<PathBuf>,
    /// Least expected time
    #[arg(long, default_value_t = 1e-6, value_name = "X")]
    pub(crate) epsilon: f64,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    #[command(flatten)]
    pub(crate) queue: Queue,
    /// Weight of an hour of waiting
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) alpha: f64,
    /// Weight of what is known to be exploited
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) kev_weight: f64,
    /// Weight of exploring
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) explore_weight: f64,
    /// How many records of highest risk are ranked by `compare`
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) top: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) queue: Queue,
    /// Weights of an hour of waiting
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.5, 1.0, 2.0], value_name = "X,…")]
    pub(crate) alpha: Vec<f64>,
    /// Weights of exploring
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 1.0], value_name = "X,…")]
    pub(crate) explore_weight: Vec<f64>,
    /// Where the bands of risk end, as shares of the ranks
    #[arg(long, value_delimiter = ',', default_values_t = [0.25, 0.75], value_name = "Q,…")]
    pub(crate) quantiles: Vec<f64>,
    /// Hours after which a repair counts as starved
    #[arg(long, default_value_t = 72.0, value_name = "HOURS")]
    pub(crate) starved: f64,
    /// The head of the queue, as a share
    #[arg(long, default_value_t = 0.1, value_name = "Q")]
    pub(crate) head: f64,
}

#[derive(Debug, Args)]
pub(crate) struct Risk {
    /// The detections (JSON list)
    #[arg(value_name = "FILE")]
    pub(crate) detections: PathBuf,
    /// Known exploited vulnerabilities (JSON of CISA)
    #[arg(long, value_name = "FILE")]
    pub(crate) kev: Option<PathBuf>,
    /// Exploit prediction scores (CSV of FIRST)
    #[arg(long, value_name = "FILE")]
    pub(crate) epss: Option<PathBuf>,
    /// Folder of the feeds: kev.json and epss.csv.gz in it are used where --kev and --epss name no others
    #[arg(long, value_name = "DIR")]
    pub(crate) feeds: Option<PathBuf>,
    /// First refresh the feeds in that folder from their makers; without it the network is not asked for anything
    #[arg(long, requires = "feeds")]
    pub(crate) fetch: bool,
    /// Where known exploited vulnerabilities are fetched from
    #[arg(long, value_name = "URL", default_value = KEV_URL)]
    pub(crate) kev_url: String,
    /// Where exploit prediction scores are fetched from
    #[arg(long, value_name = "URL", default_value = EPSS_URL)]
    pub(crate) epss_url: String,
    /// Vulnerabilities of an image (JSON of Trivy or Grype)
    #[arg(long, value_name = "IMAGE=FILE")]
    pub(crate) scan: Vec<Named>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Servers
    #[arg(long, value_delimiter = ',', default_values_t = [1], value_name = "K,…")]
    pub(crate) servers: Vec<usize>,
    /// Offered loads: the rate of arrivals over what the servers can do; 0: everything waits from the start
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.9, 1.2], value_name = "X,…")]
    pub(crate) load: Vec<f64>,
    /// Weights of a mean service time of waiting
    #[arg(long, value_delimiter = ',', default_values_t = [0.0], value_name = "X,…")]
    pub(crate) alpha: Vec<f64>,
    /// Tries of a repair at most
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) attempts: u32,
    /// Jobs of one repetition; all records when not given
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Repetitions, each with its own seed
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) repetitions: u32,
    /// Mean service times after which a waiting job counts as starved
    #[arg(long, default_value_t = 1000.0, value_name = "X")]
    pub(crate) starved: f64,
    #[command(flatten)]
    pub(crate) print: Print,
}
