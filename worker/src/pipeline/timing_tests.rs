//! The times of a row add up, for both proposers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::config::{Guardrails, ProposerMode, RunConfig};
use domain::ids::{RunId, WorkerName};
use domain::outcome::{ErrorKind, Gate, Outcome, Status};
use domain::record::{Problem, Slice};

use super::*;
use crate::cpu_pool::CpuPool;
use crate::gateway_client::LlmClient;
use crate::gateway_client::tests::{Behaviour, Scene, called_at};

/// Rounding error of a sum of times, ms.
const ROUNDING_MS: f64 = 1e-6;

/// How long a slice waits before its first record in these tests.
const WAITED: Duration = Duration::from_millis(40);

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: 'b:1', \
         securityContext: {{privileged: true}}}}]}}\n"
    )
}

/// Three records that share a repair, one of another policy on the same document, one of another document, one with
/// nothing to fix, and one with a problem.
fn slice() -> Slice {
    let records = [
        ("privileged-container", "a"),
        ("privileged-container", "a"),
        ("privileged-container", "a"),
        ("run-as-non-root", "a"),
        ("privileged-container", "b"),
        ("ssh-port", "b"),
        ("privileged-container", "b"),
    ];
    let mut slice = Slice::default();
    for (position, (policy, name)) in records.iter().enumerate() {
        let (record, document) = domain::testing::record(position as u64, policy, &pod(name));
        slice.records.push(record);
        if !slice.documents.iter().any(|known| known.hash == document.hash) {
            slice.documents.push(document);
        }
    }
    slice.records[6].problem =
        Some(Problem { kind: ErrorKind::MalformedRecord, message: "no id".to_owned() });
    slice
}

fn context(config: RunConfig) -> Context {
    let arrived = Instant::now().checked_sub(WAITED).unwrap();
    Context { config, arrived, ..super::tests::context() }
}

/// Asserts the invariants of every row's times.
fn check(rows: &[Outcome]) {
    assert_eq!(rows.len(), 7);
    for row in rows {
        let timing = &row.timing;
        let (queue, total) = (timing.queue_ms.unwrap(), timing.total_ms.unwrap());
        assert!(queue >= WAITED.as_secs_f64() * 1e3, "waiting counts from the arrival: {timing:?}");
        let parts = [timing.propose_ms, timing.llm_ms, timing.verify_ms];
        assert!(parts.iter().flatten().all(|part| *part >= 0.0), "{timing:?}");
        let sum = queue + parts.iter().flatten().sum::<f64>();
        assert!(sum <= total + ROUNDING_MS, "{sum} > {total}: {timing:?}");
        let gates: f64 = Gate::ALL.iter().filter_map(|gate| row.gates.of(*gate).ms).sum();
        assert!((gates - timing.verify_ms.unwrap_or(0.0)).abs() <= ROUNDING_MS, "{gates}: {timing:?}");
        assert!(timing.started_at_us.is_some());
    }
    for shared in &rows[1..3] {
        let (timing, first) = (&shared.timing, &rows[0]);
        assert_eq!((timing.propose_ms, timing.llm_ms, timing.verify_ms), (None, None, None), "{timing:?}");
        assert_eq!(
            (shared.status, &shared.proposal, &shared.errors),
            (first.status, &first.proposal, &first.errors)
        );
        assert_eq!(shared.gates.rescan.verdict, first.gates.rescan.verdict);
    }
    let examined: Vec<u64> =
        rows.iter().filter(|row| row.gates.schema_before.ms.is_some()).map(|row| row.position).collect();
    assert_eq!(examined, [0, 4], "a document is examined once");
    let proposed: Vec<u64> =
        rows.iter().filter(|row| row.timing.propose_ms.is_some()).map(|row| row.position).collect();
    assert_eq!(proposed, [0, 3, 4, 5], "a repair is made once");
    assert_eq!(rows[5].timing.verify_ms, None, "{:?}", rows[5]);
}

#[test]
fn with_rules_the_parts_are_within_the_total_and_shared_work_counts_once() {
    let start = Instant::now();
    let rows = run_slice(&slice(), &context(RunConfig::default()));
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
    check(&rows);
    assert!(rows[..3].iter().all(|row| row.status == Status::Accepted));
    let spent = |row: &Outcome| row.timing.propose_ms.unwrap_or(0.0) + row.timing.verify_ms.unwrap_or(0.0);
    let spent: f64 = rows.iter().map(spent).sum();
    assert!(spent > 0.0 && spent <= elapsed_ms, "{spent} of {elapsed_ms}");
    // Records are processed one after the other, so a later one has waited at least as long.
    assert!(rows.windows(2).all(|pair| pair[0].timing.total_ms <= pair[1].timing.queue_ms));
}

async fn rows_of_llm(faults: &str, samples: u32) -> Vec<Outcome> {
    let scene = Scene::start(Behaviour::Permits, faults, "0.03").await;
    let mut config = RunConfig { guardrails: Guardrails::Fallback, max_attempts: 2, ..RunConfig::default() };
    config.proposer.mode = ProposerMode::Vllm;
    config.proposer.retries = 0;
    config.proposer.samples = samples;
    config.vllm.model = "m".to_owned();
    let (run_id, worker) = (RunId::new("r").unwrap(), WorkerName::new("w").unwrap());
    let providers = called_at(&scene.endpoint);
    let llm_client =
        LlmClient::new(scene.gateway.clone(), run_id, &config, &providers, &worker, |_| None).unwrap();
    // One thread, so that conversations wait for one another.
    let (pool, progress) = (CpuPool::new(1), Progress::default());
    let (slice, context) = (Arc::new(slice()), Arc::new(context(config)));
    run_llm_slice(slice, context, &llm_client, &pool, &progress).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_llm_the_parts_are_within_the_total_and_shared_work_counts_once() {
    for samples in [1, 3] {
        let rows = rows_of_llm("", samples).await;
        check(&rows);
        for row in [&rows[0], &rows[3], &rows[4]] {
            let llm_ms = row.timing.llm_ms.unwrap();
            // No response of this provider is a patch, so every attempt is made.
            assert!(llm_ms >= 2.0 * 30.0, "{:?}", row.timing);
            assert_eq!((row.status, row.source.as_str()), (Status::Accepted, "rules"), "the fallback");
            assert_eq!(row.usage.cache_hit, Some(false));
        }
        assert_eq!(rows[1].usage.cache_hit, Some(true));
        assert_eq!(rows[5].timing.llm_ms, None, "there was no call");
        assert_eq!(rows[0].timing.total_ms, rows[1].timing.total_ms);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_calls_count_in_llm_ms() {
    let rows = rows_of_llm("500=1", 1).await;
    check(&rows);
    for row in [&rows[0], &rows[3], &rows[4]] {
        assert!(row.timing.llm_ms.unwrap() >= 30.0, "{:?}", row.timing);
        assert_eq!(row.usage.cache_hit, None, "there was no response");
        assert_eq!(row.attempts, 1, "{:?}", row.attempt_errors);
    }
}
