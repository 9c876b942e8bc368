//! `configs/deploy`: our own detector finds nothing in it, and the rules of the API server accept it.

use std::path::{Path, PathBuf};
use std::process::Command;

use domain::config::Limits;
use engine::document::Document;
use engine::schema::Structural;

use crate::builds::path_with;
use crate::cli::{root, run, worker, write};

/// The exceptions that annotations of the manifests document, with their reasons.
const EXCEPTIONS: [&str; 3] = ["minimum-three-replicas", "no-liveness-probe", "no-readiness-probe"];

fn folder() -> PathBuf {
    root().join("configs/deploy")
}

/// Exit code and messages of the detector, which looks for every policy.
fn detected(path: &Path) -> (i32, String) {
    let (code, stdout, stderr) = run(worker().arg("detect").arg(path).args(["--catalogue", "full"]));
    (code, stdout + &stderr)
}

/// Asserts that nothing is found, but for exceptions of these names.
fn assert_nothing_is_found(path: &Path, exceptions: &[&str]) {
    let (code, said) = detected(path);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("\n0 findings in 1"), "{said}");
    for line in said.lines().filter(|line| line.contains("not counted: ")) {
        assert!(exceptions.iter().any(|name| line.contains(&format!("not counted: {name} "))), "{line}");
    }
}

fn assert_is_accepted(text: &str, place: &str) {
    let documents = text.split("\n---\n").filter(|text| !text.trim().is_empty());
    let mut objects = 0;
    for text in documents {
        let document = Document::parse(text, &Limits::default()).unwrap();
        let report = Structural::newest().validate(&document.value, &[]);
        assert!(report.passes(), "{place}: {:?}\n{text}", report.errors());
        objects += 1;
    }
    assert!(objects > 0, "{place} has no object");
}

/// What Kustomize makes of a folder; `None` where it is not there.
fn rendered(folder: &Path) -> Option<String> {
    let path = path_with(&["kustomize", "kubectl"])?;
    let build =
        r#"if command -v kustomize >/dev/null; then kustomize build "$0"; else kubectl kustomize "$0"; fi"#;
    let output = Command::new("sh").args(["-c", build]).arg(folder).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn nothing_is_found_in_the_manifests() {
    assert_nothing_is_found(&folder(), &EXCEPTIONS);
}

#[test]
fn the_rules_of_the_api_server_accept_the_base() {
    for name in ["namespace", "coordinator", "worker", "network-policies"] {
        let text = std::fs::read_to_string(folder().join(format!("base/{name}.yaml"))).unwrap();
        assert_is_accepted(&text, name);
    }
}

#[test]
fn nothing_is_found_in_what_the_overlays_make() {
    for (name, more) in [
        ("embedded", &[][..]),
        ("postgres", &[]),
        ("standbys", &[]),
        ("model", &["read-secret-from-env-var", "env-value-from"]),
    ] {
        let Some(text) = rendered(&folder().join("overlays").join(name)) else { return };
        assert_is_accepted(&text, name);
        let made = tempfile::tempdir().unwrap();
        write(made.path(), "all.yaml", &text);
        assert_nothing_is_found(made.path(), &[&EXCEPTIONS[..], more].concat());
    }
}

#[test]
fn a_weaker_manifest_is_found() {
    let text = std::fs::read_to_string(folder().join("base/coordinator.yaml")).unwrap();
    let made = tempfile::tempdir().unwrap();
    write(made.path(), "coordinator.yaml", &text.replace("privileged: false", "privileged: true"));
    let (code, said) = detected(made.path());
    assert!(code == 1 && said.contains("privileged"), "{said}");
}

#[test]
fn the_worker_takes_every_flag_that_is_given_to_it() {
    let (_, help, _) = run(worker().args(["serve", "--help"]));
    let manifest = std::fs::read_to_string(folder().join("base/worker.yaml")).unwrap();
    let unit = std::fs::read_to_string(folder().join("systemd/k8s-auto-fix-worker.service")).unwrap();
    let words = manifest.split_whitespace().chain(unit.split_whitespace());
    let flags: Vec<&str> = words
        .filter(|word| word.starts_with("--") && !word.starts_with("---"))
        .map(|word| word.split_once('=').map_or(word, |(flag, _)| flag))
        .collect();
    assert!(flags.len() >= 7, "{flags:?}");
    for flag in flags {
        assert!(help.contains(&format!("{flag} <")), "{flag}");
    }
}
