//! `worker mcp`, driven by the client of the protocol's Rust SDK.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use domain::config::Limits;
use engine::document::Document;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::{Value, json};

use crate::cli::{root, run, worker, write};

/// A session with a server of its own.
struct Session {
    client: RunningService<RoleClient, ()>,
    server: tokio::process::Child,
}

impl Session {
    async fn begin(folder: &Path, more: &[&str]) -> Self {
        let mut server = tokio::process::Command::new(assert_cmd::cargo::cargo_bin!("worker"))
            .current_dir(folder)
            .env_clear()
            .arg("mcp")
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let streams = (server.stdout.take().unwrap(), server.stdin.take().unwrap());
        Self { client: ().serve(streams).await.unwrap(), server }
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let Value::Object(arguments) = arguments else { panic!("{arguments}") };
        self.client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap()
    }

    /// The output of a call that succeeds.
    async fn output(&self, tool: &'static str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result.is_error, Some(false), "{result:?}");
        result.structured_content.unwrap()
    }

    /// The text of a call that is refused.
    async fn refusal(&self, tool: &'static str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result.is_error, Some(true), "{result:?}");
        text(&result)
    }

    async fn end(mut self) {
        self.client.cancel().await.unwrap();
        assert_eq!(self.server.wait().await.unwrap().code(), Some(0));
    }
}

fn text(result: &CallToolResult) -> String {
    result.content.iter().filter_map(|content| content.as_text()).map(|text| text.text.clone()).collect()
}

/// A pod with violations; which ones depends on its number.
fn pod(number: usize) -> String {
    let image = if number.is_multiple_of(2) {
        "registry.example.com/web:1.2"
    } else {
        "registry.example.com/web:latest"
    };
    let privileged = number.is_multiple_of(3);
    format!(
        "# number {number}\napiVersion: v1\nkind: Pod\nmetadata: {{name: web-{number}, namespace: shop}}\nspec:\n  hostPID: {privileged}\n  containers:\n  - name: web\n    image: {image}  # as released\n    env:\n    - {{name: MODE, value: fast}}\n    - {{name: MODE, value: slow}}\n"
    )
}

/// Pods in one text.
fn pods(count: usize) -> String {
    (0..count).map(pod).collect::<Vec<_>>().join("---\n")
}

/// The texts of all files below a folder.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut texts: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn a_client_fixes_ten_files() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..10 {
        write(folder.path(), &format!("{number}.yaml"), &pod(number));
    }
    let before = texts(folder.path());
    let session = Session::begin(folder.path(), &[]).await;
    for number in 0..10 {
        let path = format!("{number}.yaml");
        let found = session.output("detect", json!({"path": path})).await;
        assert!(!found["findings"].as_array().unwrap().is_empty(), "{found}");
        assert_eq!(found["findings"][0]["path"], path);
        // One half by patches of the file, the other by its text.
        let after = if number < 5 {
            let proposed = session.output("propose", json!({"path": path, "unsafe": true})).await;
            let file = &proposed["files"][0];
            assert_eq!((&file["not_proposed"], &file["repaired_text"]), (&json!([]), &Value::Null), "{file}");
            let mut object = Document::parse(&pod(number), &Limits::default()).unwrap().value;
            for patch in file["patches"].as_array().unwrap() {
                assert_eq!(patch["masked"], false);
                let gates = patch["gates"].as_object().unwrap();
                assert!(gates.values().all(|verdict| verdict == "passed"), "{gates:?}");
                let operations: json_patch::Patch = serde_json::from_value(patch["patch"].clone()).unwrap();
                json_patch::patch(&mut object, &operations).unwrap();
            }
            object.to_string()
        } else {
            let proposed = session.output("propose", json!({"text": pod(number), "unsafe": true})).await;
            let text = proposed["files"][0]["repaired_text"].as_str().unwrap();
            assert!(text.contains("# as released"), "{text}");
            text.to_owned()
        };
        write(folder.path(), &path, &after);
        let verified =
            session.output("verify", json!({"before": {"text": pod(number)}, "after": {"path": path}})).await;
        assert_eq!(
            (&verified["accepted"], &verified["verdicts"][0]["name"]),
            (&json!(true), &json!(format!("web-{number}")))
        );
    }
    let found = session.output("detect", json!({"path": "."})).await;
    assert_eq!((&found["findings"], &found["files"]), (&json!([]), &json!(10)), "{found}");
    assert!(texts(folder.path()).iter().zip(&before).all(|(now, then)| now != then));
    session.end().await;
}

#[tokio::test]
async fn a_repair_with_a_caution_is_held_back_and_a_wrong_one_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", &pod(1));
    let before = texts(folder.path());
    let session = Session::begin(folder.path(), &[]).await;
    let propose = |more: Value| {
        let mut arguments = json!({"path": "pod.yaml", "policies": ["no_latest_tag"]});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        session.output("propose", arguments)
    };
    let held_back = propose(json!({})).await["files"][0].clone();
    assert_eq!(
        (&held_back["patches"], &held_back["not_proposed"][0]["outcome"]),
        (&json!([]), &json!("held_back"))
    );
    let allowed =
        propose(json!({"allow": ["tag_unverified", "pull_policy_relaxed"]})).await["files"][0].clone();
    assert_eq!(allowed["patches"][0]["cautions"][0]["id"], "tag_unverified", "{allowed}");

    // A patch that takes the container away clears the policy too.
    let patch = json!([{"op": "remove", "path": "/spec/containers/0"}]);
    let verified = session.output("verify", json!({"before": {"path": "pod.yaml"}, "patch": patch})).await;
    assert_eq!(verified["accepted"], false);
    let errors = verified["verdicts"][0]["errors"].to_string();
    assert!(errors.contains("container"), "{errors}");
    let patch = &allowed["patches"][0]["patch"];
    let verified = session
        .output("verify", json!({"before": {"path": "pod.yaml"}, "patch": patch, "object": "Pod/web-1"}))
        .await;
    assert_eq!(verified["verdicts"][0]["policies"], json!(["no_latest_tag"]), "{verified}");
    let explained = session.output("explain", json!({"policy": "latest-tag"})).await;
    assert_eq!(explained["id"], "no_latest_tag");
    assert_eq!(texts(folder.path()), before, "nothing was written");
    session.end().await;
}

#[tokio::test]
async fn secrets_of_files_stay_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: registry.example.com/a:1\n    env:\n    - {name: DB_SECRET, value: hunter2hunter2}\n";
    write(folder.path(), "pod.yaml", pod);
    let session = Session::begin(folder.path(), &[]).await;
    for (tool, arguments) in [
        ("detect", json!({"path": "pod.yaml"})),
        ("propose", json!({"path": "pod.yaml", "unsafe": true})),
        (
            "verify",
            json!({"before": {"path": "pod.yaml"}, "after": {"text": pod.replace("hunter2hunter2", "x")}}),
        ),
    ] {
        let result = session.call(tool, arguments).await;
        let all = serde_json::to_string(&result).unwrap();
        assert!(result.is_error == Some(false) && !all.contains("hunter2"), "{tool}: {all}");
        if tool == "propose" {
            let patches = result.structured_content.unwrap()["files"][0]["patches"].clone();
            let secret =
                patches.as_array().unwrap().iter().find(|patch| patch["policy"] == "env_var_secret").unwrap();
            assert_eq!(
                (&secret["masked"], &secret["companions"][0]["kind"]),
                (&json!(true), &json!("Secret"))
            );
        }
    }
    let proposed =
        session.output("propose", json!({"text": pod, "policies": ["env_var_secret"], "unsafe": true})).await;
    assert!(
        proposed["files"][0]["patches"][0]["companions"].to_string().contains("hunter2hunter2"),
        "{proposed}"
    );
    session.end().await;
}

#[tokio::test]
async fn what_is_beyond_the_bounds_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("root");
    write(outer.path(), "outside.yaml", &pod(0));
    write(&folder, "inside.yaml", &pod(0));
    std::os::unix::fs::symlink("../outside.yaml", folder.join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
    let inside = folder.join("inside.yaml").display().to_string();
    let outside = outer.path().join("outside.yaml").display().to_string();
    let session =
        Session::begin(outer.path(), &["--root", "root", "--max-bytes", "2000", "--max-documents", "3"])
            .await;
    for path in ["inside.yaml", "./inside.yaml", &inside] {
        assert_eq!(session.output("detect", json!({"path": path})).await["files"], 1);
    }
    for path in ["../outside.yaml", "up/../../outside.yaml", "..", &outside, "/etc/passwd"] {
        let refusal = session.refusal("detect", json!({"path": path})).await;
        assert!(refusal.contains("leads out of the root") && refusal.contains("hint: "), "{path}: {refusal}");
    }
    for path in ["link.yaml", "up/outside.yaml", "up"] {
        for (tool, arguments) in [
            ("detect", json!({"path": path})),
            ("propose", json!({"path": path})),
            ("verify", json!({"before": {"path": path}, "after": {"path": "inside.yaml"}})),
        ] {
            let refusal = session.refusal(tool, arguments).await;
            assert!(refusal.contains("is a link that leads out of its folder"), "{tool} {path}: {refusal}");
        }
    }
    for (arguments, expected) in [
        (json!({"text": "a: b\n".repeat(500)}), "more than 2000 bytes"),
        (json!({"text": "a: b\n".repeat(5_000_000)}), "the arguments have more than"),
        (json!({"text": "a: b\n---\n".repeat(4)}), "more than 3 documents"),
        (json!({"path": "none.yaml"}), "does not exist"),
        (json!({}), "named by `text` or by `path`"),
        (json!({"text": "a: b", "path": "inside.yaml"}), "named by `text` or by `path`"),
        (json!({"text": "a: b", "polices": []}), "unknown field `polices`"),
        (json!({"text": "a: b", "policies": ["none"]}), "unknown policy"),
    ] {
        let refusal = session.refusal("detect", arguments).await;
        assert!(refusal.starts_with("detect: ") && refusal.contains(expected), "{refusal}");
    }
    let arguments = json!({"before": "kind: Pod", "after": {"text": "kind: Pod"}});
    let refusal = session.refusal("verify", arguments).await;
    assert!(refusal.contains("expected an object with `text` (YAML or JSON) or `path`"), "{refusal}");
    let unknown = session.client.call_tool(CallToolRequestParams::new("fix")).await.unwrap_err();
    assert!(unknown.to_string().contains("the tools are detect, propose, verify, explain"), "{unknown}");
    session.end().await;
}

#[tokio::test]
async fn a_call_past_its_time_is_an_error_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::begin(folder.path(), &["--timeout", "1ns"]).await;
    for tool in ["detect", "propose"] {
        let refusal = session.refusal(tool, json!({"text": pod(0)})).await;
        assert!(
            refusal.contains("the call took longer than 1ns") && refusal.contains("--timeout"),
            "{refusal}"
        );
    }
    session.end().await;
    // Work that has begun ends as well.
    let session = Session::begin(
        folder.path(),
        &["--timeout", "150ms", "--max-documents", "100000", "--concurrency", "1"],
    )
    .await;
    let many = pods(3000);
    let refusal = session.refusal("propose", json!({"text": many, "unsafe": true})).await;
    assert!(refusal.contains("the call took longer than 150ms"), "{refusal}");
    let mut tries = 0;
    while session.call("detect", json!({"text": pod(0)})).await.is_error == Some(true) {
        tries += 1;
        assert!(tries < 100, "the work goes on without end");
    }
    session.end().await;
}

#[tokio::test]
async fn calls_beyond_the_most_are_refused_and_the_others_answered() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::begin(folder.path(), &["--concurrency", "1"]).await;
    let many = pods(30);
    let calls = (0..40).map(|_| session.call("propose", json!({"text": many, "unsafe": true})));
    let mut answered = 0;
    for result in futures::future::join_all(calls).await {
        if result.is_error == Some(false) {
            answered += 1;
        } else {
            assert!(text(&result).contains("9 calls are under way"), "{result:?}");
        }
    }
    assert!(answered >= 9, "{answered}");
    session.output("detect", json!({"text": pod(0)})).await;
    session.end().await;
}

#[tokio::test]
async fn the_tools_are_as_approved() {
    let session = Session::begin(&root(), &[]).await;
    let tools = session.client.list_all_tools().await.unwrap();
    insta::assert_json_snapshot!("mcp_tools", tools);
    session.end().await;
}

#[test]
fn standard_output_has_the_protocol_alone() {
    let mut server = std::process::Command::new(assert_cmd::cargo::cargo_bin!("worker"))
        .current_dir(root())
        .env_clear()
        .args(["-vv", "mcp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    // An unreadable document and one without a kind: the commands say something about both.
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "verify", "arguments": {"before": {"text": "a: [\n---\na: b\n"}, "after": {"text": "a: c"}}}});
    for message in [initialize, initialized, call] {
        writeln!(input, "{message}").unwrap();
    }
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    for id in [1, 2] {
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(id)), "{answer}");
        if id == 2 {
            assert!(
                answer["result"]["content"][0]["text"].as_str().unwrap().contains("cannot be read"),
                "{answer}"
            );
        }
    }
    drop(input);
    assert!(lines.next().is_none());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let (code, stdout, stderr) = run(worker().args(["mcp", "--root", "no/such"]));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("cannot open the root no/such"), "{stderr}");
}
