//! `coordinator doctor`: examines runs at rest.

use std::path::PathBuf;

use clap::ValueEnum;
use cli_support::{Exit, output};

use super::block_on;
use super::ledger_args::LedgerArgs;
use crate::maintenance::doctor;

/// Examines a run: the ledger, run.json, every part's length and hash, every row's place, the corpus, and unreferenced
/// files. With --ledger it also checks that the PostgreSQL server cannot forget what it acknowledges.
///
/// Works on finished runs without a ledger, and only reads, also while a coordinator works there. Exit code 0: all is as it
/// should be; 1: something is wrong; 2: it could not be examined.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, state folder of `serve`, folder with runs, or the name of a run in --out
    #[arg(value_name = "RUN|PATH")]
    run: String,
    /// Folder of the runs that are given by name
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Delete unreferenced files: parts of lost leases, unfinished files of a killed process
    #[arg(long)]
    repair: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    #[default]
    Text,
    /// A JSON object for each run.
    Json,
}

/// Examines the runs, after repairing them where that was asked for.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let reports = block_on(async {
        let mut reports = Vec::new();
        let engine = doctor::engine(args.ledger.address()?);
        for place in doctor::find(&args.run, &args.out, engine.as_ref())? {
            if args.repair {
                for gone in doctor::repair(&place).await? {
                    output::say(&format!("deleted {gone}"));
                }
            }
            reports.push(doctor::examine(place).await?);
        }
        Ok(reports)
    })?;
    output::print(&match args.output {
        Output::Text => {
            let width = output::stdout_width();
            reports.iter().map(|report| report.text(width)).collect::<Vec<_>>().join("\n")
        }
        Output::Json => output::json(&reports.iter().map(doctor::Report::json).collect()),
    })?;
    Ok(Exit::found(reports.iter().any(doctor::Report::has_failed)))
}
