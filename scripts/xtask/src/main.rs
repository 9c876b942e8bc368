//! `cargo xtask TASK`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::chaos::Output;

/// Tasks of the house that are not shell work.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks crates, files and folders against the architecture. Also runs as a test.
    Tidy {
        /// Lists the circles of files of every crate, and does not fail
        #[arg(long)]
        circles: bool,
    },
    /// Kills, freezes and cuts off real processes during a run, and compares it with an undisturbed one.
    ///
    /// Exit code 1: an expectation was violated; the report says which, and the seed replays the plan.
    Chaos(Box<xtask::chaos::Args>),
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who runs it")]
fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Tidy { circles: true } => {
            for circle in xtask::tidy::circles()? {
                println!("{circle}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Tidy { circles: false } => {
            let faults = xtask::tidy::check()?;
            for fault in &faults {
                eprintln!("{fault}");
            }
            if faults.is_empty() {
                println!("tidy: crates, files and folders are as they should be");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(ExitCode::FAILURE)
        }
        Task::Chaos(args) => {
            let report = xtask::chaos::run(&args)?;
            match args.output {
                Output::Text => print!("{}", report.text()),
                Output::Json => println!("{}", report.json()),
            }
            Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
