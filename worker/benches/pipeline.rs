//! The record path: parse → propose → verify → row, on one thread, over the policies' fixtures and, where it is
//! installed, the published corpus.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::config::RunConfig;
use domain::ids::{ShardIndex, WorkerName};
use domain::policy::PolicyId;
use domain::published::Detection;
use domain::record::{Neighbours, Slice, SourceDocument};
use worker::pipeline::{Context, run_slice};

/// Every fixture as a record of its own policy.
fn slice() -> Slice {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures/policies");
    let mut slice = Slice::default();
    for (position, policy) in PolicyId::PAPER.iter().enumerate() {
        let text = std::fs::read_to_string(folder.join(policy.as_str()).join("bad.yaml")).expect("a fixture");
        let (record, document) = domain::testing::record(position as u64, policy.as_str(), &text);
        slice.records.push(record);
        slice.documents.push(document);
    }
    slice
}

/// The published corpus in slices of 250 records, each document once a slice; `None` where it is not installed.
fn published() -> Option<Vec<Slice>> {
    let file =
        std::fs::File::open(domain::testing::corpus("rules_full/detections.json.gz")?).expect("a file");
    let detections: Vec<Detection> =
        serde_json::from_reader(flate2::read::GzDecoder::new(std::io::BufReader::new(file)))
            .expect("detections");
    let mut slices = vec![];
    for (chunk, detections) in detections.chunks(250).enumerate() {
        let (mut slice, mut seen) = (Slice::default(), BTreeSet::new());
        for (place, detection) in detections.iter().enumerate() {
            let text = detection.manifest_yaml.clone().unwrap_or_default();
            let document = SourceDocument::new(text, Neighbours::Unknown);
            let (mut record, _) =
                domain::testing::record((chunk * 250 + place) as u64, &detection.policy_id, "");
            record.document = document.hash;
            slice.records.push(record);
            if seen.insert(document.hash) {
                slice.documents.push(document);
            }
        }
        slices.push(slice);
    }
    Some(slices)
}

fn record_path(criterion: &mut Criterion) {
    let slice = slice();
    let context = Context {
        config: RunConfig::default(),
        shard: ShardIndex(0),
        attempt: 1,
        worker: WorkerName::new("bench").expect("a valid name"),
        arrived: Instant::now(),
        server: None,
        rescans: None,
    };
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(slice.records.len() as u64));
    group.bench_function("a fixture of each policy", |bencher| {
        bencher.iter(|| run_slice(black_box(&slice), &context));
    });
    if let Some(slices) = published() {
        group.sample_size(10);
        group.throughput(Throughput::Elements(slices.iter().map(|slice| slice.records.len() as u64).sum()));
        group.bench_function("the published corpus", |bencher| {
            bencher.iter(|| {
                slices.iter().map(|slice| run_slice(black_box(slice), &context).len()).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, record_path);
criterion_main!(benches);
