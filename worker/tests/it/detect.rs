//! `worker detect`.

use serde_json::Value;

use crate::cli::{run, worker, write};

const FIXTURE: &str = "data/fixtures/policies/no_privileged";

fn detect(args: &[&str]) -> (i32, String, String) {
    run(worker().args(["detect", "--policy", "no-privileged"]).args(args))
}

#[test]
fn findings_as_lines() {
    let (code, stdout, stderr) = detect(&[FIXTURE]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(format!("{stdout}{stderr}"));
}

#[test]
fn findings_as_sarif() {
    let (code, stdout, _) = detect(&["--output", "sarif", FIXTURE]);
    assert_eq!(code, 1);
    let mut log: Value = serde_json::from_str(&stdout).unwrap();
    log["runs"][0]["tool"]["driver"]["semanticVersion"] = "0.0.0".into();
    insta::assert_json_snapshot!(log);
}

#[test]
fn findings_as_json_lines_and_records() {
    let (_, array, _) = detect(&["--output", "json", FIXTURE]);
    let (_, lines, _) = detect(&["--output", "jsonl", FIXTURE]);
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(array, lines);
    insta::assert_json_snapshot!(array[0]);
    let (code, records, _) = detect(&["--output", "detections", FIXTURE]);
    assert_eq!(code, 1);
    let records: Vec<Value> = serde_json::from_str(&records).unwrap();
    assert_eq!(records[0]["id"], "001");
    assert_eq!(records[0]["policy_id"], "privileged-container");
    assert_eq!(records[0]["manifest_path"], format!("{FIXTURE}/bad.yaml"));
    let text = std::fs::read_to_string(crate::cli::root().join(FIXTURE).join("bad.yaml")).unwrap();
    assert!(text.ends_with(records[0]["manifest_yaml"].as_str().unwrap()), "the document's own text");
}

#[test]
fn a_clean_input_exits_0() {
    let (code, stdout, stderr) = detect(&[&format!("{FIXTURE}/fixed.yaml")]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(stderr.starts_with("0 findings in "), "{stderr}");
    let (_, array, _) = detect(&["--output", "json", &format!("{FIXTURE}/fixed.yaml")]);
    assert_eq!(array, "[]\n");
}

#[test]
fn unreadable_documents_are_reported_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "kind: ConfigMap\n---\nb: [\n---\nkind: {{ .Values.kind }}\n");
    let path = folder.path().to_str().unwrap();
    let (code, _, stderr) = detect(&[path]);
    assert_eq!(code, 2, "something was not read, and may not be clean");
    let lines: Vec<&str> = stderr.lines().map(|line| line.trim_start_matches(path)).collect();
    insta::assert_snapshot!(lines.join("\n"));

    write(folder.path(), "a.yaml", "b: [\n");
    let (code, _, stderr) = detect(&[path]);
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = detect(&["no/such/folder"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("worker: cannot read no/such/folder: "), "{stderr}");
}

/// One broken file beside a clean one, and a template of a chart.
fn broken(folder: &std::path::Path) {
    write(folder, "ok.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    write(folder, "broken.yaml", "kind: Pod\nspec: [\nx: }\n");
    write(folder, "list.json", "[1, 2]\n");
    write(folder, "chart/templates/a.yaml", "kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n");
}

#[test]
fn what_cannot_be_read_does_not_pass_as_clean() {
    let folder = tempfile::tempdir().unwrap();
    broken(folder.path());
    let on = |command: &str, more: &[&str]| {
        run(worker().current_dir(folder.path()).args([command, "."]).args(more))
    };
    for command in ["detect", "fix"] {
        let (code, _, stderr) = on(command, &[]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("could not check everything: 1 document cannot be read"), "{stderr}");
        assert!(stderr.contains("--ignore-unreadable") && stderr.contains(", 1 unreadable"), "{stderr}");
        let (code, _, stderr) = on(command, &["--ignore-unreadable"]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains(", 1 unreadable"), "still counted: {stderr}");
    }
    let (_, _, stderr) = on("detect", &[]);
    let line = "0 findings in 1 object of 4 files, 1 document left alone, 1 document with unrendered placeholders, 1 unreadable";
    assert!(stderr.contains(line), "the template is counted once: {stderr}");
    std::fs::remove_file(folder.path().join("broken.yaml")).unwrap();
    assert_eq!(on("detect", &[]).0, 0, "a template of a chart and a list are not unreadable");
}

#[test]
fn reports_have_an_entry_for_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    broken(folder.path());
    for command in ["detect", "fix"] {
        let report = |form: &str, more: &[&str]| {
            let more = [&["--output", form], more].concat();
            run(worker().current_dir(folder.path()).args([command, "."]).args(more)).1
        };
        let json = |form: &str, more: &[&str]| -> serde_json::Value {
            serde_json::from_str(&report(form, more)).unwrap()
        };
        let text = report("junit", &[]);
        assert!(text.contains("<error type=\"unreadable\" message=\"cannot be read: "), "{text}");
        let suite = text.split("<testsuite ").find(|suite| suite.contains("broken.yaml")).unwrap();
        assert!(suite.contains("errors=\"1\"") && !suite.contains("no violations"), "{suite}");
        let text = report("junit", &["--ignore-unreadable"]);
        assert!(text.contains("<skipped message=\"cannot be read: ") && !text.contains("<error"), "{text}");
        let text = report("github", &[]);
        assert!(text.starts_with("::error file=broken.yaml,line=3,") && text.lines().count() == 1, "{text}");
        assert!(report("github", &["--ignore-unreadable"]).starts_with("::warning "));
        let entries = json("gitlab", &[]);
        assert_eq!((&entries[0]["check_name"], entries.as_array().unwrap().len()), (&"unreadable".into(), 1));
        assert_eq!(entries[0]["location"]["path"], "broken.yaml");
        let found = json("rdjson", &[]);
        assert_eq!(found["diagnostics"][0]["severity"], "ERROR", "{found}");
        assert_eq!(found["diagnostics"][0]["location"]["range"]["start"]["line"], 3, "{found}");
        let invocation = json("sarif", &[])["runs"][0]["invocations"][0].clone();
        assert_eq!(invocation["executionSuccessful"], false, "{invocation}");
        let levels: Vec<_> = invocation["toolExecutionNotifications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["level"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(levels, ["error", "warning", "warning"], "{invocation}");
        let text = report("markdown", &[]);
        assert!(text.contains("1 document cannot be read"), "{text}");
    }
}

#[test]
fn standard_input() {
    let pod = "kind: Pod\nspec:\n  containers:\n  - name: a\n    securityContext:\n      privileged: true\n";
    let (code, stdout, _) = run(worker().args(["detect", "-p", "no_privileged", "-"]).write_stdin(pod));
    assert_eq!(code, 1);
    assert!(stdout.starts_with("-:6:7: error: "), "{stdout}");
}

#[test]
fn objects_of_other_files_are_considered() {
    let folder = tempfile::tempdir().unwrap();
    let service = "kind: Service\nmetadata: {name: s}\nspec: {selector: {app: a}}\n";
    write(folder.path(), "service.yaml", service);
    let code = || run(worker().args(["detect", "-p", "dangling_service"]).arg(folder.path())).0;
    assert_eq!(code(), 1);
    write(
        folder.path(),
        "z/web.yaml",
        "kind: Deployment\nspec: {template: {metadata: {labels: {app: a}}, spec: {containers: []}}}\n",
    );
    assert_eq!(code(), 0);
}

/// What is found beyond the thirty, and by a named set of policies.
#[test]
fn the_catalogue_and_the_profiles_choose_the_policies() {
    let folder = tempfile::tempdir().unwrap();
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: a}\nspec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n";
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: a}\nrules: [{resources: [\"*\"], verbs: [get]}]\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: {hostPID: true, containers: [{image: \"a:1\", name: a, securityContext: {procMount: Unmasked}}]}\n";
    write(folder.path(), "a.yaml", &[ingress, role, pod].join("---\n"));
    let checks = |args: &[&str]| {
        let (_, lines, stderr) = run(worker().args(["detect", "-o", "jsonl"]).args(args).arg(folder.path()));
        let check = |line: &str| {
            let finding: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} {stderr}"));
            finding["check"].as_str().unwrap().to_owned()
        };
        lines.lines().map(check).collect::<std::collections::BTreeSet<String>>()
    };
    let (paper, full) = (checks(&[]), checks(&["--catalogue", "full"]));
    assert_eq!(paper, checks(&["--catalogue", "paper"]));
    assert!(paper.contains("host-pid") && paper.is_subset(&full), "{paper:?} {full:?}");
    for check in ["dangling-ingress", "wildcard-in-rules", "unsafe-proc-mount", "no-liveness-probe"] {
        assert!(full.contains(check) && !paper.contains(check), "{check}");
    }
    assert_eq!(checks(&["--profile", "rbac"]).into_iter().collect::<Vec<_>>(), ["wildcard-in-rules"]);
    assert_eq!(full, checks(&["--set", "detector.catalogue=full"]));
    assert_eq!(checks(&["--profile", "rbac"]), checks(&["--set", "detector.profile=rbac"]));
    assert_eq!(checks(&["-p", "unsafe-proc-mount"]).len(), 1, "a named policy may be of either catalogue");
    // A Service beside it answers.
    write(
        folder.path(),
        "b.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: a}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n",
    );
    assert!(!checks(&["--catalogue", "full"]).contains("dangling-ingress"));
    let (code, _, stderr) = run(worker().args(["detect", "--profile", "pss", "x.yaml"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("known are pss-baseline, pss-restricted, rbac, kube-linter-default"), "{stderr}");
}

#[test]
fn findings_come_in_the_forms_of_ci_services() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "a, b.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: registry.example.com/web:1\n    securityContext: {privileged: true}\n",
    );
    let detect = |form: &str| {
        let args = ["detect", "-p", "no_privileged", "--output", form, "."];
        let (code, stdout, stderr) = run(worker().current_dir(folder.path()).args(args));
        assert_eq!(code, 1, "{stderr}");
        stdout
    };
    let annotation = detect("github");
    assert!(annotation.starts_with("::error file=a%2C b.yaml,line=8,"), "{annotation}");
    assert!(annotation.contains("title=privileged-container::"), "{annotation}");
    let report: Value = serde_json::from_str(&detect("gitlab")).unwrap();
    let [entry] = &report.as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(
        (&entry["location"]["path"], &entry["location"]["lines"]["begin"]),
        (&"a, b.yaml".into(), &8.into())
    );
    for key in ["description", "check_name", "fingerprint", "severity"] {
        assert!(!entry[key].as_str().unwrap().is_empty(), "{key}");
    }
}

#[test]
fn known_findings_and_excluded_files_are_left_out_and_warnings_need_not_fail() {
    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str, image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: web\n    image: registry.example.com/{image}\n    securityContext: {{privileged: true}}\n"
        )
    };
    write(folder.path(), "old.yaml", &pod("old", "web:1"));
    let detect = |more: &[&str]| {
        let policies = ["detect", "-p", "no_privileged,no_latest_tag"];
        run(worker().current_dir(folder.path()).args(policies).args(more).arg("."))
    };
    let (_, log, _) = detect(&["--output", "sarif"]);
    std::fs::write(folder.path().join("known.sarif"), log).unwrap();
    let (code, stdout, stderr) = detect(&["--baseline", "known.sarif"]);
    assert!(code == 0 && stdout.is_empty() && stderr.contains("1 of the baseline"), "{stdout}{stderr}");

    write(folder.path(), "vendor/new.yaml", &pod("new", "web:latest"));
    let (code, stdout, stderr) = detect(&["--baseline", "known.sarif"]);
    assert_eq!((code, stdout.lines().count()), (1, 2), "{stdout}{stderr}");
    assert!(stdout.lines().all(|line| line.starts_with("vendor/new.yaml")), "{stdout}");
    for glob in ["vendor/*", "new.*"] {
        let (code, _, stderr) = detect(&["--baseline", "known.sarif", "--exclude", glob]);
        assert_eq!(code, 0, "{glob}: {stderr}");
    }
    let (code, _, stderr) = detect(&["--baseline", "old.yaml"]);
    assert!(code == 2 && stderr.contains("baseline"), "{stderr}");

    write(folder.path(), "old.yaml", &pod("old", "web:latest").replace("true", "false"));
    let only = ["--exclude", "vendor/**"];
    assert_eq!(detect(&only).0, 1, "a warning");
    assert_eq!(detect(&[&only[..], &["--fail-on", "error"]].concat()).0, 0);
    assert_eq!(detect(&["--fail-on", "error"]).0, 1, "the error in vendor");
    assert_eq!(detect(&["--fail-on", "never"]).0, 0);
}
