//! `worker mock-llm` over a plain socket: responses, statistics, changes of its limits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use domain::config::{Limits, RunConfig};
use domain::policy::PolicyName;
use engine::document::Document;
use engine::propose::{mask::Masked, prompt};
use serde_json::{Value, json};

use crate::cli::{run, worker, write};

const POD: &str = "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: 'nginx:1', securityContext: {privileged: true}}]}\n";

/// The provider; killed when dropped.
struct Mock {
    child: Child,
    address: String,
}

impl Drop for Mock {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mock {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("worker"))
            .args(["mock-llm", "--listen", "127.0.0.1:0", "--latency", "0"])
            .args(more)
            .env("MOCK_KEY", "right-key")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("http://")).unwrap().unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        // Keeps the pipe open.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Status and body of a reply.
    fn call(&self, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// The response to a prompt.
    fn ask(&self, question: &str) -> String {
        let body = json!({"model": "mock", "messages": [{"role": "user", "content": question}]}).to_string();
        let (status, reply) = self.call("POST", "/v1/chat/completions", "right-key", &body);
        assert_eq!(status, 200, "{reply}");
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    fn stats(&self) -> Value {
        self.call("GET", "/stats", "", "").1
    }
}

fn question(policy: &str, violation: &str) -> String {
    let document = Document::parse(POD, &Limits::default()).unwrap();
    let masked = Masked::new(&document.value, 4096);
    let limit = RunConfig::default().proposer.prompt_bytes as usize;
    let messages =
        prompt::opening(&masked, &PolicyName::normalise(policy), violation, limit).unwrap().messages;
    messages[1].content.to_string()
}

fn recorded(folder: &Path) -> String {
    let detection = |id: &str, text: &str| json!({"id": id, "manifest_yaml": POD, "policy_id": "privileged-container", "violation_text": text});
    write(folder, "detections.json", &json!([detection("1", "one"), detection("2", "two")]).to_string());
    let patch = |id: &str, path: &str| json!({"id": id, "patch": [{"op": "remove", "path": path}]});
    let patches = json!([patch("1", "/one"), patch("2", "/two"), patch("3", "/three")]).to_string();
    write(folder, "patches.json", &patches);
    folder.join("patches.json").display().to_string()
}

#[test]
fn it_answers_with_the_rules_patches_and_reports_statistics() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path());
    let corpus = folder.path().join("detections.json").display().to_string();
    let mock = Mock::start(&["--rpm", "6000", "--burst", "100", "--corpus", &corpus]);
    let answer = mock.ask(&question("no_privileged", "one"));
    assert!(answer.contains("/spec/containers/0/securityContext/privileged"), "{answer}");
    assert_eq!(mock.ask("Say OK."), "{\"patch\": []}");
    let stats = mock.stats();
    for key in ["first_at", "last_at", "max_in_flight", "utilisation", "faults", "tokens", "in_flight"] {
        assert!(!stats[key].is_null(), "{key} in {stats}");
    }
    for (key, value) in
        [("accepted", 2), ("refused_429", 0), ("refused_401", 0), ("distinct_prompts", 2), ("unknown", 1)]
    {
        assert_eq!(stats[key], value, "{key} in {stats}");
    }
    let seconds = stats["by_second"].as_array().unwrap();
    assert_eq!(seconds.iter().map(|second| second["accepted"].as_u64().unwrap()).sum::<u64>(), 2);
    assert!(seconds[0]["utilisation"].is_number());
    let empty = Mock::start(&[]);
    assert_eq!(empty.ask(&question("no_privileged", "one")), "{\"patch\": []}");
    assert_eq!(empty.stats()["unknown"], 0);
    let other = Mock::start(&["--corpus", &corpus, "--set", "proposer.prompt_bytes=1024"]);
    assert_eq!(other.ask(&question("no_privileged", "one")), answer, "a short prompt is the same");
}

#[test]
fn recorded_patches_are_found_by_document_policy_and_violation() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(&["--replay", &recorded(folder.path())]);
    assert_eq!(mock.ask(&question("no_privileged", "two")), r#"{"patch":[{"op":"remove","path":"/two"}]}"#);
    assert_eq!(mock.ask(&question("no_privileged", "one")), r#"{"patch":[{"op":"remove","path":"/one"}]}"#);
    assert_eq!(mock.ask(&question("no_latest_tag", "one")), "{\"patch\": []}");
    let stats = mock.stats();
    assert_eq!((&stats["accepted"], &stats["unknown"]), (&json!(3), &json!(1)));
}

#[test]
fn limits_change_while_it_runs_and_a_wrong_key_is_refused() {
    let mock = Mock::start(&["--require-key", "MOCK_KEY"]);
    let body = json!({"model": "mock", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let ask = |key: &str| mock.call("POST", "/v1/chat/completions", key, &body);
    let (status, reply) = ask("wrong-key");
    assert_eq!((status, reply["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    assert!(!reply.to_string().contains("-key"), "{reply}");
    assert_eq!(ask("right-key").0, 200);
    let limit = |limits: &str| mock.call("POST", "/limits", "", limits).0;
    assert_eq!(limit(r#"{"rpm": 1, "burst": 1}"#), 200);
    assert_eq!((ask("right-key").0, ask("right-key").0), (200, 429));
    assert_eq!((limit(r#"{"rpm": 0}"#), limit(r#"{"rmp": 5}"#)), (400, 400));
    assert_eq!(limit("{}"), 200);
    assert_eq!(ask("right-key").0, 200);
    let seen = mock.stats();
    assert_eq!(
        (&seen["accepted"], &seen["refused_429"], &seen["refused_401"]),
        (&json!(3), &json!(1), &json!(1))
    );
}

#[test]
fn it_names_another_model_bills_refuses_and_lists_as_it_is_told() {
    let mock = Mock::start(&[
        "--served",
        "openai/{model}-2026-05-14",
        "--bill",
        "ticks:7:11",
        "--tier",
        "flex",
        "--refuse",
        "temperature,strict",
        "--models",
        "mock=2027-01-14,other",
    ]);
    let ask = |path: &str, body: Value| mock.call("POST", path, "", &body.to_string());
    let message = json!([{"role": "user", "content": "12345678"}]);
    let (status, chat) = ask("/v1/chat/completions", json!({"model": "mock", "messages": message}));
    assert_eq!(
        (status, &chat["model"], &chat["service_tier"]),
        (200, &json!("openai/mock-2026-05-14"), &json!("flex"))
    );
    // Two tokens of the prompt, four of the answer.
    assert_eq!(chat["usage"]["cost_in_usd_ticks"], 2 * 7 + 4 * 11, "{chat}");
    let (status, reply) = ask("/v1/responses", json!({"model": "mock", "input": message}));
    assert_eq!(
        (status, &reply["status"], &reply["usage"]["input_tokens"]),
        (200, &json!("completed"), &json!(2))
    );
    assert_eq!(reply["output"][1]["content"][0]["text"], chat["choices"][0]["message"]["content"]);
    let hot = json!({"model": "mock", "messages": message, "temperature": 0});
    let (status, refused) = ask("/v1/chat/completions", hot);
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("unsupported_value")));
    let (status, refused) = ask("/v1/responses", json!({"model": "gone", "input": message}));
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("model_not_found")));
    let (_, models) = mock.call("GET", "/v1/models", "", "");
    assert_eq!(
        models["data"][0],
        json!({"id": "mock", "object": "model", "owned_by": "mock", "shutdown_date": "2027-01-14"})
    );
    assert_eq!((&mock.stats()["accepted"], &mock.stats()["refused_400"]), (&json!(2), &json!(2)));
}

#[test]
fn what_cannot_be_replayed_is_an_error_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "patches.json", "[]");
    write(folder.path(), "detections.json", "[]");
    let patches = folder.path().join("patches.json").display().to_string();
    for (more, needed) in [
        (&["--replay", &patches] as &[&str], "no patch of"),
        (&["--replay", "no-such.json"], "no-such.json"),
        (&["--require-key", "NO_SUCH_KEY"], "environment variable NO_SUCH_KEY is not set"),
        (&["--replay", &patches, "--corpus", &patches], "cannot be used with"),
        (&["--corpus", &patches], "has a prompt"),
        (&["--latency", "queue:0:1"], "queue:N"),
        (&["--refuse", "heat"], "none of: temperature"),
        (&["--bill", "eur:1:2"], "neither ticks:IN:OUT"),
    ] {
        let (code, _, stderr) = run(worker().args(["mock-llm", "--listen", "127.0.0.1:0"]).args(more));
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(needed), "{stderr}");
    }
}
