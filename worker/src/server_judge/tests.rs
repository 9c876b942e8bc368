//! An API server in this process, and what becomes of records whose server answers, dies and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domain::api_server::SchemaDepth;
use domain::api_server::{ServerCause, ServerClass, ServerIdentity, ServerVerdict};
use domain::config::RunConfig;
use domain::outcome::{Fault, Outcome, Status, Verdict};
use domain::record::Slice;
use futures::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::pipeline::{self, Context};

/// What the fake server answers about a text.
type Answer = fn(&str) -> ServerVerdict;

#[derive(Clone)]
struct FakeServer {
    identity: ServerIdentity,
    answer: Answer,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl FakeServer {
    fn new(answer: Answer) -> Self {
        let identity = ServerIdentity::new("v1.37.2", "").unwrap();
        Self { identity, answer, down: Arc::default(), asked: Arc::default() }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn lease_judge(&self, stop: Stop) -> LeaseJudge {
        LeaseJudge::new(Arc::new(ServerJudge::new(self.clone())), None, stop)
    }
}

impl JudgeServer for FakeServer {
    fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    fn judge<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ServerVerdict, Unreachable>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.down.load(Ordering::Relaxed) {
                return Err(Unreachable("connection refused".to_owned()));
            }
            Ok((self.answer)(text))
        })
    }
}

fn verdict(class: ServerClass, message: Option<&str>) -> ServerVerdict {
    let cause = |message: &str| ServerCause {
        field: "spec.x".to_owned(),
        reason: "FieldValueInvalid".to_owned(),
        message: message.to_owned(),
    };
    let causes = message.map(cause).into_iter().collect();
    ServerVerdict { class, code: 0, causes, message: None, warnings: vec!["deprecated".to_owned()] }
}

fn accepts(_: &str) -> ServerVerdict {
    verdict(ServerClass::Accepted, None)
}

/// Refuses what is not privileged: the repair.
fn refuses_repairs(text: &str) -> ServerVerdict {
    if text.contains("privileged: true") {
        return accepts(text);
    }
    verdict(ServerClass::Invalid, Some("Invalid value: 1: no"))
}

fn go_on() -> Stop {
    Arc::new(|| false)
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: 'b:1', securityContext: {privileged: true}}]}\n";

/// Runs two records of one document and one of another by the rules, and returns their rows.
async fn run(depth: SchemaDepth, judge: LeaseJudge) -> Option<Vec<Outcome>> {
    let of = |position, yaml: &str| domain::testing::record(position, "privileged-container", yaml);
    let (first, document) = of(0, POD);
    let (second, _) = of(1, POD);
    let (third, other) = of(2, &POD.replace("name: a", "name: other"));
    let slice = Slice { records: vec![first, second, third], documents: vec![document, other] };
    let mut config = RunConfig::default();
    config.verifier.depth = depth;
    let context = Context { config, server: Some(Arc::new(judge)), ..pipeline::tests::context() };
    tokio::task::spawn_blocking(move || pipeline::run_slice_while(&slice, &context, || true)).await.unwrap()
}

#[tokio::test]
async fn the_server_decides_and_is_asked_once_about_each_text() {
    let server = FakeServer::new(refuses_repairs);
    let rows = run(SchemaDepth::Server, server.lease_judge(go_on())).await.unwrap();
    assert_eq!(server.asked(), 4, "two documents and their repairs");
    for row in &rows {
        assert_eq!((row.status, row.fault), (Status::Rejected, Fault::Patch), "{row:#?}");
        assert_eq!(row.errors, ["spec.x: Invalid value: 1: no"]);
        assert_eq!(row.gates.schema_before.verdict, Verdict::Passed);
        let answers = row.server.as_deref().unwrap();
        assert_eq!((answers.version.as_str(), answers.disagrees), ("v1.37.2", None));
        assert_eq!(answers.before.as_ref().unwrap().class, ServerClass::Accepted);
        assert_eq!(answers.after.as_ref().unwrap().class, ServerClass::Invalid);
        assert_eq!(answers.warnings, ["deprecated"]);
        assert_eq!(row.schema_depth, Some(SchemaDepth::Server));
    }
}

#[tokio::test]
async fn with_both_the_embedded_rules_decide_and_disagreements_are_recorded() {
    let server = FakeServer::new(refuses_repairs);
    let rows = run(SchemaDepth::Both, server.lease_judge(go_on())).await.unwrap();
    for row in &rows {
        assert_eq!(row.status, Status::Accepted, "{row:#?}");
        assert_eq!(row.server.as_ref().unwrap().disagrees, Some(true));
    }
    let rows = run(SchemaDepth::Both, FakeServer::new(accepts).lease_judge(go_on())).await.unwrap();
    assert_eq!(rows[0].server.as_ref().unwrap().disagrees, Some(false));
}

#[tokio::test]
async fn records_wait_for_a_server_that_comes_back() {
    let server = FakeServer::new(accepts);
    server.down.store(true, Ordering::Relaxed);
    let judge = server.lease_judge(go_on());
    let running = tokio::spawn(run(SchemaDepth::Server, judge));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished() && server.asked() > 1, "it is asked again and again");
    server.down.store(false, Ordering::Relaxed);
    let rows = running.await.unwrap().unwrap();
    assert!(rows.iter().all(|row| row.status == Status::Accepted && row.error_kind.is_none()));
}

#[tokio::test]
async fn a_shard_without_its_server_is_handed_back_and_has_no_rows() {
    let server = FakeServer::new(accepts);
    server.down.store(true, Ordering::Relaxed);
    let impatient = server.lease_judge(go_on()).with_patience(Duration::from_millis(100));
    assert_eq!(run(SchemaDepth::Server, impatient).await, None, "the wait got long");
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopping);
    let judge = server.lease_judge(Arc::new(move || flag.load(Ordering::Relaxed)));
    let running = tokio::spawn(run(SchemaDepth::Server, judge));
    tokio::time::sleep(Duration::from_millis(100)).await;
    stopping.store(true, Ordering::Relaxed);
    assert_eq!(running.await.unwrap(), None, "the worker ends");
}

#[tokio::test]
async fn a_verdict_is_kept_without_the_secrets_of_its_document() {
    fn repeats(_: &str) -> ServerVerdict {
        verdict(ServerClass::Invalid, Some("Invalid value: \"hunter2-is-secret\": no"))
    }
    let judge = FakeServer::new(repeats).lease_judge(go_on());
    let object = json!({"kind": "Secret", "stringData": {"password": "hunter2-is-secret"}});
    let asked = tokio::task::spawn_blocking(move || judge.ask("text", &[&object])).await.unwrap();
    let answer = asked.unwrap().answer;
    assert!(answer.errors()[0].starts_with("spec.x: Invalid value: "), "{answer:?}");
    assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
}
