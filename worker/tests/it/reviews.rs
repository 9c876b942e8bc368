//! The forms of `worker fix` that reviews read: every finding is fixed or carries its reason, and another program that makes
//! the suggested changes gets what `fix --write` writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::{run, worker, write};

/// Several objects, comments, a list in flow style, an item of a `List`, and no line break at the end.
const MANY: &str = r#"# Tools
apiVersion: v1
kind: Pod
metadata: {name: disk, labels: {app: disk}}   # one of two
spec:
    containers:
      - name: 'disk'
        image: "registry.example.com/disk:latest" # moves
        securityContext: {privileged: true} # to read the disks
        env: [{name: A, value: "1"}, {name: A, value: "2"}]
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: net}
  spec:
    replicas: 1
    selector: {matchLabels: {app: net}}
    template:
      metadata: {labels: {app: net}}
      spec:
        hostNetwork: true
        containers:
        - name: net
          image: registry.example.com/net
          ports: [{containerPort: 80, hostPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: nowhere}
spec: {selector: {app: ü-none}, ports: [{port: 80}]}"#;

/// Policies whose repairs bring no companions.
const POLICIES: &str = "no_privileged,no_latest_tag,duplicate_env_var,drop_capabilities,run_as_non_root,read_only_root_fs,\
                        set_requests_limits,no_host_network,no_host_ports,dangling_service,no_anti_affinity";

fn files(folder: &Path) {
    write(folder, "in/many.yaml", MANY);
    write(folder, "in/windows.yaml", &MANY.replace('\n', "\r\n"));
    write(folder, "in/ü b/mark.yaml", &format!("\u{feff}{MANY}\n"));
    write(folder, "in/good.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
}

fn fix(folder: &Path, more: &[&str]) -> (i32, String, String) {
    run(worker().current_dir(folder).args(["fix", "--unsafe", "-p", POLICIES]).args(more))
}

/// What `fix --write` makes of the files, by path.
fn written(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (_, _, stderr) = fix(folder, &["--output-dir", "out", "in"]);
    assert!(stderr.contains("written"), "{stderr}");
    let mut found = BTreeMap::new();
    for path in ["in/many.yaml", "in/windows.yaml", "in/ü b/mark.yaml"] {
        found.insert(path.to_owned(), std::fs::read(folder.join("out").join(path)).unwrap());
    }
    found
}

/// Makes the changes that a program of another language reads from a report.
fn applied_by_python(folder: &Path, report: &str, reader: &str) {
    write(folder, "report", report);
    let script = format!("{APPLY}\n{reader}");
    let done = Command::new("python3").current_dir(folder).args(["-c", &script]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Replaces regions, given as (path, start line, start column, end line, end column, text); columns count characters, or bytes.
const APPLY: &str = r"
import json, collections, urllib.parse
def apply(changes, columns):
    files = collections.defaultdict(list)
    for path, *change in changes:
        files[path].append(change)
    for path, changes in files.items():
        data = open(path, 'rb').read()
        mark = b'\xef\xbb\xbf' if data.startswith(b'\xef\xbb\xbf') else b''
        lines = data[len(mark):].split(b'\n')
        def offset(line, column):
            before = sum(len(l) + 1 for l in lines[:line - 1])
            text = lines[line - 1]
            return before + (column - 1 if columns == 'bytes' else len(text.decode()[:column - 1].encode()))
        spots = sorted((offset(a, b), offset(c, d), text) for a, b, c, d, text in changes)
        assert all(one[1] <= other[0] for one, other in zip(spots, spots[1:])), 'changes overlap'
        data = data[len(mark):]
        for start, end, text in reversed(spots):
            data = data[:start] + text.encode() + data[end:]
        open(path, 'wb').write(mark + data)
";

const READ_SARIF: &str = r"
changes = []
for result in json.load(open('report'))['runs'][0]['results']:
    for fix in result.get('fixes', []):
        for change in fix['artifactChanges']:
            path = urllib.parse.unquote(change['artifactLocation']['uri'])
            for r in change['replacements']:
                d = r['deletedRegion']
                changes.append((path, d['startLine'], d['startColumn'], d['endLine'], d['endColumn'], r['insertedContent']['text']))
assert changes
apply(changes, 'characters')
";

const READ_RDJSON: &str = r"
changes = []
for found in json.load(open('report'))['diagnostics']:
    for s in found.get('suggestions', []):
        a, b = s['range']['start'], s['range']['end']
        changes.append((found['location']['path'], a['line'], a['column'], b['line'], b['column'], s['text']))
assert changes
apply(changes, 'bytes')
";

const READ_JSON: &str = r"
changes = []
for found in json.load(open('report')):
    for e in found.get('fix', {}).get('edits', []):
        changes.append((found['path'], e['line'], e['column'], e['end_line'], e['end_column'], e['text']))
assert changes
apply(changes, 'characters')
";

#[test]
fn another_program_makes_the_suggested_changes() {
    for (form, reader) in [("sarif", READ_SARIF), ("rdjson", READ_RDJSON), ("json", READ_JSON)] {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path());
        let expected = written(folder.path());
        let (code, report, stderr) = fix(folder.path(), &["--output", form, "in"]);
        assert_eq!(code, 1, "{stderr}");
        applied_by_python(folder.path(), &report, reader);
        for (path, expected) in expected {
            let found = std::fs::read(folder.path().join(&path)).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&expected),
                "{form} of {path}: {report}"
            );
        }
    }
}

#[test]
fn git_applies_the_diffs_of_fix_and_of_propose() {
    for command in [&["fix", "--unsafe"] as &[&str], &["propose", "--diff"]] {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path());
        write(
            folder.path(),
            "in/account.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  serviceAccountName: runner\n  containers: [{name: a, image: 'a:1', securityContext: {privileged: true}}]\n",
        );
        let policies = format!("{POLICIES},non_existent_service_account");
        let args = [command, &["-p", &policies, "in"]].concat();
        let (_, diff, stderr) = run(worker().current_dir(folder.path()).args(&args));
        write(folder.path(), "fix.diff", &diff);
        let apply = ["apply", "--verbose", "fix.diff"];
        let done = Command::new("git").current_dir(folder.path()).args(apply).output().unwrap();
        assert!(done.status.success(), "{diff}\n{}\n{stderr}", String::from_utf8_lossy(&done.stderr));
        let copy = tempfile::tempdir().unwrap();
        files(copy.path());
        std::fs::copy(folder.path().join("in/account.yaml"), copy.path().join("in/account.yaml")).unwrap();
        assert!(folder.path().join("in/account.companions.yaml").exists());
        // A second run has nothing to add.
        let (_, diff, stderr) = run(worker().current_dir(folder.path()).args(&args));
        assert_eq!(diff, "", "{stderr}");
    }
}

#[test]
fn every_finding_is_fixed_or_carries_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let (_, stdout, _) = run(worker().current_dir(folder.path()).args([
        "fix",
        "-p",
        POLICIES,
        "--output",
        "json",
        "in/many.yaml",
    ]));
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let (_, detected, _) = run(worker().current_dir(folder.path()).args([
        "detect",
        "-p",
        POLICIES,
        "--output",
        "json",
        "in/many.yaml",
    ]));
    let detected: Vec<Value> = serde_json::from_str(&detected).unwrap();
    assert_eq!(found.len(), detected.len());
    let outcomes: Vec<&str> = found.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    for outcome in ["fixed", "held_back", "left"] {
        assert!(outcomes.contains(&outcome), "{outcomes:?}");
    }
    for row in &found {
        let reason = row["reason"].as_str().unwrap();
        // A preview.
        let expected = if row["outcome"] == "fixed" { "can be fixed" } else { "not fixed" };
        assert!(reason.starts_with(expected), "{row}");
        assert!(row["outcome"] == "fixed" || row.get("fix").is_none(), "{row}");
    }
}

#[test]
fn a_report_of_written_files_suggests_nothing() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let (_, report, _) = fix(folder.path(), &["--write", "--output", "sarif", "in"]);
    let log: Value = serde_json::from_str(&report).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result.get("fixes").is_none()));
    let fixed = results.iter().filter(|result| result["kind"] == "pass");
    assert!(fixed.clone().count() > 5 && fixed.clone().all(|result| result["level"] == "none"));
    assert!(results.iter().any(|result| result["properties"]["outcome"] == "left"), "{report}");
}

#[test]
fn a_secret_is_in_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: registry.example.com/a:1\n    env:\n    - {name: DB_SECRET, value: hunter2hunter2}\n";
    write(folder.path(), "pod.yaml", pod);
    for form in ["json", "sarif", "rdjson", "github", "gitlab", "junit", "markdown"] {
        let args = ["fix", "--unsafe", "-p", "env_var_secret", "--output", form, "pod.yaml"];
        let (code, stdout, stderr) = run(worker().current_dir(folder.path()).args(args));
        assert_eq!(code, 1, "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{form}: {stdout}{stderr}");
        assert!(stdout.contains("pod.companions.yaml"), "{form}: {stdout}");
    }
}

#[test]
fn reports_are_valid_by_what_other_programs_read() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let parse = |form: &str, script: &str| {
        for command in [&["fix", "--unsafe"] as &[&str], &["fix", "--write", "--unsafe"], &["detect"]] {
            let args = [command, &["--output", form, "in"]].concat();
            let (_, stdout, stderr) = run(worker().current_dir(folder.path()).args(&args));
            write(folder.path(), "report", &stdout);
            let done =
                Command::new("python3").current_dir(folder.path()).args(["-c", script]).output().unwrap();
            assert!(
                done.status.success(),
                "{form}: {stdout}{stderr}{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        files(folder.path());
    };
    parse(
        "junit",
        "import xml.etree.ElementTree as E\nroot = E.parse('report').getroot()\nassert root.tag == 'testsuites'\n\
         for suite in root:\n    assert int(suite.get('tests')) == len(suite.findall('testcase'))\n    \
         assert int(suite.get('failures')) == len(suite.findall('testcase/failure'))\nassert len(root) == 4",
    );
    parse(
        "rdjson",
        "import json\nlog = json.load(open('report'))\nassert log['source']['name']\nfor d in log['diagnostics']:\n    \
         assert d['severity'] in ('ERROR', 'WARNING') and d['message'] and d['location']['range']['start']['line'] > 0",
    );
    parse("markdown", "text = open('report').read()\nassert text.startswith('## ') and '| policy |' in text");
}

#[test]
fn repaired_files_go_to_a_folder_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let before = std::fs::read(folder.path().join("in/many.yaml")).unwrap();
    written(folder.path());
    assert_eq!(std::fs::read(folder.path().join("in/many.yaml")).unwrap(), before);
    assert!(!folder.path().join("out/in/good.yaml").exists(), "only what was repaired");
    let (code, _, stderr) = fix(folder.path(), &["--output-dir", "out", "in"]);
    assert!(code == 2 && stderr.contains("out is not empty"), "{stderr}");
    let (_, _, stderr) = fix(folder.path(), &["--write", "in"]);
    assert!(stderr.contains("written"), "{stderr}");
    for path in ["in/many.yaml", "in/windows.yaml", "in/ü b/mark.yaml"] {
        let one = std::fs::read(folder.path().join("out").join(path)).unwrap();
        assert_eq!(one, std::fs::read(folder.path().join(path)).unwrap(), "{path}");
    }
}
