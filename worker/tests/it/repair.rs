//! `worker propose`, `verify` and `fix`.

use serde_json::Value;

use crate::cli::{run, worker, write};

const FIXTURE: &str = "data/fixtures/policies/no_privileged";

/// Two documents and a list; comments, quotes and indentation of a person.
const MANY: &str = r"# Tools for the nodes
apiVersion: v1
kind: Pod
metadata: {name: disk}   # one of two
spec:
    containers:
      - name: 'disk'
        image: registry.example.com/disk:1.2
        securityContext: {privileged: true} # to read the disks
---
# The rest
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: net
  spec:
    containers:
    - name: net
      image: registry.example.com/net:1.0
      securityContext:
        # needed once
        privileged: true
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: settings}
  data: {a: 'b'}
";

#[test]
fn fix_shows_a_diff_and_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "many.yaml", MANY);
    let (code, stdout, stderr) = run(worker().current_dir(folder.path()).args([
        "fix",
        "--unsafe",
        "-p",
        "no_privileged",
        "many.yaml",
    ]));
    assert_eq!(code, 1, "there is something to write");
    insta::assert_snapshot!(format!("{stdout}=====\n{stderr}"));
    assert_eq!(std::fs::read_to_string(folder.path().join("many.yaml")).unwrap(), MANY);
}

#[test]
fn fix_writes_what_all_gates_accept() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/many.yaml", MANY);
    write(folder.path(), "a/windows.yaml", &MANY.replace('\n', "\r\n"));
    let fix = |more: &[&str]| {
        run(worker()
            .current_dir(folder.path())
            .args(["fix", "--unsafe", "-p", "no_privileged", "--write"])
            .args(more))
    };
    let (code, stdout, stderr) = fix(&["a"]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    let expected = MANY.replace("privileged: true", "privileged: false");
    assert_eq!(read("a/many.yaml"), expected);
    assert_eq!(read("a/windows.yaml"), expected.replace('\n', "\r\n"));
    let (code, _, stderr) = fix(&["a"]);
    assert_eq!((code, stderr.as_str()), (0, "0 repairs in 0 files written, 0 violations left\n"));
}

/// A Pod on one line, with an addition where it stands `after` its image.
fn pod_on_a_line(name: &str, after: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"containers":[{{"name":"a","image":"registry.example.com/a:1"{after}}}]}}}}"#
    )
}

#[test]
fn json_objects_that_follow_each_other_keep_what_stands_between_them() {
    let repaired = r#", "securityContext": {"readOnlyRootFilesystem": true}"#;
    for between in ["", " ", "\t ", "\n", "\r\n", " \r\n\r\n", "\n\n\n", "\n---\n"] {
        for end in ["", "\n", "\r\n\r\n"] {
            let folder = tempfile::tempdir().unwrap();
            let text = |after: &str| {
                let pods: Vec<String> =
                    ["one", "two", "three"].iter().map(|name| pod_on_a_line(name, after)).collect();
                pods.join(between) + end
            };
            write(folder.path(), "stream.json", &text(""));
            let fix = ["fix", "--unsafe", "-p", "read_only_root_fs", "--write", "stream.json"];
            let (code, stdout, stderr) = run(worker().current_dir(folder.path()).args(fix));
            assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
            let written = std::fs::read_to_string(folder.path().join("stream.json")).unwrap();
            assert_eq!(written, text(repaired), "{between:?} {end:?}");
        }
    }
}

#[test]
fn companions_are_written_beside_the_file_that_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ops}\nspec:\n  serviceAccountName: runner # who\n  containers:\n  - {name: a, image: 'registry.example.com/a:1'}\n";
    write(folder.path(), "pod.yaml", pod);
    let fix = || {
        run(worker().current_dir(folder.path()).args([
            "fix",
            "--unsafe",
            "-p",
            "non_existent_service_account",
            "--write",
            ".",
        ]))
    };
    let (code, _, stderr) = fix();
    assert_eq!(code, 0, "{stderr}");
    let companions = std::fs::read_to_string(folder.path().join("pod.companions.yaml")).unwrap();
    assert!(
        companions.contains("kind: ServiceAccount") && companions.contains("name: runner"),
        "{companions}"
    );
    assert!(std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap().contains("# who"));
    assert_eq!(fix().0, 0);
    assert_eq!(std::fs::read_to_string(folder.path().join("pod.companions.yaml")).unwrap(), companions);
}

#[test]
fn a_companion_with_other_content_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: registry.example.com/a:1\n    env:\n    - {name: DB_SECRET, value: hunter2hunter2}\n";
    write(folder.path(), "pod.yaml", pod);
    let fix = || {
        run(worker().current_dir(folder.path()).args([
            "fix",
            "--unsafe",
            "-p",
            "env_var_secret",
            "--write",
            "pod.yaml",
        ]))
    };
    assert_eq!(fix().0, 0);
    let companions = std::fs::read_to_string(folder.path().join("pod.companions.yaml")).unwrap();
    assert!(companions.contains("kind: Secret") && companions.contains("hunter2hunter2"), "{companions}");
    let repaired = std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap();
    assert!(repaired.contains("secretKeyRef") && !repaired.contains("hunter2"), "{repaired}");

    let other = pod.replace("hunter2hunter2", "another-secret");
    write(folder.path(), "pod.yaml", &other);
    let (code, _, stderr) = fix();
    assert_eq!(code, 2);
    assert!(stderr.contains("pod.yaml: not repaired: pod.companions.yaml has a Secret"), "{stderr}");
    assert_eq!(std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap(), other);
}

#[test]
fn violations_that_need_review_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: a}, ports: [{port: 80}]}\n";
    write(folder.path(), "service.yaml", service);
    let (code, stdout, stderr) = run(worker().current_dir(folder.path()).args([
        "fix",
        "--unsafe",
        "-p",
        "dangling_service",
        "--write",
        "service.yaml",
    ]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("service.yaml:1: Service s: dangling_service: needs review: "), "{stderr}");
    assert_eq!(std::fs::read_to_string(folder.path().join("service.yaml")).unwrap(), service);
}

#[test]
fn standard_input_cannot_be_written() {
    let (code, _, stderr) =
        run(worker().args(["fix", "--unsafe", "--write", "-"]).write_stdin("kind: Pod\n"));
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot write into -"), "{stderr}");
}

#[test]
fn propose_shows_diffs_of_the_users_text() {
    let (code, stdout, stderr) = run(worker().args(["propose", "-p", "no_privileged", "--diff", FIXTURE]));
    assert_eq!(code, 0);
    insta::assert_snapshot!(format!("{stdout}=====\n{stderr}"));
}

#[test]
fn records_are_detected_repaired_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "many.yaml", MANY);
    let step = |args: &[&str]| run(worker().current_dir(folder.path()).args(args));
    let (_, detections, _) = step(&["detect", "--output", "detections", "many.yaml"]);
    write(folder.path(), "d.json", &detections);
    let (code, patches, _) = step(&["propose", "--detections", "d.json"]);
    assert_eq!(code, 0);
    let rows: Vec<Value> = serde_json::from_str(&patches).unwrap();
    let (_, direct, _) = step(&["propose", "many.yaml"]);
    let direct: Vec<Value> = serde_json::from_str(&direct).unwrap();
    assert_eq!(
        rows.iter().map(|row| (&row["id"], &row["patch"])).collect::<Vec<_>>(),
        direct.iter().map(|row| (&row["id"], &row["patch"])).collect::<Vec<_>>()
    );
    write(folder.path(), "p.json", &patches);
    let (code, verdicts, stderr) = step(&["verify", "--detections", "d.json", "--patches", "p.json"]);
    assert_eq!(code, 0, "{stderr}");
    let verdicts: Vec<Value> = serde_json::from_str(&verdicts).unwrap();
    assert_eq!(verdicts.len(), rows.len());
    assert!(verdicts.iter().all(|row| row["accepted"] == true && row["gates"]["schema"] == "passed"));

    let broken = patches.replacen("\"op\":\"", "\"op\":\"no-", 1);
    write(folder.path(), "p.json", &broken);
    let verify = ["verify", "--detections", "d.json", "--patches", "p.json", "--disable-gate", "schema"];
    let (code, verdicts, stderr) = step(&verify);
    assert_eq!(code, 1);
    let verdicts: Vec<Value> = serde_json::from_str(&verdicts).unwrap();
    assert_eq!((&verdicts[0]["accepted"], &verdicts[0]["fault"]), (&false.into(), &"proposer".into()));
    assert_eq!(verdicts[1]["gates"]["schema"], "not_run");
    assert!(stderr.ends_with("1 rejected (1 by fault of the proposer)\n"), "{stderr}");
    assert_eq!(
        step(&["verify", "--detections", "d.json", "--patches", "p.json", "--disable-gate", "apply"]).0,
        2
    );
}

#[test]
fn an_entry_of_patches_that_cannot_be_read_is_said_of_its_record() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a}]}\n",
    );
    let step = |args: &[&str]| run(worker().current_dir(folder.path()).args(args));
    let (_, detections, _) = step(&["detect", "-p", "no_latest_tag", "--output", "detections", "pod.yaml"]);
    write(folder.path(), "d.json", &detections);
    for (entry, said) in [
        (r#"{"id": "001", "patch": [{"op": "remove", "op": "test", "path": "/a"}]}"#, "op"),
        (r#"{"id": "001", "patch": [{"op": "add", "path": "/a", "value": {"b": 1, "b": 2}}]}"#, "b"),
        (r#"{"id": "001"}"#, "patch"),
    ] {
        write(folder.path(), "p.json", &format!("[\n{entry}\n]\n"));
        let (code, verdicts, stderr) = step(&["verify", "--detections", "d.json", "--patches", "p.json"]);
        assert_eq!(code, 1, "{stderr}");
        let verdicts: Vec<Value> = serde_json::from_str(&verdicts).unwrap();
        let error = verdicts[0]["errors"][0].as_str().unwrap();
        assert!(error.starts_with("p.json: entry 1, line 2 ") && error.contains(said), "{entry}: {error}");
        assert!(error.ends_with("see the format of patches.json"), "{error}");
        assert_eq!(verdicts[0]["fault"], "proposer");
    }
}

#[test]
fn settings_come_in_layers() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", "kind: Pod\nspec: {containers: [{name: a, image: nginx}]}\n");
    let propose = |more: &[&str]| {
        run(worker()
            .current_dir(folder.path())
            .args(["propose", "-p", "no_latest_tag", "pod.yaml"])
            .args(more))
    };
    assert!(propose(&[]).1.contains("nginx:stable"));
    assert!(propose(&["--set", "rules.default_tag=v9"]).1.contains("nginx:v9"));
    assert!(propose(&["--set", "rules.images.nginx=nginx:1.27"]).1.contains("nginx:1.27"));
    let (code, _, stderr) = propose(&["--set", "rules.default_tga=v9"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("rules.default_tag"), "the nearest key is suggested: {stderr}");
}

#[test]
fn a_long_patch_is_written_once_and_verified_for_every_record_that_shares_it() {
    let folder = tempfile::tempdir().unwrap();
    let variables: Vec<String> =
        (0..110).map(|number| format!("    - name: SECRET_{number}\n      value: v{number}\n")).collect();
    let variables = variables.concat();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    image: a:1\n    env:\n{variables}"
    );
    write(folder.path(), "pod.yaml", &pod);
    let output = |arguments: &[&str]| {
        let (_, stdout, _) = run(worker().current_dir(folder.path()).args(arguments));
        stdout
    };
    let patches = output(&["propose", "-p", "env_var_secret", "--output", "jsonl", "pod.yaml"]);
    let rows: Vec<Value> = patches.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 110);
    assert_eq!(rows[0]["patch"].as_array().unwrap().len(), 110);
    assert!(
        rows[1..].iter().all(|row| row["patch"].is_null() && row["same_as"] == rows[0]["id"]),
        "{:?}",
        rows[1]
    );
    let detections = output(&["detect", "-p", "env_var_secret", "--output", "detections", "pod.yaml"]);
    write(folder.path(), "patches.jsonl", &patches);
    write(folder.path(), "detections.json", &detections);
    let verdicts = output(&[
        "verify",
        "--detections",
        "detections.json",
        "--patches",
        "patches.jsonl",
        "--output",
        "jsonl",
    ]);
    let accepted = verdicts.lines().filter(|line| line.contains(r#""status":"accepted""#)).count();
    assert_eq!(accepted, 110, "{verdicts}");
}

#[test]
fn repairs_that_change_how_a_workload_runs_are_held_back_unless_they_are_allowed() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  serviceAccountName: runner\n  containers:\n  - name: a\n    image: registry.example.com/a:latest\n    securityContext: {privileged: true}\n";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", pod);
    let policies = "no_privileged,no_latest_tag,non_existent_service_account";
    let fix = |more: &[&str]| {
        run(worker().current_dir(folder.path()).args(["fix", "-p", policies]).args(more).arg("pod.yaml"))
    };
    let (code, stdout, stderr) = fix(&[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(!stdout.contains("privileged: false") && !stdout.contains("latest"), "{stdout}");
    assert!(stdout.contains("+kind: ServiceAccount"), "a companion changes nothing of the pod: {stdout}");
    assert!(stderr.contains("2 repairs held back") && stderr.contains("--unsafe"), "{stderr}");
    assert!(stderr.contains("loses_privilege 1") && stderr.contains("tag_unverified 1"), "{stderr}");

    let (code, stdout, stderr) = fix(&["--allow", "loses_privilege"]);
    assert!(code == 1 && stdout.contains("privileged: false"), "{stdout}");
    assert!(stderr.contains("1 repair held back") && !stderr.contains("loses_privilege"), "{stderr}");
    let (code, _, stderr) = fix(&["--allow", "everything"]);
    assert!(code == 2 && stderr.contains("loses_privilege"), "the cautions are named: {stderr}");

    let (code, _, stderr) = fix(&["--unsafe", "--write"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("held back"), "{stderr}");
    let written = std::fs::read_to_string(folder.path().join("pod.yaml")).unwrap();
    assert!(written.contains("privileged: false") && !written.contains(":latest"), "{written}");
}
