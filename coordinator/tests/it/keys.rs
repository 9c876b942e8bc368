//! API keys and who gets them: what a submitter names is not sent to, and what a provider repeats is not kept.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proto::channel::runs_client;
use proto::v1;
use results::scan;
use serde_json::{Value, json};

use crate::process::{Process, serve, worker_binary};
use crate::support::{connection, coordinator, detections};

/// A key, and the environment variable that holds it. Its form is none that a provider is known for.
const KEY: &str = "vllm-prod-key-Zq7+w/E3=x";
const VARIABLE: &str = "KEYS_TEST_KEY";

/// A server that records every request and answers each with the same response.
pub(crate) struct Recorder {
    /// Its address, without a path.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// A server that answers each request with `response`.
    pub(crate) fn start(response: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, response) = (Arc::clone(&requests), Arc::new(response));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, response) = (Arc::clone(&seen), Arc::clone(&response));
                std::thread::spawn(move || answer(stream, &seen, &*response));
            }
        });
        Self { url, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request of a connection, then closes it.
fn answer(mut stream: std::net::TcpStream, seen: &Mutex<Vec<String>>, response: &dyn Fn(&str) -> String) {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length:").and_then(|length| length.trim().parse::<usize>().ok())
        });
        if body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    if !text.is_empty() {
        seen.lock().unwrap().push(text.clone());
        let _ = stream.write_all(response(&text).as_bytes());
    }
}

/// An HTTP response.
pub(crate) fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A completion with this text.
pub(crate) fn completion(content: &str) -> String {
    let choice = json!({"message": {"role": "assistant", "content": content}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18});
    http("200 OK", &json!({"choices": [choice], "usage": usage}).to_string())
}

/// Settings as flags.
pub(crate) fn set<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|setting| ["--set", setting]).collect()
}

/// Status of one run; null where it is not known.
pub(crate) fn status(url: &str, run_id: &str) -> Value {
    let output = coordinator(&["status", "--from", url, "--output", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
    runs.as_array().unwrap().iter().find(|run| run["run_id"] == run_id).cloned().unwrap_or_default()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("timed out waiting for {what}");
}

/// A configuration as JSON that names an endpoint and a variable, as releases before protocol 5 sent it.
fn naming(endpoint: &str, variable: &str) -> String {
    json!({
        "proposer": {"mode": "vllm", "retries": 0}, "guardrails": "none", "max_attempts": 1,
        "vllm": {"endpoint": endpoint, "model": "m", "api_key_env": variable, "auth_header": "x-api-key"},
    })
    .to_string()
}

/// Submits one record by hand, with any text as configuration. Returns the coordinator's refusal.
fn submit_by_hand(url: &str, run_id: &str, config_json: String) -> Result<(), tonic::Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (record, document) = domain::testing::record(0, "privileged-container", PRIVILEGED);
    let slice = domain::record::Slice { records: vec![record], documents: vec![document] };
    let header = v1::SubmitHeader { run_id: run_id.to_owned(), config_json, source: String::new() };
    let mut messages = vec![v1::submit_request::Message::Header(header)];
    messages.extend(proto::convert::frames(slice).into_iter().map(v1::submit_request::Message::Slice));
    messages.push(v1::submit_request::Message::End(v1::SubmitEnd { records: 1 }));
    let messages =
        messages.into_iter().map(|message| v1::SubmitRequest { message: Some(message) }).collect::<Vec<_>>();
    runtime.block_on(async {
        let mut runs = runs_client(connection(url));
        runs.submit(tokio_stream::iter(messages)).await.map(drop)
    })
}

const PRIVILEGED: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    \
                          image: nginx:1.27\n    securityContext: {privileged: true}\n";

#[test]
fn a_submitter_who_names_an_endpoint_and_a_variable_receives_nothing() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let attacker = Recorder::start(|_| completion("[]"));
    let (_coordinator, url) = serve(&folder.path().join("state"), &[]);
    let arguments = ["serve", "--coordinator", &url, "--slots", "1"];
    let mut worker = Process::start_with(&worker, &arguments, &[(VARIABLE, KEY)]);

    // By hand, without our client.
    let refused = submit_by_hand(&url, "by-hand", naming(&attacker.url, VARIABLE));
    // With our client, whose user sets the keys of a provider.
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 3);
    let (named, variable) =
        (format!("vllm.endpoint={}", attacker.url), format!("vllm.api_key_env={VARIABLE}"));
    let run = ["proposer.mode=vllm", "guardrails=none", "proposer.outage_minutes=0", &named, &variable];
    let arguments = ["submit", "--to", &url, "--run-id", "by-client", "--corpus", corpus.to_str().unwrap()];
    let submitted = coordinator(&[&arguments[..], &set(&run)].concat());
    let talk = String::from_utf8_lossy(&submitted.stderr).into_owned();
    assert!(submitted.status.success(), "{talk}");
    // No such provider listens, so every record of it ends without an answer, or the run is halted.
    wait_for("the end of the run", || {
        worker.assert_alive();
        let run = status(&url, "by-client");
        run["state"] == "finished" || run["trouble"].is_string()
    });

    assert_eq!(attacker.requests(), Vec::<String>::new(), "the attacker's address was called");
    let refused = refused.expect_err("a configuration with an endpoint is refused");
    assert!(refused.message().contains("endpoint"), "{refused}");
    assert!(talk.contains("vllm.endpoint") && talk.contains("not sent"), "{talk}");
}

#[test]
fn a_provider_that_a_worker_does_not_have_halts_its_run_and_no_other() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_coordinator, url) = serve(&folder.path().join("state"), &[]);
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 30);
    let submit = |run_id: &str, settings: &[&str]| {
        let arguments = [
            "submit",
            "--to",
            &url,
            "--run-id",
            run_id,
            "--corpus",
            corpus.to_str().unwrap(),
            "--shard-size",
            "3",
        ];
        let output = coordinator(&[&arguments[..], &set(settings)].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let by_model = ["proposer.mode=vllm", "guardrails=none", "max_attempts=1", "proposer.retries=0"];
    let provider = Recorder::start(|_| completion(r#"{"patch": []}"#));
    let named = format!("vllm.endpoint={}", provider.url);
    let start = |settings: &[&str]| {
        let arguments = [&["serve", "--coordinator", &url, "--slots", "2"][..], &set(settings)].concat();
        Process::start_with(&worker, &arguments, &[(VARIABLE, KEY)])
    };
    // No such provider; one whose key is not there.
    for (run_id, settings, needed) in [
        ("no-provider", ["vllm.endpoint=", "vllm.api_key_env="], ["no provider vllm", "vllm.endpoint"]),
        (
            "no-key",
            [named.as_str(), "vllm.api_key_env=KEYS_TEST_NONE"],
            ["KEYS_TEST_NONE is not set", "vllm.api_key_env"],
        ),
    ] {
        let process = start(&settings);
        submit(run_id, &by_model);
        submit(&format!("{run_id}-beside"), &[]);
        wait_for("the other run", || status(&url, &format!("{run_id}-beside"))["state"] == "finished");
        wait_for("the trouble", || status(&url, run_id)["trouble"].is_string());
        let run = status(&url, run_id);
        let trouble = run["trouble"].as_str().unwrap();
        assert!(needed.iter().all(|word| trouble.contains(word)), "{trouble}");
        assert!(trouble.contains("worker ") && trouble.contains("submit the run again"), "{trouble}");
        assert_eq!(run["state"], "running", "it is halted and can go on");
        process.signal("INT");
        let talk = process.end().stderr;
        assert!(talk.lines().count() < 60, "a storm of messages:\n{talk}");
    }
    assert_eq!(provider.requests(), Vec::<String>::new());
    // The remedy.
    let key = format!("vllm.api_key_env={VARIABLE}");
    let _worker = start(&[named.as_str(), key.as_str()]);
    submit("no-key", &by_model);
    wait_for("the end of the run", || status(&url, "no-key")["state"] == "finished");
    assert!(provider.requests().iter().all(|request| request.contains(KEY)));
    assert!(!provider.requests().is_empty());
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The key in every form that a provider may repeat it in.
fn forms() -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let percent = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let escaped = KEY.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<Vec<_>>().concat();
    vec![
        ("plain", KEY.to_owned()),
        ("after a sign", format!("key={KEY}")),
        ("in quotes", format!("'{KEY}'")),
        ("within a word", format!("<{KEY}>")),
        ("in a URL", KEY.replace('+', "%2B").replace('/', "%2f").replace('=', "%3d")),
        ("percent-encoded", percent),
        ("JSON in JSON", escaped),
        ("base64", STANDARD.encode(KEY)),
        ("base64 of user and key", URL_SAFE_NO_PAD.encode(format!("user:{KEY}"))),
    ]
}

/// Checks that neither the key nor a form of it is in `text`.
#[track_caller]
fn without_key(what: &str, text: &str) {
    for (form, repeated) in forms() {
        assert!(!text.contains(&repeated), "{what} holds the key ({form}):\n{text}");
    }
}

#[test]
fn a_key_that_the_provider_repeats_is_kept_nowhere() {
    for (form, repeated) in forms() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("detections.json");
        let record = |number: usize| {
            let yaml = PRIVILEGED.replace("name: p}", &format!("name: p{number}}}"));
            json!({
                "id": number.to_string(), "manifest_path": format!("{number}.yaml"), "manifest_yaml": yaml,
                "policy_id": "no_privileged", "violation_text": "",
            })
        };
        std::fs::write(&corpus, json!([record(0), record(1), record(2)]).to_string()).unwrap();
        // A refusal, an answer that is no patch, and an answer with the key in a patch.
        let said = repeated.clone();
        let provider = Recorder::start(move |request| {
            let probed = request.contains("This is call");
            if request.contains("name: p0") || probed {
                let error =
                    json!({"error": {"message": format!("no access for {said}, sorry"), "code": said}});
                // The first stops everything, the second is an error of one record.
                let status = if probed { "403 Forbidden" } else { "400 Bad Request" };
                return http(status, &error.to_string());
            }
            if request.contains("name: p1") {
                return completion(&format!("I was called with {said}"));
            }
            let value = json!({"privileged": false, "note": said});
            let patch =
                json!([{"op": "replace", "path": "/spec/containers/0/securityContext", "value": value}]);
            completion(&json!({"patch": patch}).to_string())
        });
        let (named, variable) =
            (format!("vllm.endpoint={}", provider.url), format!("vllm.api_key_env={VARIABLE}"));
        let free = ["vllm.price.input=0", "vllm.price.output=0"];
        let settings = ["proposer.mode=vllm", "guardrails=none", "max_attempts=1", "proposer.retries=0"];
        let settings = [&free[..], &settings, &[&named, &variable]].concat();
        let proxy = Recorder::start(|_| completion("[]"));
        let out = folder.path().join("out");
        let run = ["-vvv", "run", "--run-id", "r", "--workers", "1", "--corpus", corpus.to_str().unwrap()];
        let probe_out = folder.path().join("probe");
        let probe = ["-vvv", "probe", "--steps", "1", "--requests", "2"];
        for (arguments, out) in [(&run[..], &out), (&probe[..], &probe_out)] {
            let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coordinator"));
            let arguments = [arguments, &["--out", out.to_str().unwrap()], &set(&settings)].concat();
            let output =
                command.env(VARIABLE, KEY).env("HTTP_PROXY", &proxy.url).args(arguments).output().unwrap();
            without_key("stdout", &String::from_utf8_lossy(&output.stdout));
            without_key("stderr", &String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(proxy.requests(), Vec::<String>::new(), "a proxy is not the host of the key");
        assert!(provider.requests().iter().all(|request| request.contains(KEY)), "the provider got its key");
        assert!(provider.requests().len() >= 3, "{form}: {} requests", provider.requests().len());
        for path in files(folder.path()) {
            let bytes = std::fs::read(&path).unwrap();
            without_key(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
        kept_rows_hold_no_key(folder.path());
    }
}

/// Checks what is compressed in the files: rows of records and of calls, and cached answers.
fn kept_rows_hold_no_key(folder: &Path) {
    for path in files(folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("part-") {
            for outcome in scan::outcomes([path.into()]) {
                without_key("a row", &format!("{:?}", outcome.unwrap()));
            }
        } else if name == "calls.parquet" {
            let file = std::fs::File::open(&path).unwrap();
            let calls = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
            let calls: Vec<_> = calls.map(Result::unwrap).collect();
            assert!(format!("{calls:?}").contains("no access"), "{calls:?}");
            without_key("a call", &format!("{calls:?}"));
        } else if name == ".answers.sqlite" {
            let exported = coordinator(&["answers", "export", "--answers", path.to_str().unwrap()]);
            let exported = String::from_utf8(exported.stdout).unwrap();
            without_key("an answer", &exported);
        }
    }
}
