//! Sharding does not affect outcomes.

use crate::support::{detections, run};

#[test]
fn fingerprints_do_not_depend_on_workers_and_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let print = |workers: &str, shard_size: &str| {
        let closing = run(&corpus, &out, &["--workers", workers, "--shard-size", shard_size]);
        closing["fingerprint"].as_str().unwrap().to_owned()
    };
    let reference = print("1", "250");
    assert_eq!(reference.len(), 64);
    for (workers, shard_size) in [("1", "7"), ("2", "1"), ("2", "250"), ("4", "7"), ("4", "1")] {
        assert_eq!(print(workers, shard_size), reference, "{workers} workers, shards of {shard_size}");
    }
    detections(&corpus, 59);
    assert_ne!(print("1", "250"), reference, "another corpus has another fingerprint");
}
