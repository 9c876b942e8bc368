//! Builders and strategies for the tests of other crates, and the reference corpus with a record of what is skipped
//! without it.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write as _;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Map, Value};

use crate::api_server::SchemaDepth;
use crate::ids::{RecordId, ShardIndex};
use crate::outcome::{Fault, Gates, ModelUsage, Outcome, Status, Timing};
use crate::record::{Neighbours, Record, SourceDocument};

/// A record and its document.
///
/// # Panics
/// Never: its id is made of digits.
pub fn record(position: u64, policy: &str, yaml: &str) -> (Record, SourceDocument) {
    let document = SourceDocument::new(yaml, Neighbours::Unknown);
    let record = Record {
        id: RecordId::new(format!("{:03}", position + 1)).expect("digits are legal"),
        position,
        manifest_path: format!("manifests/{position}.yaml"),
        document: document.hash,
        raw_policy_id: policy.to_owned(),
        violation_text: String::new(),
        problem: None,
    };
    (record, document)
}

/// An outcome of a record that belongs to it: nothing had to be repaired.
pub fn outcome(record: &Record, shard: ShardIndex) -> Outcome {
    Outcome {
        record_id: record.id.clone(),
        position: record.position,
        shard,
        manifest_path: record.manifest_path.clone(),
        document: record.problem.is_none().then_some(record.document),
        kind: String::new(),
        namespace: String::new(),
        name: String::new(),
        policy_id: record.policy().as_str().to_owned(),
        raw_policy_id: record.raw_policy_id.clone(),
        source: "rules".to_owned(),
        mode: "rules".to_owned(),
        model: None,
        guardrails: "targeted".to_owned(),
        proposal: None,
        attempts: 1,
        attempt_errors: Vec::new(),
        status: Status::NotApplicable,
        gates: Arc::new(Gates::NOT_RUN),
        fault: Fault::None,
        new_violations: Vec::new(),
        errors: Vec::new(),
        patched_yaml: None,
        usage: ModelUsage::default(),
        timing: Timing::default(),
        worker: "w".to_owned(),
        attempt: 1,
        error_kind: None,
        schema_depth: Some(SchemaDepth::Embedded),
        server: None,
        published: None,
        tool_rescans: std::collections::BTreeMap::new(),
    }
}

/// Any JSON value of bounded size.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z~/ -]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z~/]{0,4}", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// How many inputs a property gets.
#[derive(Debug, Clone, Copy)]
pub struct Inputs {
    /// In an ordinary test.
    pub usual: u32,
    /// Of a hundred parts of `PROPTEST_CASES`, where that is set.
    pub share: u32,
}

/// No input may take longer than this when `PROPTEST_CASES` is set: the bound of a hostile input, not a benchmark.
const LONGEST: Duration = Duration::from_secs(10);

/// Holds `check` against many inputs and prints how many there were and how long the slowest took. The inputs are the
/// same every time unless `PROPTEST_RNG_SEED` says otherwise; the variables are those of proptest.
///
/// # Panics
/// When `check` panics for an input; the smallest such input is named.
#[expect(clippy::print_stdout, reason = "the counts are what a long run is made for; tests capture them")]
pub fn property<S: Strategy>(name: &str, inputs: Inputs, strategy: &S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let asked = number("PROPTEST_CASES");
    let cases = asked.map_or(u64::from(inputs.usual), |all| (all * u64::from(inputs.share)).div_ceil(100));
    let config = ProptestConfig {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1)),
        ..ProptestConfig::default()
    };
    let (start, ran, slowest) = (Instant::now(), Cell::new(0_u64), Cell::new(Duration::ZERO));
    let result = TestRunner::new(config).run(strategy, |input| {
        let begin = Instant::now();
        check(input);
        let took = begin.elapsed();
        ran.set(ran.get() + 1);
        slowest.set(slowest.get().max(took));
        assert!(asked.is_none() || took < LONGEST, "took {took:?}");
        Ok(())
    });
    println!(
        "property {name}: {} inputs in {:.1} s, the slowest {:.1} ms",
        ran.get(),
        start.elapsed().as_secs_f64(),
        slowest.get().as_secs_f64() * 1e3
    );
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
}

/// Environment variable with the absolute path of a file to which every skipped test adds a line, so that `scripts/test`
/// can count them: what a test prints is captured when it passes.
pub const SKIPS: &str = "TEST_SKIPS";

/// A file or folder of the reference corpus beside the workspace, e.g. `rules_full`. `None`, and the test is [`skipped`],
/// where the corpus is absent.
///
/// # Panics
/// Where the corpus is there without `path`: a test that finds nothing to read must not pass.
#[track_caller]
pub fn corpus(path: &str) -> Option<PathBuf> {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    if !corpus.is_dir() {
        skipped("no ../shared/corpus");
        return None;
    }
    let path = corpus.join(path);
    assert!(path.exists(), "{} is not part of the reference corpus", path.display());
    Some(path)
}

/// Records that the test of this thread, or a part of it, is skipped: on stderr, and in the file that [`SKIPS`] names.
///
/// # Panics
/// Where that file cannot be written.
#[track_caller]
#[expect(clippy::print_stderr, reason = "for who runs a single test; of many it is captured")]
pub fn skipped(why: &str) {
    let (thread, place) = (std::thread::current(), Location::caller());
    let line = skip_line(why, thread.name(), place);
    eprintln!("{line}");
    if let Some(file) = std::env::var_os(SKIPS) {
        record_skip(Path::new(&file), &line);
    }
}

/// Records that the test of this thread is left out because something is missing that a machine need not have. Unlike a test
/// that is [`skipped`] it does not fail CI.
///
/// # Panics
/// Where the file that [`SKIPS`] names cannot be written.
#[track_caller]
#[expect(clippy::print_stdout, reason = "for who runs a single test; of many it is captured")]
pub fn skipped_optional(why: &str) {
    let (thread, place) = (std::thread::current(), Location::caller());
    let line = skip_line(why, thread.name(), place);
    println!("{line}");
    if let Some(file) = std::env::var_os(SKIPS) {
        record_skip(Path::new(&file), &format!("optional {line}"));
    }
}

/// Tests run in threads of their name, but in `main` where they run one after the other.
fn skip_line(why: &str, thread: Option<&str>, place: &Location<'_>) -> String {
    let test = thread.filter(|name| *name != "main").unwrap_or("a test");
    format!("skipped: {why} ({test}, {}:{})", place.file(), place.line())
}

fn record_skip(file: &Path, line: &str) {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    // One write a line: other tests append at the same time.
    let written = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{SKIPS}={}: {error}", file.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_a_line_with_the_test_and_its_place() {
        let place = Location::caller();
        let thread = std::thread::current();
        let line = skip_line("no corpus", thread.name(), place);
        let expected = format!("skipped: no corpus (a test, {}:{})", file!(), place.line());
        assert_eq!(skip_line("no corpus", Some("main"), place), expected);
        assert!(line == expected || line.contains("testing::tests::a_skip_is_a_line"), "{line}");

        let file = std::env::temp_dir().join(format!("skips-{}", std::process::id()));
        for line in ["skipped: a", "skipped: b"] {
            record_skip(&file, line);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text, "skipped: a\nskipped: b\n");
    }
}
