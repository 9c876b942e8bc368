//! Benchmarks: to write, read, fingerprint and compact parts, to read detections, and to write and read a run's corpus.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use domain::api_server::SchemaDepth;
use domain::config::Limits;
use domain::ids::{DocumentHash, RecordId, RunId, ShardIndex};
use domain::outcome::{Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, Verdict};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::published::Detection;
use domain::record::{Neighbours, Record, SourceDocument};
use results::compact::merge;
use results::corpus_copy::{CorpusReader, CorpusWriter};
use results::fingerprint::fingerprint;
use results::input::json::Detections;
use results::part::write_part;
use results::scan::{Part, outcomes};

/// Records of each benchmark, a tenth of the published corpus.
const ROWS: u64 = 1_366;

/// Rows of a shard.
const SHARD: usize = 250;

fn run_id() -> RunId {
    RunId::new("bench").expect("a legal id")
}

/// A manifest of some 5.6 kB, the average of the published corpus; four records share one.
fn manifest(number: u64) -> String {
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{}\nspec:\n  template:\n    spec:\n      containers:\n",
        number / 4
    );
    for container in 0..24 {
        let port = 8000 + (number / 4 * 31 + container) % 999;
        let _ = write!(
            text,
            "      - name: c{container}\n        image: registry.example/app-{}/{container}:1.{port}\n        ports:\n        - \
             containerPort: {port}\n        env:\n        - name: MODE\n          value: m{port}\n        resources: {{}}\n",
            number / 4
        );
    }
    text
}

fn outcome(position: u64) -> Outcome {
    let passed = || GateResult { verdict: Verdict::Passed, errors: Vec::new(), ms: Some(0.1) };
    let container = position % 24;
    let container_path =
        Pointer::of(["spec", "template", "spec", "containers"]).child(&container.to_string());
    let patch = Patch(vec![
        Op::Add {
            path: container_path.child("securityContext"),
            value: serde_json::json!({"readOnlyRootFilesystem": true}),
        },
        Op::Add {
            path: container_path.child("resources"),
            value: serde_json::json!({"limits": {"cpu": "500m"}}),
        },
    ]);
    Outcome {
        record_id: RecordId::new(format!("{:05}", position + 1)).expect("digits are legal"),
        position,
        shard: ShardIndex(0),
        manifest_path: format!("manifests/app-{}.yaml", position / 4),
        document: Some(DocumentHash::of(&(position / 4).to_le_bytes())),
        kind: "Deployment".to_owned(),
        namespace: String::new(),
        name: format!("app-{}", position / 4),
        policy_id: "read_only_root_fs".to_owned(),
        raw_policy_id: "no-read-only-root-fs".to_owned(),
        source: "rules".to_owned(),
        mode: "rules".to_owned(),
        model: None,
        guardrails: "targeted".to_owned(),
        proposal: Some(Arc::new(Proposal { patch, ..Proposal::default() })),
        attempts: 1,
        attempt_errors: Vec::new(),
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
        new_violations: Vec::new(),
        errors: Vec::new(),
        patched_yaml: Some((manifest(position) + &format!("# {position}\n")).into()),
        usage: ModelUsage::default(),
        timing: Timing { total_ms: Some(0.2), started_at_us: Some(1), ..Timing::default() },
        worker: "w1".to_owned(),
        attempt: 1,
        error_kind: None,
        schema_depth: Some(SchemaDepth::Embedded),
        server: None,
        published: None,
        tool_rescans: std::collections::BTreeMap::new(),
    }
}

fn parts(rows: &[Outcome]) -> Vec<Part> {
    let write = |rows| write_part(&run_id(), rows).expect("rows fit a part").into();
    rows.chunks(SHARD).map(write).collect()
}

fn bench_parts(c: &mut Criterion) {
    let rows: Vec<Outcome> = (0..ROWS).map(outcome).collect();
    let parts = parts(&rows);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = c.benchmark_group("part");
    group.sample_size(20).throughput(Throughput::Elements(ROWS));
    group.bench_function("write in shards", |b| {
        b.iter(|| {
            rows.chunks(SHARD).map(|rows| write_part(&run_id(), rows).expect("rows fit").len()).sum::<usize>()
        });
    });
    group.bench_function("write one row", |b| {
        b.iter(|| write_part(&run_id(), black_box(&rows[..1])).expect("fits").len());
    });
    group.bench_function("scan", |b| {
        b.iter(|| outcomes(parts.clone()).map(|row| row.expect("our own parts").position).sum::<u64>());
    });
    group.bench_function("fingerprint", |b| b.iter(|| fingerprint(parts.clone()).expect("our own parts")));
    group.bench_function("compact", |b| {
        b.iter(|| {
            merge(parts.iter().cloned().map(Ok::<_, &str>), folder.path(), 1 << 20)
                .expect("parts in order")
                .0
                .len()
        });
    });
    group.finish();
}

fn bench_corpus(c: &mut Criterion) {
    let detections: Vec<Detection> = (0..ROWS)
        .map(|number| Detection {
            id: format!("{:05}", number + 1),
            manifest_path: Some(format!("manifests/app-{}.yaml", number / 4)),
            manifest_yaml: Some(manifest(number)),
            policy_id: "no-read-only-root-fs".to_owned(),
            violation_text: String::new(),
        })
        .collect();
    let json = serde_json::to_vec_pretty(&detections).expect("plain values");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("corpus.parquet");
    let write = || {
        let mut writer = CorpusWriter::create(&path).expect("a writable folder");
        for (position, detection) in (0..).zip(&detections) {
            let document =
                SourceDocument::new(detection.manifest_yaml.clone().unwrap_or_default(), Neighbours::Unknown);
            let record = Record {
                id: RecordId::new(detection.id.clone()).expect("digits are legal"),
                position,
                manifest_path: detection.manifest_path.clone().unwrap_or_default(),
                document: document.hash,
                raw_policy_id: detection.policy_id.clone(),
                violation_text: String::new(),
                problem: None,
            };
            writer.push(record, &document).expect("a writable disk");
        }
        writer.finish().expect("a writable disk")
    };
    let mut group = c.benchmark_group("corpus");
    group.sample_size(20).throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("read json", |b| {
        b.iter_batched(
            || Detections::new("bench", json.as_slice(), &Limits::default()),
            |entries| entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.content.is_ok())).count(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("write slices", |b| b.iter(write));
    write();
    group.bench_function("read slices", |b| {
        b.iter(|| {
            let reader = CorpusReader::open(&path).expect("our own file");
            let shards = (0..ROWS).step_by(SHARD);
            shards
                .map(|start| reader.slice(start, SHARD as u64).expect("our own file").records.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, bench_parts, bench_corpus);
criterion_main!(benches);
