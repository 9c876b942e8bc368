//! `cargo xtask TASK`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::chaos::Output;

/// Tasks of this repository that are more than shell work.
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
    /// Lists the old words of the vocabulary that remain in names and messages.
    ///
    /// Exit code 1: one of them has no reason to stay. Part of `tidy`.
    Words,
    /// Kills, freezes and cuts off real processes during a run, and compares it with an undisturbed one.
    ///
    /// Exit code 1: an expectation was violated; the report says which, and the seed replays the plan.
    Chaos(Box<xtask::chaos::Args>),
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a task prints to the terminal")]
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
                println!("tidy: crates, files, folders and words agree with the architecture");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(ExitCode::FAILURE)
        }
        Task::Words => {
            let remaining = xtask::tidy::words()?;
            for word in &remaining {
                println!("{word}");
            }
            let without_reason = remaining.iter().filter(|word| !word.is_allowed()).count();
            println!("words: {} remain, {without_reason} of them without a reason", remaining.len());
            Ok(if without_reason == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Task::Chaos(args) => {
            let run = if args.coordinators > 1 { xtask::chaos::coordinators::run } else { xtask::chaos::run };
            let report = run(&args)?;
            match args.output {
                Output::Text => print!("{}", report.text()),
                Output::Json => println!("{}", report.json()),
            }
            Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
