//! `worker verify` and `worker fix` with an API server as the schema gate.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::cli::{run, worker, write};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: nginx\n    securityContext:\n      privileged: true\n";

/// A fake API server, and the requests that it was sent other than GET. It refuses texts with one of the given words.
struct Fake {
    kubeconfig: String,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(folder: &Path, refused: &'static [(&'static str, u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
            "users": [{"name": "a", "user": {"token": "secret-token"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        write(folder, "kubeconfig", &config.to_string());
        let sent: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(stream.unwrap(), refused, &seen));
            }
        });
        Self { kubeconfig: folder.join("kubeconfig").display().to_string(), sent }
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, refused: &[(&str, u16, &str)], sent: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let (code, answer) = answer(&first, &body, refused);
        if !first.starts_with("GET") {
            sent.lock().unwrap().push(format!("{}{body}", first.replace(" HTTP/1.1", "")));
        }
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    }
}

fn answer(first: &str, body: &str, refused: &[(&str, u16, &str)]) -> (u16, String) {
    let pods = json!([{"version": "v1", "resources": [
        {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "verbs": ["create"]},
    ]}]);
    let answer = match first.split(' ').nth(1).unwrap_or_default() {
        "/version" => json!({"gitVersion": "v1.37.2"}),
        "/api" => json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": pods}]}),
        "/apis" => json!({"kind": "APIGroupDiscoveryList", "items": []}),
        _ => {
            let found = refused.iter().find(|(word, _, _)| body.contains(word));
            let Some((_, code, message)) = found else { return (201, json!({"kind": "Pod"}).to_string()) };
            let causes = json!([{"field": "spec.x", "reason": "FieldValueInvalid", "message": message}]);
            let status = json!({"kind": "Status", "message": message, "details": {"causes": causes}});
            return (*code, status.to_string());
        }
    };
    (200, answer.to_string())
}

/// Verifies the repair of `POD` for `no_privileged` by a fake; its row, and what was said.
fn verified(refused: &'static [(&'static str, u16, &'static str)]) -> (i32, Value, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", POD);
    let step = |args: &[&str]| run(worker().current_dir(folder.path()).args(args));
    let (_, detections, _) = step(&["detect", "-p", "no_privileged", "--output", "detections", "pod.yaml"]);
    write(folder.path(), "d.json", &detections);
    let (_, patches, _) = step(&["propose", "--detections", "d.json"]);
    write(folder.path(), "p.json", &patches);
    let fake = Fake::start(folder.path(), refused);
    let (code, rows, stderr) =
        step(&["verify", "--detections", "d.json", "--patches", "p.json", "--kubeconfig", &fake.kubeconfig]);
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap_or_default();
    (code, rows.first().cloned().unwrap_or_default(), stderr, fake.sent())
}

#[test]
fn a_repair_that_the_server_takes_is_accepted() {
    let (code, row, stderr, sent) = verified(&[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!((&row["accepted"], &row["gates"]["schema"]), (&true.into(), &"passed".into()));
    assert_eq!(row["server"]["version"], "v1.37.2");
    assert_eq!(row["server"]["before"]["class"], "accepted");
    assert_eq!(row["server"]["after"]["code"], 201);
    assert!(stderr.contains("schema gate: API server v1.37.2 at http://127.0.0.1:"), "{stderr}");
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.contains("?dryRun=All&")), "{sent:?}");
    assert!(sent.iter().any(|sent| sent.ends_with(POD)), "the document is sent as it stands: {sent:?}");
}

#[test]
fn a_refusal_is_the_fault_of_who_caused_it() {
    let (code, row, stderr, _) = verified(&[("privileged: false", 422, "Invalid value: so says the server")]);
    assert_eq!((code, &row["status"], &row["fault"]), (1, &"rejected".into(), &"patch".into()));
    assert_eq!(row["errors"], json!(["spec.x: Invalid value: so says the server"]));
    assert!(stderr.contains("1 rejected (1 by fault of the patch)"), "{stderr}");

    let (_, row, ..) = verified(&[("kind: Pod", 422, "Invalid value: x")]);
    assert_eq!((&row["fault"], &row["gates"]["schema_before"]), (&"document".into(), &"failed".into()));
    let (_, row, ..) = verified(&[("kind: Pod", 403, "no PriorityClass with name x was found")]);
    assert_eq!(
        (&row["fault"], &row["server"]["after"]["class"]),
        (&"environment".into(), &"environment".into())
    );
}

#[test]
fn a_server_that_gives_no_verdict_is_a_failure_and_no_row() {
    let (code, row, stderr, _) = verified(&[("kind: Pod", 401, "Unauthorized")]);
    assert_eq!((code, row), (2, Value::Null), "{stderr}");
    assert!(stderr.contains("refuses the credentials") && !stderr.contains("secret-token"), "{stderr}");
    let (code, _, stderr) = run(worker().args([
        "verify",
        "--detections",
        "/no/such",
        "--patches",
        "/no/such",
        "--kubeconfig",
        "a",
        "--control-plane",
    ]));
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot be used with"), "{stderr}");
}

#[test]
fn fix_asks_the_server_before_it_writes() {
    let fix = |refused: &'static [(&'static str, u16, &'static str)]| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "pod.yaml", POD);
        let fake = Fake::start(folder.path(), refused);
        let (code, _, stderr) = run(worker().current_dir(folder.path()).args([
            "fix",
            "--unsafe",
            "--write",
            "-p",
            "no_privileged",
            "pod.yaml",
            "--verify-with",
            "server",
            "--kubeconfig",
            &fake.kubeconfig,
        ]));
        (code, std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap(), stderr)
    };
    let (code, text, stderr) = fix(&[]);
    assert_eq!((code, text), (0, POD.replace("privileged: true", "privileged: false")), "{stderr}");
    let (code, text, stderr) = fix(&[("privileged: false", 422, "Invalid value: no")]);
    assert_eq!((code, text.as_str()), (1, POD), "{stderr}");
    assert!(
        stderr.contains("the API server v1.37.2 refuses the repaired document: spec.x: Invalid value: no"),
        "{stderr}"
    );
    let (code, text, stderr) = fix(&[("kind: Pod", 503, "later")]);
    assert_eq!((code, text.as_str()), (2, POD), "{stderr}");
    assert!(
        stderr.contains("overloaded or failing: HTTP 503 (6 attempts)") && !stderr.contains("ERROR"),
        "{stderr}"
    );
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", POD);
    let (code, _, stderr) =
        run(worker().current_dir(folder.path()).args(["fix", "--unsafe", "pod.yaml", "--control-plane"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("hint: add --verify-with server"), "{stderr}");
}

#[test]
fn a_control_plane_verifies_where_its_programs_are() {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").unwrap_or_else(|| Path::new(&home).join(".cache").into());
    if !Path::new(&cache).join("k8s-auto-fix/control-plane").is_dir() {
        domain::testing::skipped_optional("no control plane (scripts/control-plane)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", POD);
    let (code, _, stderr) = run(worker().current_dir(folder.path()).env("XDG_CACHE_HOME", cache).args([
        "fix",
        "--unsafe",
        "--write",
        "-p",
        "no_privileged",
        "pod.yaml",
        "--verify-with=server",
        "--control-plane",
    ]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("schema gate: API server v1.") && !stderr.contains("ERROR"), "{stderr}");
    let left = std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap();
    assert_eq!(left, POD.replace("privileged: true", "privileged: false"));
}
