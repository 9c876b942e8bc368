//! The record path: parse → propose → verify → row, over the policies' fixtures.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::config::RunConfig;
use domain::ids::{ShardIndex, WorkerName};
use domain::policy::PolicyId;
use domain::record::Slice;
use worker::pipeline::{Context, run_slice};

/// Every fixture as a record of its own policy.
fn slice() -> Slice {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/fixtures/policies");
    let mut slice = Slice::default();
    for (position, policy) in PolicyId::ALL.iter().enumerate() {
        let text = std::fs::read_to_string(folder.join(policy.as_str()).join("bad.yaml")).expect("a fixture");
        let (record, document) = domain::testing::record(position as u64, policy.as_str(), &text);
        slice.records.push(record);
        slice.documents.push(document);
    }
    slice
}

fn record_path(criterion: &mut Criterion) {
    let slice = slice();
    let context = Context {
        config: RunConfig::default(),
        shard: ShardIndex(0),
        attempt: 1,
        worker: WorkerName::new("bench").expect("a legal name"),
    };
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(slice.records.len() as u64));
    group.bench_function("a fixture of each policy", |bencher| {
        bencher.iter(|| run_slice(black_box(&slice), &context));
    });
    group.finish();
}

criterion_group!(benches, record_path);
criterion_main!(benches);
