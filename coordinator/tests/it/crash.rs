//! A process that ends at any named point: the same command again gives the undisturbed run, and leaves nothing over.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;

use dataset::crash::Point;
use serde_json::Value;

use crate::ask::{Hand, answered, config, key, status, submit};
use crate::process::serve;
use crate::support::{coordinator, detections, run};

const RECORDS: usize = 30;

/// Points that are also tried later than at their first time: in the middle of the run, at its last shard, in its finish.
const LATER: &[(Point, u32)] = &[
    (Point::LeaseTentative, 4),
    (Point::LedgerApplied, 6),
    (Point::LedgerApplied, 14),
    (Point::LedgerDurable, 6),
    (Point::LedgerDurable, 14),
    (Point::PutBegun, 3),
    (Point::PutSynced, 5),
    (Point::PutNamed, 5),
    (Point::PartStored, 5),
    (Point::CommitRecorded, 5),
    (Point::Sweeping, 3),
];

/// Points that only a run comes by that asks a model.
const OF_ANSWERS: &[Point] = &[Point::AnswersApplied, Point::AnswersDurable];

struct Scene {
    folder: tempfile::TempDir,
    undisturbed: Value,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        detections(&folder.path().join("detections.json"), RECORDS);
        let undisturbed =
            run(&folder.path().join("detections.json"), &folder.path().join("undisturbed"), &[]);
        Self { folder, undisturbed }
    }

    fn out(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, name: &str, more: &[&str]) -> Output {
        let (corpus, out) = (self.folder.path().join("detections.json"), self.out(name));
        let (corpus, out) = (corpus.to_str().unwrap(), out.to_str().unwrap());
        let base = ["run", "--output", "json", "--corpus", corpus, "--out", out, "--run-id", "r"];
        coordinator(&[&base[..], &["--workers", "1", "--shard-size", "6"], more].concat())
    }

    /// Ends the process at `crash`, then again at `again` if it gets that far, then lets it finish.
    fn crash(&self, crash: &str, again: Option<&str>) {
        let name = crash.replace(':', "-");
        let output = self.run(&name, &["--crash-at", crash]);
        assert_eq!(output.status.signal(), Some(6), "{crash} was not reached: {output:?}");
        if let Some(again) = again {
            let output = self.run(&name, &["--crash-at", again]);
            assert!(output.status.signal() == Some(6) || output.status.success(), "{again}: {output:?}");
        }
        let output = self.run(&name, &[]);
        assert!(output.status.success(), "after {crash}: {}", String::from_utf8_lossy(&output.stderr));
        let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["fingerprint", "records", "accepted", "rejected", "errors"] {
            assert_eq!(closing[key], self.undisturbed[key], "{key} after {crash}");
        }
        self.nothing_is_left(&name);
    }

    fn nothing_is_left(&self, name: &str) {
        let run_folder = self.out(name).join("r");
        assert_eq!(
            names(&run_folder),
            [".coordinator", "corpus.parquet", "part-00000.parquet", "run.json"],
            "after {name}"
        );
        let state = names(&run_folder.join(".coordinator"));
        assert!(
            state.iter().all(|file| file == "lock" || file.starts_with("ledger.sqlite")),
            "after {name}: {state:?}"
        );
        assert_eq!(names(&self.out(name)), ["r"]);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_point_is_survived() {
    let scene = Scene::new();
    for point in Point::ALL.iter().filter(|point| !OF_ANSWERS.contains(point)) {
        scene.crash(point.as_str(), None);
    }
}

/// What a call came to is on its way to the disk when the coordinator ends: its worker says it again to the next one, and
/// it is paid for and counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_survives_a_crash_around_its_keeping() {
    for point in OF_ANSWERS {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (process, url) = serve(&state, &["--crash-at", point.as_str()]);
        submit(&url, folder.path(), "r", config(|_| ())).await;
        let mut hand = Hand::open(&url, "w").await;
        hand.ask("r", 1, key(1)).await;
        hand.hear_go(1).await;
        hand.end("r", 1, key(1), answered("paid")).await;
        assert_eq!(process.end().status.signal(), Some(6), "{} was not reached", point.as_str());
        drop(hand);

        let (_process, url) = serve(&state, &[]);
        let (mut hand, mut other) = (Hand::open(&url, "w").await, Hand::open(&url, "other").await);
        if *point == Point::AnswersDurable {
            other.ask("r", 1, key(1)).await;
            other.hear_known(1, "paid").await;
        }
        hand.end("r", 1, key(1), answered("paid")).await;
        hand.hear_kept(1).await;
        other.ask("r", 2, key(1)).await;
        other.hear_known(2, "paid").await;
        let model = status(&url, "r").await.model.unwrap();
        assert_eq!((model.calls, model.usage.total), (1, 1000), "after {}", point.as_str());
    }
}

#[test]
fn points_in_the_middle_and_at_the_end_are_survived_twice() {
    let scene = Scene::new();
    for (point, time) in LATER {
        scene.crash(&format!("{}:{time}", point.as_str()), Some(point.as_str()));
    }
}
