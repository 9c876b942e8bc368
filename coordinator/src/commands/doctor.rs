//! `coordinator doctor`: examines runs at rest, and the model of a configuration.

use std::path::PathBuf;

use clap::ValueEnum;
use cli_support::failure::WithHint as _;
use cli_support::{Exit, output};
use llm::price::List;

use super::block_on;
use super::ledger_args::LedgerArgs;
use super::models::model_check::ModelCheck;
use crate::maintenance::doctor;
use crate::settings::{ConfigArgs, checked};

/// Examines a run: the ledger, run.json, every part's length and hash, every row's place, the corpus, and unreferenced
/// files. With --ledger it also checks that the PostgreSQL server cannot forget what it acknowledges.
///
/// Works on finished runs without a ledger, and only reads, also while a coordinator works there. With --config or --set, asks
/// the provider whether it has the model, and until when; that costs nothing, and no run has to be named. Exit code 0: all is as
/// it should be; 1: something is wrong; 2: it could not be examined, or the provider could not be asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, state folder of `serve`, folder with runs, or the name of a run in --out
    #[arg(value_name = "RUN|PATH", required_unless_present_any = ["config", "set"])]
    run: Option<String>,
    /// Configuration file whose model is looked for at its provider
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, e.g. `--set proposer.mode=grok`; may be repeated, beats file and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
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
    let model = model(args)?;
    let Some(run) = &args.run else { return of_model_alone(args, model) };
    let reports = block_on(async {
        let mut reports = Vec::new();
        let engine = doctor::engine(args.ledger.address()?);
        for place in doctor::find(run, &args.out, engine.as_ref())? {
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
    for line in model.iter().flat_map(ModelCheck::lines) {
        output::say(&line);
    }
    let is_wrong = reports.iter().any(doctor::Report::has_failed);
    Ok(model.as_ref().map_or_else(|| Exit::found(is_wrong), |model| exit(is_wrong, model)))
}

/// A fault that was found comes before what could not be asked.
const fn exit(is_wrong: bool, model: &ModelCheck) -> Exit {
    match (is_wrong || model.is_missing(), model.is_not_asked()) {
        (false, true) => Exit::Failure,
        (is_wrong, _) => Exit::found(is_wrong),
    }
}

/// What the provider says of the model of the configuration; `None` where none was given.
fn model(args: &Args) -> anyhow::Result<Option<ModelCheck>> {
    if args.config.is_none() && args.set.is_empty() {
        return Ok(None);
    }
    let config = ConfigArgs { config: args.config.clone(), set: args.set.clone(), ..ConfigArgs::default() };
    let resolved = config.resolve()?;
    ModelCheck::ask(&checked(&resolved)?, &List::of(&resolved.value)?)
}

/// Prints what is known of the model of the configuration.
fn of_model_alone(args: &Args, model: Option<ModelCheck>) -> anyhow::Result<Exit> {
    let Some(model) = model else {
        let refused: anyhow::Result<Exit> = Err(anyhow::anyhow!("the configuration asks no model"));
        return refused
            .hint("choose one, e.g. --config configs/grok.yaml or --set proposer.mode=vllm, or name a run");
    };
    output::print(&match args.output {
        Output::Text => model.lines().join("\n") + "\n",
        Output::Json => output::json(&model.json()),
    })?;
    Ok(exit(false, &model))
}
