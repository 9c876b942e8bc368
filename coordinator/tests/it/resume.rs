//! An abandoned run is resumed.

use std::num::NonZeroUsize;
use std::time::Duration;

use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, Machine, Workers, reader};
use domain::config::RunConfig;
use domain::ids::RunId;

use crate::support::{Served, address, detections, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_run_is_finished_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&path, 400);
    let mut config = RunConfig::default();
    config.fleet.shard_size = 1;
    let run_id = RunId::new("half").unwrap();
    let corpus = CorpusArgs { corpus: path.clone(), manifests: None };

    let served = Served::start(&out, "half").await;
    let mut client = Client::new(address(&served.url));
    let request = Request { run_id: run_id.clone(), config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, &config)).await.unwrap();
    let mut workers = Workers::none();
    workers.start(&address(&served.url), NonZeroUsize::MIN, &Machine::default()).unwrap();
    while client.status(&run_id).await.unwrap().committed < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    workers.drain().await;
    let before = client.status(&run_id).await.unwrap();
    assert!(before.committed < before.shards, "it was not abandoned half-way: {before:?}");
    assert_eq!(before.leased, 0, "unbegun leases have been released");
    served.stop().await;

    let resumed = run(&path, &out, &["--run-id", "half", "--shard-size", "1"]);
    let undisturbed = run(&path, &out, &["--run-id", "whole"]);
    assert_eq!(resumed["records"], 400);
    assert_eq!(resumed["fingerprint"], undisturbed["fingerprint"]);
}
