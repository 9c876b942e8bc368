//! `coordinator answers`: what models answered, looked through, taken out, taken in, thinned out.

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
use crate::llm_gateway::response_cache::{ByModel, ResponseCache, Selection, export, import};

/// Shows, exports, imports and prunes what models answered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how many answers are kept of each model, and what they take
    Stats(StatsArgs),
    /// Write every answer as a line of JSON: key, question's model, content, usage
    Export(ExportArgs),
    /// Take answers in that `export` wrote; what is kept already stays as it is
    Import(ImportArgs),
    /// Remove answers; shows what it would remove unless --yes is said
    ///
    /// A removed answer is paid for again when a run asks for it. At least one of --older-than and --model has to be given;
    /// together they narrow.
    Prune(PruneArgs),
}

#[derive(Debug, clap::Args)]
struct StoreArg {
    /// File of answers: `OUT/.answers.sqlite` of `run`, `STATE/answers.sqlite` of `serve`
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
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct PruneArgs {
    #[command(flatten)]
    store: StoreArg,
    /// Only answers that came longer ago, e.g. 90d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only answers of this model, as it was asked for or as it names itself
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Remove them; without it they are shown
    #[arg(long)]
    yes: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Does it.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Stats(args) => {
            let store = open(&args.store.answers)?;
            show(&store.by_model(&Selection::default())?, args.output)?;
        }
        Command::Export(args) => taken_out(args)?,
        Command::Import(args) => taken_in(args)?,
        Command::Prune(args) => prune(args)?,
    }
    Ok(Exit::Fine)
}

/// A file that has to be there: a mistyped name must not leave an empty one behind.
fn open(path: &Path) -> anyhow::Result<ResponseCache> {
    if !path.exists() {
        let missing: anyhow::Result<ResponseCache> =
            Err(anyhow::anyhow!("{} does not exist", path.display()));
        return missing.hint("`run` keeps answers in OUT/.answers.sqlite, `serve` in STATE/answers.sqlite");
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

fn table(models: &[ByModel]) -> Table {
    let right = Align::Right;
    let mut table = Table::new([
        ("endpoint", Align::Left),
        ("model", Align::Left),
        ("answers", right),
        ("bytes", right),
        ("tokens", right),
        ("oldest", Align::Left),
        ("newest", Align::Left),
    ]);
    for model in models {
        table.push([
            model.endpoint.clone(),
            model.model.clone(),
            model.answers.to_string(),
            model.bytes.to_string(),
            model.tokens.to_string(),
            moment(model.oldest_ms),
            moment(model.newest_ms),
        ]);
    }
    table
}

fn value(model: &ByModel) -> Value {
    json!({
        "endpoint": model.endpoint,
        "model": model.model,
        "answers": model.answers,
        "bytes": model.bytes,
        "tokens": model.tokens,
        "oldest_ms": model.oldest_ms,
        "newest_ms": model.newest_ms,
    })
}

fn moment(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

fn taken_out(args: &ExportArgs) -> anyhow::Result<()> {
    let store = open(&args.store.answers)?;
    let name = args.to.display().to_string();
    let (count, damaged) = if name == "-" {
        export(&store, &mut std::io::stdout().lock()).context("cannot export the answers")?
    } else {
        // Written beside its place and moved there whole: a file of that name is never half one.
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
        output::say(&format!("left out {damaged} answers that are damaged: they are asked for again"));
    }
    Ok(())
}

fn taken_in(args: &ImportArgs) -> anyhow::Result<()> {
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
        .hint("what stood before that line was taken in; mended and imported again, only the rest is new")?;
    output::print(&match args.output {
        Format::Json => format!("{}\n", json!({"new": imported.new, "known": imported.known})),
        Format::Csv => format!("new,known\n{},{}\n", imported.new, imported.known),
        Format::Text => {
            format!("{} answers are new, {} were there already and stay\n", imported.new, imported.known)
        }
    })?;
    Ok(())
}

fn prune(args: &PruneArgs) -> anyhow::Result<()> {
    if args.older_than.is_none() && args.model.is_none() {
        let refused: anyhow::Result<()> = Err(anyhow::anyhow!("nothing says which answers to remove"));
        return refused.hint("say --older-than 90d or --model NAME");
    }
    let store = open(&args.store.answers)?;
    let age = |age: Duration| unix_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let what = Selection { before_ms: args.older_than.map(age), model: args.model.clone() };
    show(&store.by_model(&what)?, args.output)?;
    if args.yes {
        output::say(&format!("removed {} answers", store.prune(&what)?));
    } else {
        output::say("these would be removed; say --yes to do it");
    }
    Ok(())
}
