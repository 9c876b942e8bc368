//! `coordinator answers`: inspects, exports, imports and prunes the response cache.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Subcommand;
use cli_support::failure::WithHint as _;
use cli_support::output::Align;
use cli_support::{Exit, Format, Table, output};
use serde_json::{Value, json};

use crate::clock::unix_ms;
use crate::llm_gateway::response_cache::{ByModel, CallsOfRun, ResponseCache, Selection, export, import};

/// Inspects, exports, imports and prunes cached answers of models.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the number and size of cached answers of each model, and calls under way
    Stats(StatsArgs),
    /// Write every answer as a line of JSON: key, model, content, usage
    Export(ExportArgs),
    /// Import answers that `export` wrote; answers that are already cached stay as they are
    Import(ImportArgs),
    /// Remove answers; without --yes it only shows what would be removed
    ///
    /// A removed answer is paid for again when a run needs it. At least one of --older-than and --model is required; both
    /// together remove what matches both.
    Prune(PruneArgs),
}

#[derive(Debug, clap::Args)]
struct StoreArg {
    /// File of cached answers: `OUT/.answers.sqlite` of `run`, `STATE/answers.sqlite` of `serve`
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
}

#[derive(Debug, clap::Args)]
struct StatsArgs {
    #[command(flatten)]
    store: StoreArg,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    store: StoreArg,
    /// File to write; - for standard output
    #[arg(value_name = "PATH", default_value = "-")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    #[command(flatten)]
    store: StoreArg,
    /// File to read; - for standard input
    #[arg(value_name = "PATH")]
    from: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct PruneArgs {
    #[command(flatten)]
    store: StoreArg,
    /// Only answers older than this, e.g. 90d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only answers of this model, by the name in the request or in the answer
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Remove them; without it they are only shown
    #[arg(long)]
    yes: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Stats(args) => {
            let store = open(&args.store.answers)?;
            show(&store.by_model(&Selection::default())?, args.output)?;
            say_calls(&store.calls_by_run()?);
        }
        Command::Export(args) => export_answers(args)?,
        Command::Import(args) => import_answers(args)?,
        Command::Prune(args) => prune(args)?,
    }
    Ok(Exit::Fine)
}

/// Opens an existing file: a mistyped name must not create an empty one.
pub(crate) fn open(path: &Path) -> anyhow::Result<ResponseCache> {
    if !path.exists() {
        let missing: anyhow::Result<ResponseCache> =
            Err(anyhow::anyhow!("{} does not exist", path.display()));
        return missing.hint("`run` caches answers in OUT/.answers.sqlite, `serve` in STATE/answers.sqlite");
    }
    Ok(ResponseCache::open(path)?)
}

fn show(models: &[ByModel], format: Format) -> anyhow::Result<()> {
    output::print(&match format {
        Format::Text => table(models).text(output::stdout_width()),
        Format::Csv => table(models).csv(),
        Format::Json => output::json(&models.iter().map(value).collect()),
    })?;
    Ok(())
}

/// Says which runs have calls under way, on stderr: they are no answers.
fn say_calls(runs: &[CallsOfRun]) {
    for CallsOfRun { run_id, calls, oldest_ms } in runs {
        let oldest = timestamp(*oldest_ms);
        output::say(&format!("run {run_id}: calls under way: {calls}, the oldest since {oldest}"));
    }
}

fn table(models: &[ByModel]) -> Table {
    let right = Align::Right;
    let mut table = Table::new([
        ("provider", Align::Left),
        ("model", Align::Left),
        ("answers", right),
        ("bytes", right),
        ("tokens", right),
        ("oldest", Align::Left),
        ("newest", Align::Left),
    ]);
    for model in models {
        table.push([
            model.provider.clone(),
            model.model.clone(),
            model.answers.to_string(),
            model.bytes.to_string(),
            model.tokens.to_string(),
            timestamp(model.oldest_ms),
            timestamp(model.newest_ms),
        ]);
    }
    table
}

fn value(model: &ByModel) -> Value {
    json!({
        "provider": model.provider,
        "model": model.model,
        "answers": model.answers,
        "bytes": model.bytes,
        "tokens": model.tokens,
        "oldest_ms": model.oldest_ms,
        "newest_ms": model.newest_ms,
    })
}

fn timestamp(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

fn export_answers(args: &ExportArgs) -> anyhow::Result<()> {
    let store = open(&args.store.answers)?;
    let name = args.to.display().to_string();
    let (count, damaged) = if name == "-" {
        export(&store, &mut std::io::stdout().lock()).context("cannot export the answers")?
    } else {
        // Written to a temporary file and renamed: the file is complete or absent.
        let folder = args.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write {name}"))?;
        let mut writer = BufWriter::new(file);
        let written = export(&store, &mut writer).with_context(|| format!("cannot write {name}"))?;
        writer.flush().with_context(|| format!("cannot write {name}"))?;
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all().with_context(|| format!("cannot write {name}"))?;
        file.persist(&args.to).with_context(|| format!("cannot write {name}"))?;
        written
    };
    output::say(&format!("wrote {count} answers"));
    if damaged > 0 {
        output::say(&format!(
            "left out {damaged} damaged answers: a run that needs them asks the model again"
        ));
    }
    Ok(())
}

fn import_answers(args: &ImportArgs) -> anyhow::Result<()> {
    let store = ResponseCache::open(&args.store.answers)?;
    let name = args.from.display().to_string();
    let imported = if name == "-" {
        import(&store, &mut std::io::stdin().lock())
    } else {
        let file = File::open(&args.from).with_context(|| format!("cannot read {name}"))?;
        import(&store, &mut BufReader::new(file))
    };
    let imported = imported
        .with_context(|| format!("cannot import {name}"))
        .hint("the lines before it were imported; correct the line and import the file again")?;
    output::print(&match args.output {
        Format::Json => output::json_line(&json!({"new": imported.new, "known": imported.known})),
        Format::Csv => format!("new,known\n{},{}\n", imported.new, imported.known),
        Format::Text => {
            format!("{} answers are new, {} were cached already and stay\n", imported.new, imported.known)
        }
    })?;
    Ok(())
}

fn prune(args: &PruneArgs) -> anyhow::Result<()> {
    if args.older_than.is_none() && args.model.is_none() {
        let refused: anyhow::Result<()> = Err(anyhow::anyhow!("no answers are selected"));
        return refused.hint("select them by --older-than 90d or --model NAME");
    }
    let store = open(&args.store.answers)?;
    let age = |age: Duration| unix_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let what = Selection { before_ms: args.older_than.map(age), model: args.model.clone() };
    show(&store.by_model(&what)?, args.output)?;
    if args.yes {
        output::say(&format!("removed {} answers", store.prune(&what)?));
    } else {
        output::say("nothing was removed; repeat with --yes to remove these");
    }
    Ok(())
}
