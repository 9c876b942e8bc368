//! Arguments of `queue`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::args::Print;

#[derive(Debug, Args)]
pub(crate) struct Queued {
    /// The queue's file; made when missing
    #[arg(long, value_name = "FILE", default_value = "queue.db")]
    pub(crate) db: PathBuf,
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Put the accepted records of runs in; what is there keeps its age
    Enqueue {
        /// Run folders, Parquet files, globs or file:// URLs
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<String>,
        /// Risk by record (JSON, as `risk` writes)
        #[arg(long, value_name = "FILE")]
        risk: Option<PathBuf>,
        /// Attempts at most
        #[arg(long, default_value_t = 3, value_name = "N")]
        max_attempts: u32,
    },
    /// Claim the next items; exit code 1 when there is none
    Next {
        /// Who claims
        #[arg(long, default_value = "somebody", value_name = "NAME")]
        holder: String,
        /// How many at most
        #[arg(long, default_value_t = 1, value_name = "N")]
        count: u32,
        /// How long the claim holds, e.g. 5m
        #[arg(long, default_value = "10m", value_name = "TIME", value_parser = humantime::parse_duration)]
        lease: Duration,
        /// In which order
        #[arg(long, value_enum, default_value_t, value_name = "RULE")]
        rule: Order,
        /// Weight of an hour of waiting
        #[arg(long, default_value_t = 1.0, value_name = "X")]
        alpha: f64,
        /// Weight of what is known to be exploited
        #[arg(long, default_value_t = 1.0, value_name = "X")]
        kev_weight: f64,
        #[command(flatten)]
        print: Print,
    },
    /// A claimed item is rolled out
    Ack {
        #[command(flatten)]
        claim: Claim,
        /// How long it took
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<f64>,
        /// It must not be rolled out: never try it again
        #[arg(long)]
        refused: bool,
    },
    /// A claimed item went wrong: try it again, unless this was the last attempt
    Requeue {
        #[command(flatten)]
        claim: Claim,
    },
    /// How many items are in which state
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

/// In which order items are claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// The published score
    #[default]
    Score,
    /// The score, with shares and times learnt from the answers
    Learnt,
    /// The highest risk
    Risk,
    /// The oldest
    Fifo,
}
