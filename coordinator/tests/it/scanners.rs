//! Runs whose repairs other scanners judge too: who is leased their shards, what stands in the results.

use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use coordinator::client::{Client, Request};
use coordinator::embedded::{CorpusArgs, Machine, Tool, Workers, open_scanners, reader};
use domain::config::{RunConfig, ScannersConfig};
use domain::ids::RunId;
use domain::outcome::Outcome;
use domain::run::RunState;
use domain::scanner::{Scanner, ScannerVersions};
use proto::convert::RunStatus;
use proto::v1;
use results::run_file::RunFile;
use results::store::Store;

use crate::fleet::{Held, TestWorker};
use crate::process::PATIENCE;
use crate::support::{Served, address, detections};

/// In the place of kube-linter: finds what is privileged. What is repaired for the tag of its image it finds to be new.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = version ]; then echo 0.8.3; exit 0; fi
for last; do :; done
found=
for file in "$last"/*/*.yaml; do
  grep -q 'privileged: true' "$file" && found="$found{\"Diagnostic\":{\"Message\":\"m\"},\"Check\":\"privileged-container\",\"Object\":{\"Metadata\":{\"FilePath\":\"$file\"}}},"
  grep -q ':stable' "$file" && found="$found{\"Diagnostic\":{\"Message\":\"m\"},\"Check\":\"stable-tag\",\"Object\":{\"Metadata\":{\"FilePath\":\"$file\"}}},"
done
echo "{\"Checks\":[],\"Reports\":[${found%,}],\"Summary\":{\"ChecksStatus\":\"Failed\"}}"
exit 1
"#;

fn config(with_scanner: bool) -> RunConfig {
    let mut config = RunConfig::default();
    config.fleet.shard_size = 10;
    if with_scanner {
        config.verifier.rescan = [Scanner::Builtin, Scanner::KubeLinter].into_iter().collect();
    }
    config
}

async fn tools(folder: &Path, config: &RunConfig) -> Vec<Tool> {
    let program = folder.join("kube-linter");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut detector = ScannersConfig::default();
    detector.tools.kube_linter = program.display().to_string();
    open_scanners(config, detector).await.unwrap()
}

async fn submit(served: &Served, corpus: &Path, run: &str, config: &RunConfig) -> Client {
    let corpus = CorpusArgs { corpus: corpus.to_owned(), manifests: None };
    let mut client = Client::new(address(&served.url));
    let request = Request { run_id: RunId::new(run).unwrap(), config: config.clone(), source: corpus.name() };
    client.submit(request, reader(&corpus, config)).await.unwrap();
    client
}

async fn run(served: &Served, corpus: &Path, run: &str, config: &RunConfig, tools: &[Tool]) -> RunStatus {
    let mut client = submit(served, corpus, run, config).await;
    let two = NonZeroUsize::new(2).unwrap();
    let machine = Machine { scanners: tools.to_vec(), ..Machine::default() };
    let mut workers = Workers::none();
    workers.start(&address(&served.url), two, &machine).unwrap();
    let run_id = RunId::new(run).unwrap();
    let ended = tokio::time::timeout(3 * PATIENCE, client.follow(&run_id, |_| {})).await;
    let status = ended.expect("it ends").unwrap();
    assert_eq!(status.state, RunState::Finished, "{status:?}");
    workers.drain().await;
    status
}

/// The rows of a run.
fn outcomes(run: &Path) -> Vec<Outcome> {
    let entries = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let parts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    let parts = parts.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    results::scan::outcomes(parts.map(Into::into)).map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_scanner_says_of_repairs_stands_in_columns_and_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let served = Served::start(&out, "with").await;
    let tools = tools(folder.path(), &config(true)).await;
    let with = run(&served, &corpus, "with", &config(true), &tools).await;
    let again = run(&served, &corpus, "again", &config(true), &tools).await;
    let without = run(&served, &corpus, "without", &config(false), &tools).await;
    served.stop().await;
    assert_eq!(with.fingerprint, again.fingerprint);
    assert_ne!(with.fingerprint, without.fingerprint);
    assert_eq!(with.tally.accepted, without.tally.accepted);

    let load = async |run: &str| RunFile::load(&Store::local(&out.join(run)).unwrap()).await.unwrap();
    let mut versions = ScannerVersions::default();
    versions.add(Scanner::KubeLinter, "0.8.3").unwrap();
    assert_eq!(load("with").await.rescanned_by, versions);
    assert!(load("without").await.rescanned_by.is_empty());
    let rows = outcomes(&out.join("with"));
    assert!(outcomes(&out.join("without")).iter().all(|row| row.tool_rescans.is_empty()));
    let (mut cleared, mut new) = (0, 0);
    for row in rows {
        let Some(rescan) = row.tool_rescans.get(&Scanner::KubeLinter) else {
            assert!(!row.accepted(), "{}", row.record_id);
            continue;
        };
        assert!(row.accepted());
        assert_eq!(rescan.cleared, (row.policy_id == "no_privileged").then_some(true), "{}", row.record_id);
        let is_tagged = row.policy_id == "no_latest_tag";
        assert_eq!(rescan.new, if is_tagged { vec!["stable-tag"] } else { vec![] }, "{}", row.record_id);
        cleared += u32::from(rescan.cleared == Some(true));
        new += u32::from(is_tagged);
    }
    assert!(cleared > 0 && new > 0, "{cleared} {new}");
}

/// Requests a shard; whether one is leased soon.
async fn is_leased(worker: &mut TestWorker) -> Option<Held> {
    tokio::time::timeout(Duration::from_millis(500), worker.lease()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_asks_a_scanner_is_leased_to_workers_with_one_version_of_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 60);
    let served = Served::start(&out, "r").await;
    let mut client = submit(&served, &corpus, "r", &config(true)).await;
    let mut without = TestWorker::join(&served.url, "without").await;
    assert!(is_leased(&mut without).await.is_none());
    let run_id = RunId::new("r").unwrap();
    let trouble = client.status(&run_id).await.unwrap().trouble.unwrap();
    assert_eq!(trouble, "no worker can start kube-linter: give one --scanners with them");

    let scanners = |version: &str| {
        let scanner = |name: &str, version: &str| v1::ScannerVersion {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        vec![scanner("kube-linter", version), scanner("kyverno", "1")]
    };
    let mut with = TestWorker::join_as(&served.url, "with", None, scanners("0.8.3")).await;
    let held = is_leased(&mut with).await.expect("it can start kube-linter");
    assert_eq!(client.status(&run_id).await.unwrap().trouble, None);
    let mut other = TestWorker::join_as(&served.url, "other", None, scanners("0.7.0")).await;
    assert!(is_leased(&mut other).await.is_none(), "one version judges a run");
    let mut same = TestWorker::join_as(&served.url, "same", None, scanners("0.8.3")).await;
    assert!(is_leased(&mut same).await.is_some());

    // Also after a restart of the coordinator.
    with.commit(&held).await.unwrap();
    drop((without, with, other, same));
    served.stop().await;
    let served = Served::start(&out, "r").await;
    let mut other = TestWorker::join_as(&served.url, "other", None, scanners("0.7.0")).await;
    assert!(is_leased(&mut other).await.is_none());
    let mut client = Client::new(address(&served.url));
    let trouble = client.status(&run_id).await.unwrap().trouble.unwrap();
    assert_eq!(trouble, "no worker can start kube-linter 0.8.3, which judged the first repairs of the run");
    served.stop().await;
}
