//! Runs whose results go to a bucket, with the binary, against a server of S3.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use results::layout::{STAGED, is_corpus, is_final_part};
use results::run_file::RunFile;
use results::store::{Environment, Store};
use serde_json::Value;

use crate::process::PATIENCE;
use crate::s3_server::{S3Server, SECRET};
use crate::support::{detections, run};

const OUT: &str = "s3://results/some/prefix";

/// A folder with a corpus, in which the binary is run, and a bucket.
struct Scene {
    folder: tempfile::TempDir,
    server: S3Server,
    undisturbed: Value,
}

impl Scene {
    fn new(records: usize, server: S3Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("detections.json");
        detections(&corpus, records);
        let undisturbed = run(&corpus, &folder.path().join("undisturbed"), &[]);
        Self { folder, server, undisturbed }
    }

    fn corpus(&self) -> PathBuf {
        self.folder.path().join("detections.json")
    }

    fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("coordinator"));
        command.current_dir(self.folder.path()).envs(self.server.environment());
        command
            .args(["run", "--output", "json", "--run-id", "r", "--out", out, "--corpus"])
            .arg(self.corpus());
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn finished(&self, more: &[&str]) -> (Value, String) {
        let Output { status, stdout, stderr } = self.command(OUT, more).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{said}");
        let closing: Value = serde_json::from_slice(&stdout).unwrap();
        for key in ["fingerprint", "records", "accepted", "rejected", "errors"] {
            assert_eq!(closing[key], self.undisturbed[key], "{key}");
        }
        (closing, said)
    }

    fn results(&self) -> Store {
        let environment = Environment::of(self.server.environment());
        Store::open_with(OUT, &environment).unwrap().folder("r").unwrap()
    }

    async fn keys(&self) -> Vec<String> {
        self.results().list().await.unwrap().into_iter().map(|object| object.key).collect()
    }

    /// What a run leaves: its description, and the parts and corpus that it names.
    async fn is_complete(&self) {
        let described = RunFile::load(&self.results()).await.unwrap();
        let keys = self.keys().await;
        let parts: Vec<&str> = described.parts.iter().map(|part| part.name.as_str()).collect();
        assert!(parts.iter().all(|part| is_final_part(part)), "{parts:?}");
        let of = |which: &dyn Fn(&str) -> bool| -> Vec<&str> {
            keys.iter().map(String::as_str).filter(|key| which(key)).collect()
        };
        assert_eq!(of(&is_final_part), parts);
        assert_eq!(of(&is_corpus).len(), 1, "{keys:?}");
        assert_eq!(keys.len(), parts.len() + 2, "{keys:?}");
    }
}

/// Waits for so many staged parts, then kills the process.
async fn kill_after(scene: &Scene, mut process: Child, parts: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let staged = scene.keys().await.iter().filter(|key| key.starts_with(STAGED)).count();
        if staged >= parts {
            break;
        }
        assert!(process.try_wait().unwrap().is_none(), "the run has ended too early");
        assert!(Instant::now() < until, "{staged} parts");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

fn holds_secret(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds_secret(&path)
        } else {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
        }
    })
}

#[tokio::test]
async fn a_run_in_a_bucket_is_that_in_a_folder() {
    let Some(server) = S3Server::start(&[]) else { return };
    let scene = Scene::new(60, server);
    let (closing, said) = scene.finished(&["-vvv", "--shard-size", "7"]);
    assert_eq!(closing["path"], format!("{OUT}/r"), "{closing}");
    scene.is_complete().await;
    let file = scene.results().get("run.json").await.unwrap();
    let file = String::from_utf8(file.to_vec()).unwrap();
    assert!(!file.contains(SECRET) && !said.contains(SECRET) && !holds_secret(scene.folder.path()));
    // The same command again only prints the summary.
    scene.finished(&[]);
    assert_eq!(scene.results().get("run.json").await.unwrap(), file.as_bytes());
}

#[tokio::test]
async fn a_run_survives_a_kill_and_a_server_that_fails() {
    let faults = ["--fail-every", "9", "--slow-every", "11", "--slow-ms", "100"];
    let Some(server) = S3Server::start(&faults) else { return };
    let scene = Scene::new(120, server);
    let more = ["--shard-size", "2", "--workers", "2"];
    for parts in [5, 20] {
        let process = scene.command(OUT, &more).spawn().unwrap();
        kill_after(&scene, process, parts).await;
    }
    scene.finished(&more);
    scene.is_complete().await;
}

#[test]
fn a_bucket_that_cannot_be_used_is_said_before_the_corpus_is_read() {
    let Some(server) = S3Server::start(&[]) else { return };
    let scene = Scene::new(3, server);
    for (out, expected) in [
        ("s3://none/x", "there is no such bucket"),
        ("s3://key:pass-word@results/x", "credentials come from the environment"),
        ("s3://results/x?sig=pass-word", "credentials come from the environment"),
        ("ftp://results/x", "unknown scheme 'ftp'"),
    ] {
        let output = scene.command(out, &[]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("pass-word"), "{said}");
    }
    let mut gone = scene.command(OUT, &[]);
    let output = gone.env("AWS_ENDPOINT_URL", "http://s3.example:9000").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("AWS_ALLOW_HTTP"), "{said}");
}
