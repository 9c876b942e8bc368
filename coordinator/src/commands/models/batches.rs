//! `coordinator batches`: the batches of a store of answers.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use cli_support::failure::WithHint as _;
use cli_support::output::Align;
use cli_support::{Exit, Format, Table, env, output};
use domain::answer::Answer;
use llm::batch::{self, BatchClient, LineOutcome};
use llm::mask::KeyMask;
use llm::settings::Settings;
use serde_json::{Value, json};

use crate::batches::record::BatchRecord;
use crate::clock::unix_ms;
use crate::commands::answers::open;
use crate::commands::block_on;
use crate::embedded::{CorpusArgs, first_questions};
use crate::llm_gateway::response_cache::{Answers as _, CacheEntry, ResponseCache};
use crate::settings::{ConfigArgs, run_checked};

/// Answers of an import in one transaction.
const TOGETHER: usize = 500;

/// Lists and cancels batches at providers (`proposer.delivery: batch`).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the batches that runs have submitted
    List(ListArgs),
    /// Cancel a batch at its provider
    ///
    /// What was answered until then is kept and billed. The run that it belongs to reads its answers when it goes on, and asks
    /// the rest live.
    Cancel(CancelArgs),
    /// Write the first questions of a corpus as the file of a batch, for a machine without network
    ///
    /// `vllm run-batch -i FILE -o RESULTS --model MODEL` reads it. Each question comes once; those that are answered in --answers
    /// are left out. What FILE holds is what a provider would be sent: prompts, with masks in place of secrets.
    Export(ExportArgs),
    /// Read the results of such a file into the cached answers
    ///
    /// Answers that are cached already stay as they are; lines without an answer are counted, and asked when a run needs them.
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// File of cached answers: `OUT/.answers.sqlite` of `run`
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// Those too that have ended
    #[arg(long)]
    all: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct CancelArgs {
    /// File of cached answers: `OUT/.answers.sqlite` of `run`
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Id of the batch, at the provider or its mark
    #[arg(value_name = "BATCH")]
    batch: String,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    corpus: CorpusArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// File of cached answers; what it holds is left out
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// File of results
    #[arg(value_name = "RESULTS")]
    from: PathBuf,
    /// File of cached answers: `OUT/.answers.sqlite` of `run`; made where it is missing
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list(args),
        Command::Cancel(args) => cancel(args),
        Command::Export(args) => export(args),
        Command::Import(args) => import(args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let mut batches = open(&args.answers)?.batches()?;
    batches.retain(|batch| args.all || batch.phase.is_open());
    output::print(&match args.output {
        Format::Text => table(&batches).text(output::stdout_width()),
        Format::Csv => table(&batches).csv(),
        Format::Json => output::json(&batches.iter().map(value).collect()),
    })?;
    Ok(Exit::Fine)
}

fn id(batch: &BatchRecord) -> String {
    batch.phase.remote().map(ToString::to_string).unwrap_or_default()
}

fn table(batches: &[BatchRecord]) -> Table {
    let mut table = Table::new([
        ("batch", Align::Left),
        ("run", Align::Left),
        ("provider", Align::Left),
        ("model", Align::Left),
        ("phase", Align::Left),
        ("questions", Align::Right),
        ("mark", Align::Left),
    ]);
    for batch in batches {
        table.push([
            id(batch),
            batch.run_id.to_string(),
            batch.target.provider.clone(),
            batch.target.model.clone(),
            batch.phase.as_str().to_owned(),
            batch.lines.to_string(),
            batch.mark.to_string(),
        ]);
    }
    table
}

fn value(batch: &BatchRecord) -> Value {
    json!({
        "batch": batch.phase.remote().map(ToString::to_string),
        "run": batch.run_id.as_str(),
        "provider": batch.target.provider,
        "model": batch.target.model,
        "phase": batch.phase.as_str(),
        "questions": batch.lines,
        "mark": batch.mark.as_str(),
        "created_ms": batch.created_at_ms,
    })
}

fn cancel(args: &CancelArgs) -> anyhow::Result<Exit> {
    let cache = open(&args.answers)?;
    let named = |batch: &BatchRecord| batch.mark.as_str() == args.batch || id(batch) == args.batch;
    let found = cache.batches()?.into_iter().find(named);
    let Some(batch) = found else {
        let missing: anyhow::Result<Exit> = Err(anyhow::anyhow!("no batch {} is recorded here", args.batch));
        return missing.hint("`coordinator batches list --all` shows them");
    };
    let Some(remote) = batch.phase.remote() else {
        let phase = batch.phase.as_str();
        let refused: anyhow::Result<Exit> =
            Err(anyhow::anyhow!("batch {} is not at the provider: {phase}", args.batch));
        return refused.hint("the run that it belongs to goes on with it, or drops it");
    };
    let settings = run_checked(&args.config.resolve()?)?;
    let mode = settings.run.proposer.mode;
    if mode.as_str() != batch.target.provider {
        let provider = &batch.target.provider;
        let refused: anyhow::Result<Exit> =
            Err(anyhow::anyhow!("batch {} is at provider {provider}", args.batch));
        return refused.hint(format!("give the configuration of its run, or --set proposer.mode={provider}"));
    }
    let client = BatchClient::new(settings.providers.open(mode, env::process)?)?;
    let shown = block_on(async { Ok(client.cancel(remote).await?) })?;
    output::print(&format!(
        "batch {remote}: {}, {} of {} questions are answered; its run reads them when it goes on\n",
        shown.status.as_str(),
        shown.counts.completed,
        batch.lines
    ))?;
    Ok(Exit::Fine)
}

/// The settings of a model's proposer.
fn model_settings(args: &ConfigArgs) -> anyhow::Result<Settings> {
    let settings = run_checked(&args.resolve()?)?;
    if settings.run.model().is_none() {
        let refused: anyhow::Result<_> = Err(anyhow::anyhow!("no model proposes, so there are no questions"));
        return refused.hint("choose a model: --config configs/vllm.yaml, or --set proposer.mode=vllm");
    }
    Ok(settings)
}

fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let settings = model_settings(&args.config)?;
    let answers = args.answers.as_deref().map(open).transpose()?;
    let destination = settings.providers.destination(settings.run.proposer.mode);
    let name = args.to.display().to_string();
    let folder = args.to.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Written to a temporary file and renamed: the file is complete or absent.
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("cannot write {name}"))?;
    let mut writer = BufWriter::new(file);
    let (mut seen, mut known) = (HashSet::new(), 0_u64);
    first_questions::<anyhow::Error>(&args.corpus, &settings.run, destination, &mut |first| {
        let key = first.key;
        // Half of a hash tells a million questions apart as well, and is half of what grows with them.
        let [half, ..] = key.as_bytes().as_chunks::<16>().0 else { return Ok(()) };
        if !seen.insert(*half) {
            return Ok(());
        }
        if let Some(answers) = &answers
            && answers.look_up(&[key])?.iter().any(|(_, stored)| stored.is_some())
        {
            known += 1;
            return Ok(());
        }
        writer.write_all(&first.line).with_context(|| format!("cannot write {name}"))
    })?;
    writer.flush().with_context(|| format!("cannot write {name}"))?;
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.persist(&args.to).with_context(|| format!("cannot write {name}"))?;
    let written = seen.len() as u64 - known;
    output::print(&format!("wrote {written} questions to {name}; {known} more are answered\n"))?;
    Ok(Exit::Fine)
}

fn import(args: &ImportArgs) -> anyhow::Result<Exit> {
    let settings = model_settings(&args.config)?;
    let name = args.from.display().to_string();
    let file = File::open(&args.from).with_context(|| format!("cannot read {name}"))?;
    let cache = ResponseCache::open(&args.answers)?;
    let from = Results {
        provider: settings.run.proposer.mode.as_str(),
        model: settings.run.model().map(|model| model.model.as_str()).unwrap_or_default(),
    };
    let counts =
        from.import(&cache, BufReader::new(file)).with_context(|| format!("cannot import {name}"))?;
    output::print(&format!(
        "{} answers are new, {} were cached already and stay, {} lines have no answer\n",
        counts.new, counts.known, counts.without
    ))?;
    Ok(Exit::Fine)
}

/// Results of a file, and whose they are.
struct Results<'r> {
    provider: &'r str,
    model: &'r str,
}

/// Counts of an import.
#[derive(Debug, Default)]
struct ImportCounts {
    new: u64,
    known: u64,
    without: u64,
}

impl Results<'_> {
    fn import(&self, cache: &ResponseCache, from: impl BufRead) -> anyhow::Result<ImportCounts> {
        let (mut lines, mut counts) = (batch::LineReader::new(from), ImportCounts::default());
        let mut together = Vec::new();
        let put = |together: &mut Vec<_>, counts: &mut ImportCounts| -> anyhow::Result<()> {
            let new = cache.put_absent(together)?;
            counts.new += new;
            counts.known += together.len() as u64 - new;
            together.clear();
            Ok(())
        };
        while let Some((number, line)) = lines.next_line()? {
            let line = line.map_err(|why| anyhow::anyhow!("line {number}: {why}"));
            let line =
                line.hint("the file must hold the results of a file of `coordinator batches export`")?;
            match line.outcome(0, &KeyMask::default()).0 {
                LineOutcome::Answered(answer) => together.push((line.key, self.entry(answer), String::new())),
                LineOutcome::Failed(_) | LineOutcome::Unasked => counts.without += 1,
            }
            if together.len() >= TOGETHER {
                put(&mut together, &mut counts)?;
            }
        }
        put(&mut together, &mut counts)?;
        Ok(counts)
    }

    fn entry(&self, answer: Answer) -> CacheEntry {
        CacheEntry {
            answer: Arc::new(answer),
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            created_at_ms: unix_ms(),
            replaces_before_ms: None,
        }
    }
}
