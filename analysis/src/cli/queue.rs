//! Arguments of `queue`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::args::Print;

#[derive(Debug, Args)]
pub(crate) struct Queued {
    /// The queue's file; created when missing
    #[arg(long, value_name = "FILE", default_value = "queue.db")]
    pub(crate) db: PathBuf,
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Add the accepted records of runs; items already in the queue keep their age
    Enqueue {
        /// Run folders, Parquet files, globs or file:// URLs
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<String>,
        /// Risk by record (JSON, as `risk` writes)
        #[arg(long, value_name = "FILE")]
        risk: Option<PathBuf>,
        /// Times of a rollout (YAML or JSON, see `schedule`) [default: 10 minutes each]
        #[arg(long, value_name = "FILE")]
        rollout: Option<PathBuf>,
        /// Maximum attempts of an item
        #[arg(long, default_value_t = 3, value_name = "N")]
        max_attempts: u32,
    },
    /// Claim the next items; exit code 1 when there is none
    Next {
        /// Name of the claiming process
        #[arg(long, default_value = "unnamed", value_name = "NAME")]
        holder: String,
        /// Maximum number of items
        #[arg(long, default_value_t = 1, value_name = "N")]
        count: u32,
        /// Duration of the claim, e.g. 5m
        #[arg(long, default_value = "10m", value_name = "TIME", value_parser = humantime::parse_duration)]
        lease: Duration,
        /// Order of the items
        #[arg(long, value_enum, default_value_t, value_name = "RULE")]
        rule: Order,
        /// Weight of an hour of waiting
        #[arg(long, default_value_t = 1.0, value_name = "X")]
        alpha: f64,
        /// Weight of known exploited vulnerabilities
        #[arg(long, default_value_t = 1.0, value_name = "X")]
        kev_weight: f64,
        #[command(flatten)]
        print: Print,
    },
    /// Report a claimed item as rolled out
    Ack {
        #[command(flatten)]
        claim: Claim,
        /// Duration of the rollout
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<f64>,
        /// Report it as refused instead: it is never tried again
        #[arg(long)]
        refused: bool,
    },
    /// Report a claimed item as failed: it is tried again, unless this was the last attempt
    Requeue {
        #[command(flatten)]
        claim: Claim,
    },
    /// Number of items by state
    Stats {
        #[command(flatten)]
        print: Print,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Claim {
    /// The run
    #[arg(long)]
    pub(crate) run: String,
    /// The record
    #[arg(long)]
    pub(crate) record: String,
    /// The token that came with the claim
    #[arg(long)]
    pub(crate) token: i64,
}

/// The order in which items are claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// The paper's score
    #[default]
    Score,
    /// The score, with success rates and times learnt from the answers
    Learnt,
    /// Highest risk first
    Risk,
    /// Oldest first
    Fifo,
}
