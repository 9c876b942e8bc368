//! Arguments of the commands about risk, orders and the simulated queue.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::args::{Named, Print};
use crate::risk::{EPSS_URL, KEV_URL};

/// The accepted records of runs, or of the paper's files.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(value_name = "PATH", required_unless_present = "verified")]
    pub(crate) paths: Vec<String>,
    /// Verdicts in the paper's format instead of runs (JSON list); joined by id to the detections, which must be of the
    /// same run
    #[arg(long, value_name = "FILE", conflicts_with = "paths", requires = "detections")]
    pub(crate) verified: Option<PathBuf>,
    /// Detections in the paper's format (JSON list)
    #[arg(long, value_name = "FILE", requires = "verified")]
    pub(crate) detections: Option<PathBuf>,
    /// Risk by record (JSON, as `risk` writes)
    #[arg(long, value_name = "FILE")]
    pub(crate) risk: Option<PathBuf>,
    /// Terms by policy (JSON, as `policy-metrics --published` writes), with --verified
    #[arg(long, value_name = "FILE", requires = "verified")]
    pub(crate) policy_metrics: Option<PathBuf>,
    /// Times of a rollout (YAML or JSON) with the keys default, kinds, per_replica (for each replica after the first) and
    /// policies, which go before kinds; durations such as 90s or 10m [default: 10 minutes each, as in the paper]
    #[arg(long, value_name = "FILE", conflicts_with = "verified")]
    pub(crate) rollout: Option<PathBuf>,
    /// Minimum expected time, in minutes
    #[arg(long, default_value_t = 1e-6, value_name = "X")]
    pub(crate) epsilon: f64,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// Which part of a long table is printed.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// Page of the table, of 20 rows each; CSV and JSON have all rows
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "all")]
    pub(crate) page: usize,
    /// Print all rows
    #[arg(long)]
    pub(crate) all: bool,
}

/// A queue and the weights of its order.
#[derive(Debug, Args)]
pub(crate) struct Weighted {
    #[command(flatten)]
    pub(crate) queue: Queue,
    /// Weight of an hour of waiting
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) alpha: f64,
    /// Weight of known exploited vulnerabilities
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) kev_weight: f64,
    /// Weight of exploration
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    pub(crate) explore_weight: f64,
}

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    #[command(flatten)]
    pub(crate) weighted: Weighted,
    #[command(flatten)]
    pub(crate) page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    pub(crate) weighted: Weighted,
    /// Number of records of highest risk that are ranked
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
    /// Weights of exploration
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 1.0], value_name = "X,…")]
    pub(crate) explore_weight: Vec<f64>,
    /// Upper ends of the bands of risk, as shares of the ranks
    #[arg(long, value_delimiter = ',', default_values_t = [0.25, 0.75], value_name = "Q,…")]
    pub(crate) quantiles: Vec<f64>,
    /// Hours after which a repair counts as starved
    #[arg(long, default_value_t = 72.0, value_name = "HOURS")]
    pub(crate) starved: f64,
    /// The head of the queue, as a share
    #[arg(long, default_value_t = 0.1, value_name = "Q")]
    pub(crate) head: f64,
    #[command(flatten)]
    pub(crate) page: Page,
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
    /// First download the feeds into that folder; without it the network is not used
    #[arg(long, requires = "feeds")]
    pub(crate) fetch: bool,
    /// Source of the known exploited vulnerabilities
    #[arg(long, value_name = "URL", default_value = KEV_URL)]
    pub(crate) kev_url: String,
    /// Source of the exploit prediction scores
    #[arg(long, value_name = "URL", default_value = EPSS_URL)]
    pub(crate) epss_url: String,
    /// Vulnerabilities of an image (JSON of Trivy or Grype)
    #[arg(long, value_name = "IMAGE=FILE")]
    pub(crate) scan: Vec<Named>,
    #[command(flatten)]
    pub(crate) print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Packet {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Output folder: a new one, or that of an earlier packet, whose files are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Documents in the packet, at most; those that would be rolled out last are left out
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) most: usize,
    /// Length of a change window, e.g. 90m
    #[arg(long, default_value = "4h", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,
    /// The branch that the plan begins from
    #[arg(long, default_value = "main", value_name = "BRANCH")]
    pub(crate) base: String,
    /// Risk by record (JSON, as `risk` writes)
    #[arg(long, value_name = "FILE")]
    pub(crate) risk: Option<PathBuf>,
    /// Times of a rollout (YAML or JSON, see `schedule`) [default: 10 minutes each]
    #[arg(long, value_name = "FILE")]
    pub(crate) rollout: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Run folders, Parquet files, globs or file:// URLs
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Times of a rollout (YAML or JSON, see `schedule`) [default: 10 minutes each]
    #[arg(long, value_name = "FILE")]
    pub(crate) rollout: Option<PathBuf>,
    /// Numbers of servers
    #[arg(long, value_delimiter = ',', default_values_t = [1], value_name = "K,…")]
    pub(crate) servers: Vec<usize>,
    /// Offered loads: arrival rate over service rate; 0: all jobs arrive at the start
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.9, 1.2], value_name = "X,…")]
    pub(crate) load: Vec<f64>,
    /// Weights of waiting for one mean service time
    #[arg(long, value_delimiter = ',', default_values_t = [0.0], value_name = "X,…")]
    pub(crate) alpha: Vec<f64>,
    /// Maximum attempts of a repair
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) attempts: u32,
    /// Jobs of one repetition [default: the number of records]
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
