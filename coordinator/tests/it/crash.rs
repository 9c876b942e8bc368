//! Crash points: after the process ends at any of them, the same command gives the undisturbed run and leaves no files.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::LazyLock;

use results::crash::Point;
use serde_json::Value;

use crate::llm_stream::{TestStream, answered, config, key, status, submit};
use crate::process::{Process, serve};
use crate::support::{coordinator, detections, final_part_name, run};

const RECORDS: usize = 30;

/// Summary of the run without a crash.
static UNDISTURBED: LazyLock<Value> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    detections(&folder.path().join("detections.json"), RECORDS);
    run(&folder.path().join("detections.json"), &folder.path().join("undisturbed"), &[])
});

/// A test for each of the points, and the list of them.
macro_rules! points {
    ($module:ident, $survives:ident: $($name:ident = $point:ident,)*) => {
        mod $module {
            use results::crash::Point;

            pub(super) const TESTED: &[Point] = &[$(Point::$point,)*];

            $(
                #[test]
                fn $name() {
                    super::$survives(Point::$point);
                }
            )*
        }
    };
}

points! { once, is_survived:
    corpus_arrived = CorpusArrived,
    corpus_placed = CorpusPlaced,
    run_recorded = RunRecorded,
    lease_tentative = LeaseTentative,
    ledger_applied = LedgerApplied,
    ledger_durable = LedgerDurable,
    lease_recorded = LeaseRecorded,
    part_received = PartReceived,
    put_begun = PutBegun,
    put_synced = PutSynced,
    put_named = PutNamed,
    part_stored = PartStored,
    commit_recorded = CommitRecorded,
    finish_begun = FinishBegun,
    compaction_begun = CompactionBegun,
    compaction_done = CompactionDone,
    final_part_placed = FinalPartPlaced,
    run_file_written = RunFileWritten,
    run_finished = RunFinished,
    sweeping = Sweeping,
}

// Points that only a run with an LLM proposer reaches.
points! { of_answers, is_survived_by_an_answer:
    answers_applied = AnswersApplied,
    answers_durable = AnswersDurable,
}

// Points before the permit of a call.
points! { of_calls, is_survived_by_a_call:
    calls_applied = CallsApplied,
    calls_durable = CallsDurable,
}

#[test]
fn every_point_has_a_test() {
    let mut tested = [once::TESTED, of_calls::TESTED, of_answers::TESTED].concat();
    let place = |point: &Point| Point::ALL.iter().position(|known| known == point);
    tested.sort_by_key(place);
    assert_eq!(tested, Point::ALL);
}

/// Tests of points at a later time than the first: in the middle of the run, at its last shard, while it is finalized. Then
/// the next process ends, too, at the first time.
macro_rules! later {
    ($($name:ident = $point:ident, $time:literal;)*) => {
        mod later {
            use results::crash::Point;

            $(
                #[test]
                fn $name() {
                    let point = Point::$point.as_str();
                    super::Scene::new().crash(&format!("{point}:{}", $time), Some(point));
                }
            )*
        }
    };
}

later! {
    lease_tentative_4 = LeaseTentative, 4;
    ledger_applied_6 = LedgerApplied, 6;
    ledger_applied_14 = LedgerApplied, 14;
    ledger_durable_6 = LedgerDurable, 6;
    ledger_durable_14 = LedgerDurable, 14;
    put_begun_3 = PutBegun, 3;
    put_synced_5 = PutSynced, 5;
    put_named_5 = PutNamed, 5;
    part_stored_5 = PartStored, 5;
    commit_recorded_5 = CommitRecorded, 5;
    sweeping_3 = Sweeping, 3;
}

fn is_survived(point: Point) {
    Scene::new().crash(point.as_str(), None);
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        detections(&folder.path().join("detections.json"), RECORDS);
        Self { folder }
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

    /// Ends the process at `crash`, then again at `again` if it is reached, then lets it finish.
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
            assert_eq!(closing[key], UNDISTURBED[key], "{key} after {crash}");
        }
        self.nothing_is_left(&name);
    }

    fn nothing_is_left(&self, name: &str) {
        let run_folder = self.out(name).join("r");
        assert_eq!(
            names(&run_folder),
            [
                ".coordinator",
                ".k8s-auto-fix-run",
                "corpus.parquet",
                &final_part_name(&run_folder),
                "run.json"
            ],
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

/// A coordinator that ends at a point, and a worker that has asked for a call.
async fn asked_until(point: Point, folder: &Path, state: &Path) -> (Process, TestStream) {
    let (process, url) = serve(state, &["--crash-at", point.as_str()]);
    submit(&url, folder, "r", config(|_| ())).await;
    let stream = TestStream::open(&url, "w").await;
    stream.acquire("r", 1, key(1)).await;
    (process, stream)
}

/// The coordinator ends while a call result is being persisted: the worker sends it again to the next one, and it is paid
/// for and counted once.
fn is_survived_by_an_answer(point: Point) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (process, mut stream) = asked_until(point, folder.path(), &state).await;
        stream.expect_permit(1).await;
        stream.complete("r", 1, key(1), answered("paid")).await;
        assert_eq!(process.end().status.signal(), Some(6), "{} was not reached", point.as_str());

        let (_process, url) = serve(&state, &[]);
        let (mut stream, mut other) =
            (TestStream::rejoin(&url, stream).await, TestStream::open(&url, "other").await);
        if point == Point::AnswersDurable {
            other.acquire("r", 1, key(1)).await;
            other.expect_cached(1, "paid").await;
        }
        stream.complete("r", 1, key(1), answered("paid")).await;
        stream.expect_persisted(1).await;
        other.acquire("r", 2, key(1)).await;
        other.expect_cached(2, "paid").await;
        let model = status(&url, "r").await.model.unwrap();
        assert_eq!((model.calls, model.usage.total), (1, 1000), "after {}", point.as_str());
    });
}

/// The coordinator ends while a call is being recorded: its worker has no permit. The next one permits it if the row is not there;
/// otherwise it cannot know that the call was not made, and lets no second one start.
fn is_survived_by_a_call(point: Point) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (process, stream) = asked_until(point, folder.path(), &state).await;
        assert_eq!(process.end().status.signal(), Some(6), "{} was not reached", point.as_str());

        let (_process, url) = serve(&state, &[]);
        let mut stream = TestStream::rejoin(&url, stream).await;
        stream.acquire("r", 1, key(1)).await;
        stream.acquire("r", 2, key(2)).await;
        if point == Point::CallsApplied {
            stream.expect_permit(1).await;
            stream.expect_permit(2).await;
            stream.complete("r", 1, key(1), answered("paid")).await;
            stream.expect_persisted(1).await;
        } else {
            stream.expect_permit(2).await;
            assert_eq!(stream.soon().await, None, "the call may have been made");
        }
        stream.complete("r", 2, key(2), answered("paid")).await;
        stream.expect_persisted(2).await;
        let (calls, under_way) = if point == Point::CallsApplied { (2, 0) } else { (1, 1) };
        let model = status(&url, "r").await.model.unwrap();
        assert_eq!((model.calls, model.under_way), (calls, under_way), "after {}", point.as_str());
    });
}
