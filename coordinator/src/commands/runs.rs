//! `coordinator runs`: lists runs and removes those that have ended.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use cli_support::failure::WithHint as _;
use cli_support::output::Align;
use cli_support::{Exit, Format, Table, output};
use proto::channel::Access;
use proto::convert::StoredRun;
use serde_json::{Value, json};

use super::block_on;
use crate::client::Client;
use crate::clock::unix_ms;
use crate::maintenance::retention::{Rules, select};
use crate::maintenance::run_dirs::{INTERRUPTED, RunDirs};

/// Lists and removes the runs of a coordinator, or of a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List runs with state, records, age and size
    List(ListArgs),
    /// Remove runs that have ended; without --yes it only shows what would be removed
    ///
    /// An active run is never removed. At least one of --older-than, --keep and --state is required; several together remove
    /// what matches all of them. Exit code 0: done, or nothing to do.
    Prune(PruneArgs),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false, id = "where")]
struct Place {
    /// State folder of `serve`, or results folder of `run`
    #[arg(value_name = "DIR", group = "where")]
    folder: Option<PathBuf>,
    /// Address of a coordinator that serves; several, separated by commas, are tried in turn until one answers
    #[arg(long = "coordinator", aliases = ["to", "from"], value_name = "URL", group = "where")]
    to: Option<String>,
}

/// Where runs are, and how a coordinator is reached.
#[derive(Debug, clap::Args)]
struct Reach {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    reach: Reach,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct PruneArgs {
    #[command(flatten)]
    reach: Reach,
    /// Only runs submitted longer ago, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// All but the N newest
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Only runs in this state; may be repeated
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<EndState>,
    /// Remove them; without it they are only shown
    #[arg(long)]
    yes: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// States of a run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EndState {
    Finished,
    Cancelled,
    Failed,
}

/// Lists or removes runs.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        match &args.command {
            Command::List(args) => list(args).await,
            Command::Prune(args) => prune(args).await,
        }
    })?;
    Ok(Exit::Fine)
}

/// Where runs are stored: behind a coordinator that serves, or in folders.
enum RunSource {
    Served(Box<Client>),
    Folders(RunDirs),
}

impl RunSource {
    async fn at(reach: &Reach) -> anyhow::Result<Self> {
        Ok(match (&reach.place.to, &reach.place.folder) {
            (Some(url), _) => Self::Served(Box::new(Client::at(url, &reach.access).await?)),
            (None, Some(folder)) => Self::Folders(RunDirs::at(folder)?),
            (None, None) => anyhow::bail!("name a folder, or a coordinator with --to"),
        })
    }

    async fn inventory(&mut self) -> anyhow::Result<Vec<StoredRun>> {
        match self {
            Self::Served(client) => client.inventory().await,
            Self::Folders(folders) => folders.inventory().await,
        }
    }

    /// State of a run in a word. One that has not ended and that no coordinator works on is interrupted; what a coordinator
    /// serves, it works on.
    fn state_of(&self, run: &StoredRun) -> &'static str {
        match self {
            Self::Folders(folders) if !run.state.has_ended() && !folders.is_worked_on(&run.run_id) => {
                INTERRUPTED
            }
            _ => run.state.as_str(),
        }
    }

    async fn remove(&mut self, run: &StoredRun) -> anyhow::Result<()> {
        match self {
            Self::Served(client) => client.remove(&run.run_id).await,
            Self::Folders(folders) => folders
                .remove(&run.run_id)
                .await
                .hint("if a coordinator serves that folder, give its address with --coordinator URL instead"),
        }
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let mut source = RunSource::at(&args.reach).await?;
    let runs = source.inventory().await?;
    let shown = runs.iter().map(|run| Shown { run, state: source.state_of(run), done: "" });
    print(&shown.collect::<Vec<_>>(), args.output)
}

async fn prune(args: &PruneArgs) -> anyhow::Result<()> {
    if args.older_than.is_none() && args.keep.is_none() && args.state.is_empty() {
        let refused: anyhow::Result<()> = Err(anyhow::anyhow!("no runs are selected"));
        return refused.hint("select them by --older-than 30d, --keep 10 or --state cancelled");
    }
    let states = args.state.iter().map(|state| match state {
        EndState::Finished => "finished",
        EndState::Cancelled => "cancelled",
        EndState::Failed => "failed",
    });
    let rules = Rules { older_than: args.older_than, keep: args.keep.unwrap_or(0), states: states.collect() };
    let mut source = RunSource::at(&args.reach).await?;
    let runs = source.inventory().await?;
    let selected = select(&runs, &rules, unix_ms());
    let mut shown = Vec::new();
    for run in runs.iter().filter(|run| selected.contains(&run.run_id)) {
        if args.yes {
            source.remove(run).await?;
        }
        let done = if args.yes { "removed" } else { "would be removed" };
        shown.push(Shown { run, state: run.state.as_str(), done });
    }
    print(&shown, args.output)?;
    if !args.yes && !shown.is_empty() {
        output::say("nothing was removed; repeat with --yes to remove these");
    }
    Ok(())
}

/// A run as it is listed.
struct Shown<'r> {
    run: &'r StoredRun,
    state: &'static str,
    /// What was done with it.
    done: &'static str,
}

fn print(runs: &[Shown<'_>], format: Format) -> anyhow::Result<()> {
    let now = unix_ms();
    output::print(&match format {
        Format::Text => table(runs, now).text(output::stdout_width()),
        Format::Csv => table(runs, now).csv(),
        Format::Json => output::json(&runs.iter().map(value).collect()),
    })?;
    Ok(())
}

fn table(runs: &[Shown<'_>], now_ms: u64) -> Table {
    let mut table = Table::new([
        ("run", Align::Left),
        ("state", Align::Left),
        ("records", Align::Right),
        ("age", Align::Right),
        ("size", Align::Right),
        ("results", Align::Left),
        ("", Align::Left),
    ]);
    for Shown { run, state, done } in runs {
        table.push([
            run.run_id.to_string(),
            (*state).to_owned(),
            run.records.to_string(),
            age(now_ms.saturating_sub(run.created_at_ms)),
            size(run.bytes),
            run.results.clone(),
            (*done).to_owned(),
        ]);
    }
    table
}

fn value(shown: &Shown<'_>) -> Value {
    let Shown { run, state, done } = shown;
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(run.created_at_ms));
    json!({
        "run_id": run.run_id.as_str(),
        "state": state,
        "records": run.records,
        "created_at": created.to_string(),
        "bytes": run.bytes,
        "path": run.results,
        "removed": *done == "removed",
    })
}

/// Formats an age in its largest unit.
fn age(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

/// Formats a size in its largest unit.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_have_readable_units() {
        assert_eq!(
            (age(90_000), age(7_200_000), age(400_000_000)),
            ("1 min".into(), "2 h".into(), "4 d".into())
        );
        assert_eq!(
            (size(999), size(1500), size(2_000_000_000_000)),
            ("999 B".into(), "1.5 kB".into(), "2.0 TB".into())
        );
    }
}
