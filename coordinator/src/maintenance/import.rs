//! Imports published files as a finished run: corpus, one part, `run.json`.
//!
//! *Invariant*: `run.json` is written last; a folder without it is not a run, and a repeated import replaces its content.

use cli_support::usage::Usage;
use std::io::{BufReader, Read, Seek};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use domain::config::{GateProfile, Guardrails, RunConfig};
use domain::ids::{PartHash, RunId};
use domain::outcome::Outcome;
use domain::run::RunState;
use domain::tally::Tally;
use results::corpus_copy::CorpusWriter;
use results::fingerprint::fingerprint;
use results::layout::{CORPUS_FILE, corpus_object, final_part};
use results::paper_files::{Import, ImportReport};
use results::part::PartWriter;
use results::run_file::{FormatVersion, ImportedFrom, PartEntry, RunFile};
use results::store::Store;
use tempfile::NamedTempFile;

use crate::run::run_folder::{self, Maker, check_free};

/// Outcomes in a batch of the Parquet writer.
const BATCH: usize = 1000;

/// The published files.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) detections: String,
    pub(crate) patches: Option<String>,
    pub(crate) verified: Option<String>,
}

/// Result of an import.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) run_file: RunFile,
    pub(crate) tally: Tally,
    pub(crate) fingerprint: String,
    pub(crate) report: ImportReport,
    pub(crate) location: String,
}

/// Imports `files` as run `run_id` into `store`.
pub(crate) async fn import(files: &Files, run_id: &RunId, store: &Store) -> anyhow::Result<Imported> {
    let begun = Instant::now();
    let folder = store.folder(run_id.as_str())?;
    check_free(&folder, run_id, Maker::Import, None).await?;
    run_folder::mark(&folder, run_id, Maker::Import).await?;
    // What an interrupted import left.
    for object in folder.list().await? {
        folder.delete(&object.key).await?;
    }
    let (files, id, scratch) = (files.clone(), run_id.clone(), folder.clone());
    let written = tokio::task::spawn_blocking(move || write(&files, &id, &scratch)).await??;
    let Written { corpus, corpus_summary, part, part_hash, tally, report, imported_from } = written;
    let corpus_key =
        if folder.is_local() { CORPUS_FILE.to_owned() } else { corpus_object(corpus_summary.corpus_hash) };
    folder.put_file(&corpus_key, corpus).await?;
    let name = final_part(0, part_hash);
    folder.put_file(&name, part).await?;
    let parts = vec![folder.part(&name).await?];
    let fingerprint = tokio::task::spawn_blocking(move || fingerprint(parts)).await??.to_string();
    let config = config();
    let usage = Usage::of_this_process();
    let run_file = RunFile {
        format: FormatVersion::CURRENT,
        run_id: run_id.clone(),
        state: RunState::Finished,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Some(SystemTime::now()),
        finished_at: Some(SystemTime::now()),
        records: corpus_summary.records,
        counts: tally.counts(),
        corpus_hash: corpus_summary.corpus_hash,
        corpus: imported_from.detections.clone(),
        documents: config.documents,
        seed: config.seed,
        shard_size: config.fleet.shard_size,
        workers: 0,
        wall_s: Some(begun.elapsed().as_secs_f64()),
        cpu_s: usage.map(|usage| usage.cpu_s),
        peak_rss_mb: usage.map(|usage| usage.peak_rss_mb),
        parts: vec![PartEntry { name, rows: tally.records, hash: part_hash }],
        imported_from: Some(imported_from),
        judged_by: None,
        rescanned_by: domain::scanner::ScannerVersions::default(),
        models: domain::tally::ModelTally::default(),
        config_hash: config.hash(),
        config,
    };
    run_file.save(&folder).await?;
    Ok(Imported { run_file, tally, fingerprint, report, location: folder.location().to_owned() })
}

/// Configuration of the published runs.
fn config() -> RunConfig {
    let mut config = RunConfig { guardrails: Guardrails::Paper, ..RunConfig::default() };
    config.verifier.gates = GateProfile::Published;
    config
}

struct Written {
    corpus: NamedTempFile,
    corpus_summary: results::corpus_copy::CorpusSummary,
    part: NamedTempFile,
    part_hash: PartHash,
    tally: Tally,
    report: ImportReport,
    imported_from: ImportedFrom,
}

fn write(files: &Files, run_id: &RunId, folder: &Store) -> anyhow::Result<Written> {
    let scratch = folder.scratch();
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let file =
        || NamedTempFile::new_in(&scratch).with_context(|| format!("cannot write in {}", scratch.display()));
    let limits = config().limits;
    let mut import =
        Import::open(&files.detections, files.patches.as_deref(), files.verified.as_deref(), &limits)?;
    let corpus = file()?;
    let mut writer = CorpusWriter::create(corpus.path())?;
    let mut rows = PartWriter::new(file()?, run_id.clone())?;
    let (mut tally, mut batch): (Tally, Vec<Outcome>) = (Tally::default(), Vec::with_capacity(BATCH));
    for imported in import.by_ref() {
        let imported = imported?;
        writer.push(imported.record, &imported.document)?;
        tally.count(&imported.outcome);
        batch.push(imported.outcome);
        if batch.len() >= BATCH {
            rows.write(&batch)?;
            batch.clear();
        }
    }
    rows.write(&batch)?;
    anyhow::ensure!(tally.records > 0, "{} holds no readable detection", files.detections);
    let mut part = rows.finish()?;
    let part_hash = hash(&mut part)?;
    let imported_from = ImportedFrom {
        detections: files.detections.clone(),
        patches: files.patches.clone(),
        verified: files.verified.clone(),
        entries: import.report().entries(),
    };
    let corpus_summary = writer.finish()?;
    Ok(Written {
        corpus,
        corpus_summary,
        part,
        part_hash,
        tally,
        report: import.report().clone(),
        imported_from,
    })
}

fn hash(file: &mut NamedTempFile) -> std::io::Result<PartHash> {
    file.as_file_mut().rewind()?;
    let mut hasher = blake3::Hasher::new();
    let mut reader = BufReader::with_capacity(1 << 20, file.as_file_mut());
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut chunk)?;
        if read == 0 {
            return Ok(PartHash::from_bytes(*hasher.finalize().as_bytes()));
        }
        hasher.update(chunk.get(..read).unwrap_or_default());
    }
}
