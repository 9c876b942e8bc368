//! Runs to analyse, and the binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use domain::api_server::SchemaDepth;
use domain::config::RunConfig;
use domain::ids::{CorpusHash, DocumentHash, PartHash, RecordId, RunId, ShardIndex};
use domain::outcome::{
    Caution, ErrorKind, Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, Verdict,
};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::run::RunState;
use results::corpus_copy::CorpusWriter;
use results::layout::{CORPUS_FILE, RUN_FILE};
use results::paper_files::Import;
use results::part::{PartWriter, write_part};
use results::run_file::{FormatVersion, ImportedFrom, PartEntry, RunFile};
use serde_json::Value;

/// The binary.
pub(crate) fn analysis(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("analysis").unwrap();
    command.args(args).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// What the binary prints when it succeeds.
pub(crate) fn stdout(args: &[&str]) -> String {
    let output = analysis(args).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

/// The JSON that the binary prints.
pub(crate) fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

/// What the binary says when it fails.
pub(crate) fn failure(args: &[&str]) -> String {
    let output = analysis(args).assert().code(2).get_output().stderr.clone();
    String::from_utf8(output).unwrap()
}

pub(crate) fn passed() -> GateResult {
    GateResult { verdict: Verdict::Passed, errors: vec![], ms: Some(0.5) }
}

pub(crate) fn failed(message: &str) -> GateResult {
    GateResult::from_errors(vec![message.to_owned()])
}

/// An accepted row whose patch has `ops` operations.
pub(crate) fn accepted(position: u64, policy: &str, ops: usize) -> Outcome {
    let op = || Op::Remove { path: Pointer::of(["spec"]) };
    let patch = Patch(std::iter::repeat_with(op).take(ops).collect());
    Outcome {
        record_id: RecordId::new(format!("{:03}", position + 1)).unwrap(),
        position,
        shard: ShardIndex(0),
        manifest_path: format!("manifests/{position}.yaml"),
        document: Some(DocumentHash::of(&position.to_le_bytes())),
        kind: "Pod".to_owned(),
        namespace: String::new(),
        name: "web".to_owned(),
        policy_id: policy.to_owned(),
        raw_policy_id: policy.replace('_', "-"),
        source: "rules".to_owned(),
        mode: "rules".to_owned(),
        model: None,
        guardrails: "targeted".to_owned(),
        proposal: Some(Arc::new(Proposal { patch, ..Proposal::default() })),
        attempts: 1,
        attempt_errors: vec![],
        status: Status::Accepted,
        gates: Arc::new(Gates {
            apply: passed(),
            policy: passed(),
            safety: passed(),
            schema_before: passed(),
            schema: passed(),
            rescan: passed(),
        }),
        fault: Fault::None,
        new_violations: vec![],
        errors: vec![],
        patched_yaml: Some("kind: Pod\n".into()),
        usage: ModelUsage::default(),
        timing: Timing::default(),
        worker: "w1".to_owned(),
        attempt: 1,
        error_kind: None,
        schema_depth: Some(SchemaDepth::Embedded),
        server: None,
        published: None,
        tool_rescans: std::collections::BTreeMap::new(),
    }
}

fn change(mut outcome: Outcome, change: &dyn Fn(&mut Outcome)) -> Outcome {
    change(&mut outcome);
    outcome
}

fn proposal(outcome: &mut Outcome, change: &dyn Fn(&mut Proposal)) {
    let mut proposal = outcome.proposal.as_deref().cloned().unwrap();
    change(&mut proposal);
    outcome.proposal = Some(Arc::new(proposal));
}

fn gates(outcome: &mut Outcome, change: &dyn Fn(&mut Gates)) {
    let mut gates = Gates::clone(&outcome.gates);
    change(&mut gates);
    outcome.gates = Arc::new(gates);
}

/// Ten rows that differ in everything the figures are about.
pub(crate) fn ten() -> Vec<Outcome> {
    vec![
        change(accepted(0, "no_latest_tag", 1), &|row| {
            proposal(row, &|proposal| proposal.cautions = vec![Caution::TagUnverified]);
            row.timing.propose_ms = Some(500.0);
            row.timing.verify_ms = Some(1000.0);
        }),
        change(accepted(1, "no_latest_tag", 3), &|row| {
            proposal(row, &|proposal| {
                proposal.cautions = vec![Caution::TagUnverified, Caution::WritesMayFail];
                proposal.collateral_ops = 2;
            });
            row.timing.propose_ms = Some(1500.0);
            row.timing.verify_ms = Some(2000.0);
        }),
        change(accepted(2, "no_privileged", 2), &|row| {
            row.source = String::from("grok");
            row.usage.prompt_tokens = Some(100);
            row.usage.total_tokens = Some(150);
        }),
        change(accepted(3, "no_privileged", 6), &|row| {
            gates(row, &|gates| gates.rescan = GateResult::NOT_RUN);
        }),
        change(accepted(4, "no_latest_tag", 1), &|row| {
            row.status = Status::Rejected;
            row.fault = Fault::Document;
            row.errors = vec!["spec.x: unknown field {1} not found".to_owned(), "second".to_owned()];
            gates(row, &|gates| {
                gates.schema_before = failed("spec.x");
                gates.schema = failed("spec.x");
            });
        }),
        change(accepted(5, "no_latest_tag", 1), &|row| {
            row.status = Status::Rejected;
            row.fault = Fault::Document;
            row.errors = vec!["spec.x: unknown field {2} not found".to_owned()];
            gates(row, &|gates| {
                gates.schema_before = failed("spec.x");
                gates.schema = failed("spec.x");
            });
        }),
        change(accepted(6, "drop_capabilities", 1), &|row| {
            row.status = Status::Rejected;
            row.kind = String::from("Deployment");
            row.fault = Fault::Patch;
            row.errors = vec!["a container was lost".to_owned()];
            gates(row, &|gates| {
                *gates =
                    Gates { apply: passed(), safety: failed("lost"), policy: failed("p"), ..Gates::NOT_RUN };
            });
        }),
        change(accepted(7, "dangling_service", 0), &|row| {
            row.status = Status::NeedsReview;
            row.proposal = None;
            row.errors = vec!["no workload matches".to_owned()];
            row.gates = Arc::new(Gates { schema_before: passed(), ..Gates::NOT_RUN });
        }),
        change(accepted(8, "no_latest_tag", 0), &|row| {
            row.status = Status::NotApplicable;
            row.proposal = None;
            row.gates = Arc::new(Gates::NOT_RUN);
        }),
        change(accepted(9, "other", 0), &|row| {
            row.status = Status::Error;
            row.error_kind = Some(ErrorKind::NoRule);
            row.fault = Fault::Proposer;
            row.proposal = None;
            row.document = None;
            row.gates = Arc::new(Gates::NOT_RUN);
        }),
    ]
}

/// Writes a part.
pub(crate) fn write(path: &Path, run: &str, outcomes: &[Outcome]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, write_part(&RunId::new(run).unwrap(), outcomes).unwrap()).unwrap();
}

/// Writes the folder of a run with these parts and its `run.json`.
pub(crate) fn run_folder(dir: &Path, run: &str, parts: &[&[Outcome]], state: RunState) -> PathBuf {
    let folder = dir.join(run);
    let records: usize = parts.iter().map(|part| part.len()).sum();
    std::fs::create_dir_all(&folder).unwrap();
    let entries = parts.iter().enumerate().map(|(index, outcomes)| {
        let name = format!("part-{index:05}.parquet");
        write(&folder.join(&name), run, outcomes);
        PartEntry { name, rows: outcomes.len() as u64, hash: PartHash::of(b"") }
    });
    let entries = entries.collect();
    write_run_file(&folder, run, records as u64, entries, state, None);
    folder
}

fn write_run_file(
    folder: &Path,
    run: &str,
    records: u64,
    parts: Vec<PartEntry>,
    state: RunState,
    imported_from: Option<ImportedFrom>,
) {
    let config = RunConfig::default();
    let file = RunFile {
        format: FormatVersion::CURRENT,
        run_id: RunId::new(run).unwrap(),
        state,
        version: "0.0.0".to_owned(),
        created_at: None,
        finished_at: None,
        records,
        counts: BTreeMap::new(),
        corpus_hash: CorpusHash::of(b""),
        corpus: "corpus".to_owned(),
        documents: config.documents,
        seed: config.seed,
        shard_size: 250,
        workers: 1,
        wall_s: None,
        cpu_s: None,
        peak_rss_mb: None,
        parts,
        imported_from,
        judged_by: None,
        rescanned_by: domain::scanner::ScannerVersions::default(),
        models: domain::tally::ModelTally::default(),
        config_hash: config.hash(),
        config,
    };
    std::fs::write(folder.join(RUN_FILE), serde_json::to_vec(&file).unwrap()).unwrap();
}

/// Makes a run of published detections, patches and verdicts.
pub(crate) fn import(dir: &Path, run: &str, files: [&Path; 3]) -> PathBuf {
    let folder = dir.join(run);
    std::fs::create_dir_all(&folder).unwrap();
    let [detections, patches, verified] = files.map(|file| file.to_str().unwrap().to_owned());
    let mut import =
        Import::open(&detections, Some(&patches), Some(&verified), &RunConfig::default().limits).unwrap();
    let mut corpus = CorpusWriter::create(&folder.join(CORPUS_FILE)).unwrap();
    let name = "part-00000.parquet".to_owned();
    let file = std::fs::File::create(folder.join(&name)).unwrap();
    let mut part = PartWriter::new(file, RunId::new(run).unwrap()).unwrap();
    let mut rows = 0;
    let mut outcomes = vec![];
    for imported in &mut import {
        let imported = imported.unwrap();
        corpus.push(imported.record, &imported.document).unwrap();
        outcomes.push(imported.outcome);
        rows += 1;
        if outcomes.len() == 1000 {
            part.write(&outcomes).unwrap();
            outcomes.clear();
        }
    }
    part.write(&outcomes).unwrap();
    part.finish().unwrap();
    corpus.finish().unwrap();
    let from = ImportedFrom {
        detections,
        patches: Some(patches),
        verified: Some(verified),
        entries: import.report().entries(),
    };
    let entry = PartEntry { name, rows, hash: PartHash::of(b"") };
    write_run_file(&folder, run, rows, vec![entry], RunState::Finished, Some(from));
    folder
}
