//! Test support: corpora, the binary, and a coordinator in this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use assert_cmd::Command;
use results::layout::is_final_part;
use results::store::Store;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use coordinator::ledger::state_folder::StateFolder;
use coordinator::llm_gateway::response_cache::ResponseCache;
use coordinator::run::{Coordinator, OwnerDeadline, Parts, Recovery};
use coordinator::server::connections::Limits;
use coordinator::server::identity::LeaseSecrets;
use coordinator::server::listen::Listener;
use coordinator::server::{self, Endpoints, ServerError, tokens};
use proto::channel::{Access, Connection, CoordinatorAddress, connect};

/// Writes `records` detections in a few documents, of several policies, some of them not valid.
pub(crate) fn detections(path: &Path, records: usize) {
    let policies =
        ["latest-tag", "privileged-container", "no-read-only-root-fs", "run-as-non-root", "unknown-policy"];
    let entries: Vec<Value> = (0..records)
        .map(|number| {
            let document = number / 3;
            let yaml = match document % 7 {
                5 => "kind: Pod\n  bad: [".to_owned(),
                6 => "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata: {}\n".to_owned(),
                _ => format!(
                    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{document}\nspec:\n  containers:\n  - name: main\n    \
                     image: nginx\n    securityContext:\n      privileged: true\n"
                ),
            };
            json!({
                "id": format!("{:04}", number + 1),
                "manifest_path": format!("manifests/{document}.yaml"),
                "manifest_yaml": yaml,
                "policy_id": policies[number % policies.len()],
                "violation_text": "",
            })
        })
        .collect();
    std::fs::write(path, serde_json::to_vec(&entries).unwrap()).unwrap();
}

/// Runs the binary with `arguments` in an environment without settings.
pub(crate) fn coordinator(arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coordinator"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("K8S_AUTO_FIX_") || name == "RUST_LOG")
    {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

/// Runs a corpus with the binary; returns the summary.
pub(crate) fn run(corpus: &Path, out: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["run", "--output", "json", "--corpus", corpus.to_str().unwrap()];
    arguments.extend(["--out", out.to_str().unwrap()]);
    arguments.extend(more);
    let output = coordinator(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// The only part of a finished run; its name holds the hash of its content.
pub(crate) fn final_part(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| is_final_part(path.file_name().unwrap().to_str().unwrap());
    let parts: Vec<PathBuf> = entries.filter(is_part).collect();
    let [part] = parts.as_slice() else { panic!("{} has {parts:?}", folder.display()) };
    part.clone()
}

/// The name of [`final_part`].
pub(crate) fn final_part_name(folder: &Path) -> String {
    final_part(folder).file_name().unwrap().to_str().unwrap().to_owned()
}

/// The address that `url` names, for a program of the same user.
pub(crate) fn address(url: &str) -> CoordinatorAddress {
    CoordinatorAddress::parse(url, &Access::default()).unwrap()
}

/// A connection to the coordinator at `url`.
pub(crate) fn connection(url: &str) -> Connection {
    connect(&address(url))
}

/// A coordinator in this process.
pub(crate) struct Served {
    pub(crate) url: String,
    runs: Arc<Coordinator>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServerError>>,
    _state: StateFolder,
}

impl Served {
    /// Serves with the state folder of `coordinator run --out OUT --run-id RUN`.
    pub(crate) async fn start(out: &Path, run_id: &str) -> Self {
        Self::start_with(out, run_id, Limits::default()).await
    }

    /// Like [`Served::start`], with other limits of incoming data.
    pub(crate) async fn start_with(out: &Path, run_id: &str, limits: impl Into<Limits>) -> Self {
        let limits = limits.into();
        let state = StateFolder::open(&out.join(run_id).join(".coordinator")).unwrap();
        let runs = Coordinator::open(Parts {
            ledger: Arc::new(state.ledger().unwrap()),
            store: Store::local(out).unwrap(),
            scratch: state.join(""),
            recovery: Recovery::Forfeit,
            owner: OwnerDeadline::unlimited(),
        })
        .await
        .unwrap();
        let answers = Arc::new(ResponseCache::open(&state.join("answers.sqlite")).unwrap());
        let socket = state.join("socket");
        let url = format!("unix:{}", socket.display());
        tokens::create(&state.join("")).unwrap();
        let endpoints = Endpoints {
            listeners: vec![Listener::unix(&socket).unwrap()],
            access: Arc::default(),
            leases: LeaseSecrets::of_state(&state.join("")).unwrap(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server =
            tokio::spawn(server::run_with(endpoints, Arc::clone(&runs), answers, limits, async move {
                let _ = stopped.await;
            }));
        Self { url, runs, stop, server, _state: state }
    }

    /// Waits until so many uploads are in progress.
    pub(crate) async fn receives(&self, uploads: usize) {
        let line = format!("_uploads {uploads}");
        for _ in 0..1000 {
            if self.runs.metrics_text().lines().any(|text| text.ends_with(&line)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{uploads} uploads are not in progress at the same time:\n{}", self.runs.metrics_text());
    }

    /// Shuts it down.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap().unwrap();
    }
}
