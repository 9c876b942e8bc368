//! `coordinator replay`: repeats a bundled run without network, and says whether it comes to the same.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, output};
use results::fingerprint::fingerprint;
use results::layout::{CORPUS_FILE, RUN_FILE};
use results::run_file::RunFile;
use results::scan::Part;
use results::schema::FORMAT_VERSION;

use super::super::block_on;
use super::super::run::{Output, worker_count};
use super::write::repeat;
use crate::client::Reader;
use crate::embedded::{CorpusArgs, reader};
use crate::llm_gateway::response_cache::{ANSWERS_FILE, ResponseCache, import, import_verdicts};
use crate::maintenance::bundle::{Comparison, Manifest, Rerun, corpus_reader, names, unpack};

/// Repeats the run of an archive that `coordinator bundle` wrote, without network, and compares the outcomes.
///
/// No model, API server or scanner is asked: answers and verdicts are those in the archive. Data goes to stdout, messages to
/// stderr. Exit code 0: same fingerprint; 1: it differs, and the records and causes are printed; 2: it cannot be replayed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Keep the results in this folder, which must be empty or missing [default: they are removed]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The documents, where the archive does not hold them: what the run was given as --corpus
    #[arg(long, value_name = "PATH")]
    corpus: Option<PathBuf>,
    /// The manifests beside --corpus, where the run was given some
    #[arg(long, value_name = "DIR|ARCHIVE", requires = "corpus")]
    manifests: Option<PathBuf>,
    /// Workers [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Replays the run.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        tokio::select! {
            done = replay(args, quiet) => done,
            () = interrupts.next() => Err(Interrupted).hint("the same command begins anew"),
        }
    })
}

async fn replay(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    if let Some(out) = &args.out {
        check_empty(out)?;
    }
    let unpacked = tempfile::tempdir().context("cannot make a folder for the files of the archive")?;
    let (path, into) = (args.bundle.clone(), unpacked.path().to_owned());
    let manifest = tokio::task::spawn_blocking(move || unpack(&path, &into)).await??;
    let run = open(unpacked.path(), &manifest).await?;
    if !quiet {
        output::say(&described(&manifest));
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => unpacked.path().join("replayed"),
    };
    let read = corpus(args, &manifest, &run, unpacked.path())?;
    let answers = recorded(unpacked.path(), &manifest)?;
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let rerun = Rerun {
        run: run.clone(),
        asked: manifest.asked.clone().map(Into::into),
        answers: Arc::new(answers),
        out,
        workers: worker_count(args.workers),
    };
    let comparison = Box::pin(repeat(rerun, read, &run, unpacked.path(), quiet)).await?;
    output::print(&match args.output {
        Output::Text => format!("{}{}", comparison.text(), versions(&manifest, &comparison)),
        Output::Json => output::json_line(&json(&manifest, &comparison)),
    })?;
    Ok(Exit::found(!comparison.is_same()))
}

/// The run that the archive describes, after a check that its outcomes are those of its fingerprint.
async fn open(folder: &Path, manifest: &Manifest) -> anyhow::Result<RunFile> {
    let text = std::fs::read(folder.join(RUN_FILE)).context("cannot read run.json of the archive")?;
    let run = RunFile::parse(&text, "the archive")?;
    anyhow::ensure!(
        run.run_id == manifest.run_id
            && run.corpus_hash == manifest.corpus.hash
            && run.records == manifest.records,
        "run.json and manifest.json of the archive describe different runs"
    );
    run.config.check().context("the configuration in the archive is not valid")?;
    let listed = run.parts.iter().find(|part| !manifest.has(&part.name));
    if let Some(part) = listed {
        anyhow::bail!("the archive lacks {}, which run.json names", part.name);
    }
    let parts: Vec<Part> = run.parts.iter().map(|part| Part::File(folder.join(&part.name))).collect();
    let found = tokio::task::spawn_blocking(move || fingerprint(parts)).await??;
    anyhow::ensure!(
        found.to_string() == manifest.fingerprint,
        "the outcomes in the archive have the fingerprint {found}, and not {}, which it names",
        manifest.fingerprint
    );
    Ok(run)
}

/// The documents: of the archive, or from elsewhere.
fn corpus(args: &Args, manifest: &Manifest, run: &RunFile, folder: &Path) -> anyhow::Result<Reader<u64>> {
    match &args.corpus {
        None if manifest.corpus.included => Ok(corpus_reader(folder.join(CORPUS_FILE))),
        None => {
            let note = &manifest.corpus;
            let missing: anyhow::Result<Reader<u64>> = Err(anyhow::anyhow!(
                "the archive does not hold the documents of the run ({}, hash {})",
                note.name,
                note.hash
            ));
            let source = note.source.as_ref().map(|source| format!("; where to get them: {source}"));
            missing.hint(format!("give them by --corpus{}", source.unwrap_or_default()))
        }
        Some(corpus) => {
            let from = CorpusArgs { corpus: corpus.clone(), manifests: args.manifests.clone() };
            let read = reader(&from, &run.config);
            Ok(Box::new(move |each| read(each).map(|intake| intake.records)))
        }
    }
}

/// The answers and verdicts of the archive, in a file that is removed with the other ones of the archive.
fn recorded(folder: &Path, manifest: &Manifest) -> anyhow::Result<ResponseCache> {
    let open = |name: &str| -> anyhow::Result<Option<BufReader<File>>> {
        if !manifest.has(name) {
            return Ok(None);
        }
        let file =
            File::open(folder.join(name)).with_context(|| format!("cannot read {name} of the archive"))?;
        Ok(Some(BufReader::new(file)))
    };
    let (answers, verdicts) = (open(names::ANSWERS)?, open(names::VERDICTS)?);
    if answers.is_none() && verdicts.is_none() {
        return Ok(ResponseCache::in_memory()?);
    }
    let cache = ResponseCache::open(&folder.join(ANSWERS_FILE))?;
    if let Some(mut lines) = answers {
        import(&cache, &mut lines).context(names::ANSWERS)?;
    }
    if let Some(mut lines) = verdicts {
        import_verdicts(&cache, &mut lines).context(names::VERDICTS)?;
    }
    Ok(cache)
}

fn check_empty(folder: &Path) -> anyhow::Result<()> {
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    anyhow::ensure!(is_free, "{} is not an empty folder", folder.display());
    Ok(())
}

fn described(manifest: &Manifest) -> String {
    let versions = &manifest.versions;
    format!(
        "run {}: {} records, made by {} for Kubernetes {}; this is {}",
        manifest.run_id,
        manifest.records,
        versions.program,
        versions.kubernetes,
        env!("CARGO_PKG_VERSION")
    )
}

/// The versions that differ, where the outcomes do.
fn versions(manifest: &Manifest, comparison: &Comparison) -> String {
    let (program, format) = differing_versions(manifest);
    let mut text = String::new();
    if comparison.is_same() {
        return text;
    }
    if program {
        let this = env!("CARGO_PKG_VERSION");
        let made = &manifest.versions.program;
        let why = "its policies and gates may be others";
        // Writing to a text does not fail.
        let _ = writeln!(text, "version: {made} made the run, this is {this}: {why}");
    }
    if format {
        let made = manifest.versions.results_format;
        let _ =
            writeln!(text, "version: the outcomes have format {made}, this program writes {FORMAT_VERSION}");
    }
    if text.is_empty() {
        text += "version: the same release made the run\n";
    }
    text
}

/// Whether program, and format of the outcomes, are others than those of this process.
fn differing_versions(manifest: &Manifest) -> (bool, bool) {
    let versions = &manifest.versions;
    (versions.program != env!("CARGO_PKG_VERSION"), versions.results_format != FORMAT_VERSION)
}

fn json(manifest: &Manifest, comparison: &Comparison) -> serde_json::Value {
    let mut value = comparison.json();
    if let Some(object) = value.as_object_mut() {
        object.insert("run_id".to_owned(), manifest.run_id.as_str().into());
        object.insert("made_by".to_owned(), manifest.versions.program.clone().into());
        object.insert("replayed_by".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    value
}
