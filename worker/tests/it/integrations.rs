//! The hooks of `pre-commit` and the action for GitHub: what they run, run.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::{root, write};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: \
                   registry.example.com/a:1\n    env: [{name: A, value: '1'}, {name: A, value: '2'}]\n    securityContext: \
                   {privileged: true}\n";

/// The step of the action; the exit code.
fn step(folder: &Path, inputs: &[(&str, &str)]) -> i32 {
    let defaults =
        [("PATHS", "in"), ("ARGUMENTS", ""), ("WRITE", "false"), ("SARIF", "log.sarif"), ("FAIL", "true")];
    let worker = assert_cmd::cargo::cargo_bin!("worker");
    let done = Command::new("bash")
        .arg(root().join(".github/actions/fix/run"))
        .current_dir(folder)
        .envs(defaults)
        .env("WORKER", worker)
        .env("GITHUB_STEP_SUMMARY", folder.join("summary.md"))
        .env("GITHUB_OUTPUT", folder.join("output"))
        .envs(inputs.iter().copied())
        .output()
        .unwrap();
    done.status.code().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&done.stderr)))
}

#[test]
fn the_action_reports_and_repairs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/pod.yaml", POD);
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    assert_eq!(step(folder.path(), &[]), 1);
    let log: Value = serde_json::from_str(&read("log.sarif")).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result.get("fixes").is_some()), "{log}");
    assert!(read("summary.md").contains("can be fixed") && read("output") == "found=true\n");
    assert_eq!(read("in/pod.yaml"), POD, "nothing is written unless it is asked for");
    assert_eq!(step(folder.path(), &[("FAIL", "false")]), 0);

    assert_eq!(step(folder.path(), &[("WRITE", "true"), ("ARGUMENTS", "--policy duplicate_env_var")]), 0);
    assert!(!read("in/pod.yaml").contains("value: '1'"), "{}", read("in/pod.yaml"));
    assert_eq!(step(folder.path(), &[("ARGUMENTS", "--policy duplicate_env_var")]), 0);
    assert!(read("output").ends_with("found=false\n"));

    // Text of others is no script, and no pattern.
    assert_eq!(step(folder.path(), &[("PATHS", "$(touch owned) * in")]), 2);
    assert!(!folder.path().join("owned").exists());
    assert_eq!(step(folder.path(), &[("PATHS", "--write in")]), 2, "paths are no flags");
}

#[test]
fn the_action_hands_its_inputs_over_as_variables() {
    let text = std::fs::read_to_string(root().join(".github/actions/fix/action.yml")).unwrap();
    let action = engine::yaml::load(&text, &domain::config::Limits::default()).unwrap().value;
    let step = &action["runs"]["steps"][0];
    let names: Vec<&str> = step["env"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["PATHS", "WORKER", "ARGUMENTS", "WRITE", "SARIF", "FAIL"]);
    for name in names {
        let input = name.to_lowercase();
        assert_eq!(step["env"][name], format!("${{{{ inputs.{input} }}}}"));
        assert!(action["inputs"][&input]["default"].is_string(), "{input}");
    }
    assert!(!step["run"].as_str().unwrap().contains("${{"), "no input is part of the script");
}

#[test]
fn the_hooks_run() {
    let text = std::fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    let hooks = engine::yaml::load(&text, &domain::config::Limits::default()).unwrap().value;
    let worker = assert_cmd::cargo::cargo_bin!("worker");
    for (hook, expected) in hooks.as_array().unwrap().iter().zip([1, 1]) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "pod.yaml", POD);
        write(folder.path(), "values.yaml", "replicas: 1\n");
        // As pre-commit does: the entry, and then the names of the changed files.
        let mut words = hook["entry"].as_str().unwrap().split(' ');
        assert_eq!(words.next(), Some("worker"));
        let mut command = Command::new(worker);
        let done = command
            .current_dir(folder.path())
            .args(words)
            .args(["pod.yaml", "values.yaml"])
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(expected), "{hook}: {}", String::from_utf8_lossy(&done.stderr));
        let is_changed = std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap() != POD;
        assert_eq!(is_changed, hook["id"] == "k8s-auto-fix");
    }
}
