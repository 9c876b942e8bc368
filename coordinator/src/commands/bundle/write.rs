//! `coordinator bundle`: a finished run as one archive that others can replay.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::progress::Progress;
use cli_support::{Exit, output};
use domain::config::ProposerMode;
use domain::ids::RunId;
use domain::run::RunState;
use proto::convert::RunStatus;
use results::layout::{CORPUS_FILE, RUN_FILE, UNFINISHED};
use results::run_file::RunFile;
use results::scan::Part;
use results::store::Store;
use tempfile::TempDir;

use super::super::block_on;
use super::super::follow::standing;
use super::super::run::worker_count;
use super::super::runs::size;
use crate::client::Reader;
use crate::llm_gateway::response_cache::{ANSWERS_FILE, ResponseCache, Used};
use crate::maintenance::bundle::{
    Comparison, CorpusNote, Draft, Member, Rerun, corpus_reader, names, secret_documents, write,
};
use crate::settings::{ConfigArgs, checked};

/// Writes a finished run as one archive (tar.gz): its documents, configuration and versions, the recorded answers of its model
/// and verdicts of its API server, its outcomes and their fingerprint.
///
/// The run is repeated from what was recorded before anything is written, so that what it used is known and the archive is
/// known to replay. Give the configuration (--config, --set) that the run was given: the key of an answer depends on the URL
/// that was called, and without it nothing is written. Exit code 0: written; 1: written, and its replay differs from the run as
/// printed; 2: it failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of a finished run, or its name in --results
    #[arg(value_name = "RUN")]
    run: String,
    /// Archive to write, e.g. run.tar.gz; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of the runs that are given by name
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// File of cached answers that the run used [default: .answers.sqlite beside the run, or answers.sqlite of its state folder]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Configuration file of the run, for where its model was asked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, e.g. `--set grok.endpoint=https://host/v1`; may be repeated, beats file and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Put documents and outcomes in although they hold what counts as a secret
    #[arg(long)]
    with_secrets: bool,
    /// Leave the documents out; a replay then needs them from elsewhere (`replay --corpus`)
    #[arg(long)]
    without_corpus: bool,
    /// How to get the documents, as text for the reader
    #[arg(long, value_name = "TEXT")]
    corpus_source: Option<String>,
    /// Licence of the documents, as text for the reader
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Say what the archive would hold, and write none
    #[arg(long)]
    dry_run: bool,
    /// Workers that repeat the run [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
}

/// Writes the archive.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    anyhow::ensure!(args.dry_run || !args.out.exists(), "{} exists already", args.out.display());
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        tokio::select! {
            done = bundle(args, quiet) => done,
            () = interrupts.next() => Err(Interrupted).hint("no archive was written"),
        }
    })
}

async fn bundle(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let folder = find(args)?;
    let run = RunFile::load(&Store::local(&folder)?).await?;
    check(&run)?;
    let corpus = note(args, &run, &folder).await?;
    let settings = checked(
        &ConfigArgs { config: args.config.clone(), set: args.set.clone(), ..ConfigArgs::default() }
            .resolve()?,
    )?;
    let mode = run.config.proposer.mode;
    let asked = run.config.model().map(|_| settings.providers.destination(mode));
    let answers = Arc::new(answers(args, &run, &folder)?);
    let scratch = scratch(&args.out)?;
    let rerun = Rerun {
        run: run.clone(),
        asked: asked.clone(),
        answers: Arc::clone(&answers),
        out: scratch.path().to_owned(),
        workers: worker_count(args.workers),
    };
    let read = corpus_reader(folder.join(CORPUS_FILE));
    let comparison = Box::pin(repeat(rerun, read, &run, &folder, quiet)).await?;
    drop(scratch);
    let draft = Draft {
        fingerprint: comparison.recorded.to_string(),
        run: RunFile { corpus: corpus.name.clone(), ..run },
        folder,
        corpus,
        asked: asked.map(Into::into),
        licence: args.licence.clone(),
    };
    let used = answers.take_used();
    check_answered(args, &draft.run, &used, &comparison)?;
    let written = tokio::task::spawn_blocking({
        let (out, dry_run) = (args.out.clone(), args.dry_run);
        move || {
            let members = draft.members(&used)?;
            say_sizes(&members, &used.counts());
            if dry_run { Ok(None) } else { write(&out, &draft.run.run_id, &members).map(Some) }
                .with_context(|| format!("cannot write {}", out.display()))
        }
    });
    match written.await?? {
        Some(bytes) => output::say(&format!("wrote {}, {}", args.out.display(), size(bytes))),
        None => output::say("nothing was written (--dry-run)"),
    }
    output::print(&comparison.text())?;
    Ok(Exit::found(!comparison.is_same()))
}

/// Refuses what could not be replayed: where not one recorded answer was found, they were asked for under other keys.
fn check_answered(args: &Args, run: &RunFile, used: &Used, comparison: &Comparison) -> anyhow::Result<()> {
    let (answers, _) = used.counts();
    if answers > 0 || comparison.unanswered() == 0 {
        return Ok(());
    }
    let mode = run.config.proposer.mode.as_str();
    let given =
        if args.config.is_none() && args.set.is_empty() { "none was given" } else { "another was given" };
    Err(anyhow::anyhow!(
        "none of the recorded answers of run {} was found, so that no archive of it could be replayed: their keys depend on \
         the URL that was asked",
        run.run_id
    ))
    .hint(format!(
        "give the configuration that the run was given ({given}): --config FILE, or --set {mode}.endpoint=URL; or name the \
         file of its answers by --answers"
    ))
}

/// Says what the archive holds before it is written.
fn say_sizes(members: &[Member], (answers, verdicts): &(usize, usize)) {
    let mut sum = 0;
    for member in members {
        let bytes = member.size();
        sum += bytes;
        let count = match member.name.as_str() {
            names::ANSWERS => format!(", {answers} answers"),
            names::VERDICTS => format!(", {verdicts} verdicts"),
            _ => String::new(),
        };
        output::say(&format!("  {:>9} {}{count}", size(bytes), member.name));
    }
    output::say(&format!("  {:>9} in all, before it is packed", size(sum)));
}

/// The folder of the run.
fn find(args: &Args) -> anyhow::Result<PathBuf> {
    let path = Path::new(&args.run);
    let by_name = RunId::new(args.run.clone()).ok().map(|run_id| args.results.join(run_id.as_str()));
    let places = [Some(path.to_owned()), by_name];
    let found = places.into_iter().flatten().find(|place| place.join(RUN_FILE).is_file());
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "there is no finished run {} here, and none of that name in {}",
            args.run,
            args.results.display()
        )
    })
}

/// Refuses runs that cannot be repeated from what was recorded.
fn check(run: &RunFile) -> anyhow::Result<()> {
    let run_id = &run.run_id;
    anyhow::ensure!(
        run.state == RunState::Finished,
        "run {run_id} is {}: only a finished run can be bundled",
        run.state.as_str()
    );
    anyhow::ensure!(
        run.imported_from.is_none(),
        "run {run_id} was imported from published files: it was not made here, and cannot be repeated"
    );
    anyhow::ensure!(
        run.config.proposer.mode != ProposerMode::Command,
        "run {run_id} asked a program ({}) whose answers are not recorded: it cannot be repeated without it",
        run.config.proposer.program
    );
    Ok(())
}

/// What the archive says of the documents. Refuses those with secrets unless they are wanted.
async fn note(args: &Args, run: &RunFile, folder: &Path) -> anyhow::Result<CorpusNote> {
    let name = Path::new(&run.corpus).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut note = CorpusNote {
        name: name.unwrap_or_else(|| "standard input".to_owned()),
        hash: run.corpus_hash,
        included: !args.without_corpus,
        with_secrets: 0,
        source: args.corpus_source.clone(),
    };
    if run.config.store_secrets && !args.with_secrets {
        let refused: anyhow::Result<CorpusNote> =
            Err(anyhow::anyhow!("the outcomes of run {} hold secrets (store_secrets)", run.run_id));
        return refused.hint("--with-secrets puts them in");
    }
    if note.included {
        let (path, limits) = (folder.join(CORPUS_FILE), run.config.limits);
        let (found, all) = tokio::task::spawn_blocking(move || secret_documents(&path, &limits)).await??;
        note.with_secrets = found;
        if found > 0 && !args.with_secrets {
            let refused: anyhow::Result<CorpusNote> = Err(anyhow::anyhow!(
                "{found} of the {all} documents of run {} hold what counts as a secret, and a replay needs them whole",
                run.run_id
            ));
            return refused.hint(
                "--with-secrets puts them in; --without-corpus leaves all documents out, and a replay gets them by --corpus",
            );
        }
    }
    Ok(note)
}

/// The recorded answers and verdicts, in memory above their file.
fn answers(args: &Args, run: &RunFile, folder: &Path) -> anyhow::Result<ResponseCache> {
    if run.config.model().is_none() && run.judged_by.is_none() {
        return Ok(ResponseCache::in_memory()?);
    }
    let whole = folder.canonicalize().with_context(|| format!("cannot open {}", folder.display()))?;
    let beside = |levels: usize, name: &str| whole.ancestors().nth(levels).map(|place| place.join(name));
    let usual = [beside(1, &format!(".{ANSWERS_FILE}")), beside(2, ANSWERS_FILE)];
    let found = args.answers.clone().or_else(|| usual.into_iter().flatten().find(|path| path.is_file()));
    let Some(path) = found.filter(|path| path.is_file()) else {
        let missing: anyhow::Result<ResponseCache> =
            Err(anyhow::anyhow!("the file of cached answers of run {} was not found", run.run_id));
        return missing.hint("name it by --answers");
    };
    Ok(ResponseCache::above(&path)?)
}

/// A folder beside the archive, removed when it is dropped.
fn scratch(out: &Path) -> anyhow::Result<TempDir> {
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder);
    made.with_context(|| format!("cannot make a folder in {}", folder.display()))
}

/// Repeats a run, and compares its outcomes with those in `folder`.
pub(super) async fn repeat<S: Send + 'static>(
    rerun: Rerun,
    read: Reader<S>,
    run: &RunFile,
    folder: &Path,
    quiet: bool,
) -> anyhow::Result<Comparison> {
    let again = rerun.out.join(run.run_id.as_str());
    let progress = if quiet { Progress::silent() } else { Progress::start("records", Some(run.records), 0) };
    rerun.run(read, |status: &RunStatus| progress.update(&standing(status))).await?;
    drop(progress);
    let replayed = RunFile::load(&Store::local(&again)?).await?;
    let parts = |run: &RunFile, folder: &Path| -> Vec<Part> {
        run.parts.iter().map(|part| Part::File(folder.join(&part.name))).collect()
    };
    let (recorded, replayed) = (parts(run, folder), parts(&replayed, &again));
    let tools = !run.rescanned_by.is_empty();
    Ok(tokio::task::spawn_blocking(move || Comparison::of(recorded, replayed, tools)).await??)
}
