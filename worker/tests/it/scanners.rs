//! `worker detect --with`: real scanners beside the built-in detector. Most tests start small programs in their place, which
//! write what they write; those of the real ones are skipped where these are not installed (`scripts/scanners`).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::testing::skipped_optional;
use serde_json::Value;

use crate::cli::{run, worker, write};

/// In the place of kube-linter: reports every file of its folder that has `privileged: true`.
const KUBE_LINTER: &str = r#"#!/bin/sh
if [ "$1" = version ]; then echo 0.8.3; exit 0; fi
for last; do :; done
[ -e .kube-linter.yaml ] && exit 7
found=
for file in "$last"/*/*.yaml; do
  grep -q 'broken' "$file" && echo "Warning: failed to load object from $file: failed to decode: x" >&2
  grep -q 'privileged: true' "$file" || continue
  found="$found{\"Diagnostic\":{\"Message\":\"container \\\"c\\\" is privileged\"},\"Check\":\"privileged-container\",\"Object\":{\"Metadata\":{\"FilePath\":\"$file\"}}},"
  found="$found{\"Diagnostic\":{\"Message\":\"keys are not sorted\"},\"Check\":\"unknown-check\",\"Object\":{\"Metadata\":{\"FilePath\":\"$file\"}}},"
done
echo "{\"Checks\":[],\"Reports\":[${found%,}],\"Summary\":{\"ChecksStatus\":\"Failed\"}}"
[ -z "$found" ]
"#;

const MANIFESTS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: broken}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - name: c
    image: b:1
    securityContext:
      privileged: true
";

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        write(bench.0.path(), "manifests/x.yaml", MANIFESTS);
        // A file that changes the checks of kube-linter where it is in its working folder.
        write(bench.0.path(), "manifests/.kube-linter.yaml", "checks: {exclude: [privileged-container]}\n");
        bench
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A program of that text.
    fn program(&self, name: &str, text: &str) -> String {
        write(self.0.path(), name, text);
        let path = self.0.path().join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn detect(&self, args: &[&str]) -> (i32, String, String) {
        let manifests = self.path("manifests");
        run(worker()
            .current_dir(self.0.path())
            .args(["detect", "-p", "no-privileged", &manifests])
            .args(args))
    }
}

fn kube_linter(bench: &Bench) -> String {
    format!("kube-linter={}", bench.program("kube-linter", KUBE_LINTER))
}

#[test]
fn every_finding_tells_its_scanner_and_its_place() {
    let bench = Bench::new();
    let args = ["--with", "builtin,kube-linter", "--tool", &kube_linter(&bench), "--output", "json"];
    let (code, stdout, stderr) = bench.detect(&args);
    assert_eq!(code, 1, "{stderr}");
    let written: Value = serde_json::from_str(&stdout).unwrap();
    let findings = written["findings"].as_array().unwrap();
    let tools: Vec<_> = findings.iter().map(|finding| finding["tool"].as_str().unwrap()).collect();
    // `unknown-check` is not a policy of ours, and one was asked for.
    assert_eq!(tools, ["builtin", "kube-linter"]);
    for key in ["policy", "check", "message", "line", "column", "pointer", "document", "name"] {
        assert_eq!(findings[0][key], findings[1][key], "{key}");
    }
    assert_eq!(findings[1]["line"], 13, "the lines are ours: {}", findings[1]);
    let tool = &written["tools"][0];
    assert_eq!((&tool["tool"], &tool["version"]), (&"kube-linter".into(), &"0.8.3".into()));
    assert_eq!((&tool["documents"], &tool["judged"]), (&2.into(), &1.into()));
    assert_eq!(tool["not_judged"][0]["name"], "broken");
    assert!(stderr.contains("x.yaml:1: not judged by kube-linter: failed to decode: x"), "{stderr}");
    assert!(stderr.contains("kube-linter 0.8.3: 1 finding in 2 objects, 1 object not judged"), "{stderr}");
}

#[test]
fn checks_that_are_not_ours_keep_their_id() {
    let bench = Bench::new();
    let manifests = bench.path("manifests");
    let args = ["detect", &manifests, "--with", "kube-linter", "--tool", &kube_linter(&bench)];
    let (code, stdout, _) = run(worker().args(args).args(["--output", "jsonl"]));
    assert_eq!(code, 1);
    let findings: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let policies: Vec<_> = findings.iter().map(|finding| finding["policy"].as_str().unwrap()).collect();
    assert_eq!(policies, ["no_privileged", "unknown-check"], "the built-in detector was not asked");
    let (_, lines, _) = run(worker().args(args));
    assert!(lines.contains("[kube-linter/unknown-check] Pod a"), "{lines}");
    let (_, records, _) = run(worker().args(args).args(["--output", "detections"]));
    let records: Vec<Value> = serde_json::from_str(&records).unwrap();
    assert_eq!(records[1]["policy_id"], "unknown-check");
}

#[test]
fn every_scanner_is_a_run_of_sarif() {
    let bench = Bench::new();
    let args = ["--with", "builtin,kube-linter", "--tool", &kube_linter(&bench), "--output", "sarif"];
    let (code, stdout, _) = bench.detect(&args);
    assert_eq!(code, 1);
    let log: Value = serde_json::from_str(&stdout).unwrap();
    let driver = |run: usize| &log["runs"][run]["tool"]["driver"];
    assert_eq!((&driver(0)["name"], &driver(1)["name"]), (&"k8s-auto-fix".into(), &"kube-linter".into()));
    assert_eq!(driver(1)["version"], "0.8.3");
    for run in 0..2 {
        assert_eq!(log["runs"][run]["results"].as_array().unwrap().len(), 1, "{run}");
    }
}

#[test]
fn a_scanner_that_does_not_work_is_a_failure_with_its_name_and_the_remedy() {
    let bench = Bench::new();
    let (code, stdout, stderr) = bench.detect(&["--with", "builtin,kube-linter"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("kube-linter not found: looked in PATH"), "{stderr}");
    assert!(stderr.contains("`scripts/scanners kube-linter` provides it"), "{stderr}");
    let (code, _, stderr) = bench.detect(&["--with", "kyverno"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("--policies-dir"), "{stderr}");
    for (name, text, said) in [
        (
            "dies",
            "[ $1 = version ] && echo 1 && exit 0; echo out of luck >&2; exit 3",
            "exit code 3: out of luck",
        ),
        ("killed", "[ $1 = version ] && echo 1 && exit 0; kill -9 $$", "signal 9"),
        ("silent", "[ $1 = version ] && echo 1; exit 0", "ended with exit code 0"),
        ("babbles", "[ $1 = version ] && echo 1 && exit 0; echo hello", "not kube-linter's JSON"),
        (
            "half",
            "[ $1 = version ] && echo 1 && exit 0; echo '{\"Reports\": ['; exit 1",
            "not kube-linter's JSON",
        ),
        ("other", "echo usage: cat FILE", "is not a version of kube-linter"),
        ("no-version", "exit 1", "ended with exit code 1"),
    ] {
        let program = bench.program(name, &format!("#!/bin/sh\n{text}\n"));
        let tool = format!("kube-linter={program}");
        let (code, stdout, stderr) = bench.detect(&["--with", "builtin,kube-linter", "--tool", &tool]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{name}: {stderr}");
        assert!(
            stderr.contains(&format!("kube-linter ({program})")) && stderr.contains(said),
            "{name}: {stderr}"
        );
    }
}

#[test]
fn a_scanner_that_hangs_is_killed_in_time() {
    let bench = Bench::new();
    let text = "#!/bin/sh\n[ $1 = version ] && echo 1 && exit 0\nsleep 100 & sleep 100\n";
    let tool = format!("kube-linter={}", bench.program("hangs", text));
    let args = ["--with", "kube-linter", "--tool", &tool, "--set", "detector.timeout_seconds=1"];
    let start = std::time::Instant::now();
    let (code, _, stderr) = bench.detect(&args);
    assert_eq!(code, 2);
    assert!(stderr.contains("did not end within 1 s"), "{stderr}");
    assert!(start.elapsed().as_secs() < 20);
}

/// The program that `scripts/scanners` installed, or one on PATH.
fn installed(scanner: &str) -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    let versions = std::fs::read_dir(cache.join("k8s-auto-fix/tools").join(scanner)).into_iter().flatten();
    let cached = versions
        .flatten()
        .flat_map(|version| [version.path().join(scanner), version.path().join("bin").join(scanner)]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(scanner))
        .chain(cached)
        .find(|path| path.is_file());
    if found.is_none() {
        skipped_optional(&format!("no {scanner} (scripts/scanners)"));
    }
    found
}

fn real(scanner: &str, program: &Path, manifests: &str, more: &[&str]) -> Value {
    let tool = format!("{scanner}={}", program.display());
    let mut command = worker();
    command.args(["detect", "--with", scanner, "--tool", &tool, "--output", "json", manifests]).args(more);
    let (code, stdout, stderr) = run(command.env("PATH", std::env::var_os("PATH").unwrap_or_default()));
    assert_eq!(code, 1, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn found<'a>(written: &'a Value, name: &str) -> Vec<&'a str> {
    let findings = written["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["name"] == name)
        .map(|finding| finding["check"].as_str().unwrap())
        .collect()
}

#[test]
fn the_real_kube_linter_is_read() {
    let Some(program) = installed("kube-linter") else { return };
    let bench = Bench::new();
    let written = real("kube-linter", &program, &bench.path("manifests"), &[]);
    assert!(found(&written, "a").contains(&"privileged-container"), "{written}");
    assert!(!found(&written, "a").contains(&"schema-validation"));
}

/// Policies of each sort that Kyverno's CLI applies.
const POLICIES: &str = "data/fixtures/scanners/policies";

#[test]
fn the_real_kyverno_applies_policies_of_both_groups() {
    let Some(program) = installed("kyverno") else { return };
    let bench = Bench::new();
    // Twice the same identity, a list, a deployment, and a kind that no policy is about.
    let more = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: default}\nspec: {containers: [{name: c, image: 'b:1'}]}\n\
                ---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: d, namespace: n}\n  \
                spec: {selector: {matchLabels: {x: y}}, template: {metadata: {labels: {x: y}}, spec: {containers: [{name: c, image: 'b:1', \
                securityContext: {privileged: true}}]}}}\n---\napiVersion: example.com/v1\nkind: Odd\nmetadata: {name: odd}\n";
    write(bench.0.path(), "manifests/y.yaml", more);
    let written = real("kyverno", &program, &bench.path("manifests"), &["--policies-dir", POLICIES]);
    let findings = written["findings"].as_array().unwrap();
    let of = |line: u64, path: &str| -> Vec<(&str, &str, &str)> {
        let here =
            |finding: &&Value| finding["path"].as_str().unwrap().ends_with(path) && finding["line"] == line;
        let found = findings.iter().filter(here);
        found
            .map(|finding| {
                ["check", "rule", "policy"].map(|key| finding[key].as_str().unwrap_or_default()).into()
            })
            .collect()
    };
    let privileged = ("disallow-privileged-containers", "privileged", "no_privileged");
    assert_eq!(of(13, "x.yaml"), [privileged], "{written}");
    assert_eq!(of(1, "y.yaml"), [], "of the same name, and not privileged");
    let deployment = findings.iter().filter(|finding| finding["name"] == "d");
    let mut checks: Vec<_> = deployment.map(|finding| finding["check"].as_str().unwrap()).collect();
    checks.sort_unstable();
    assert_eq!(checks, ["disallow-privileged-containers", "has-team-label"]);
    let tool = &written["tools"][0];
    assert!(tool["version"].as_str().unwrap().contains(", policies "), "{tool}");
    assert_eq!((&tool["documents"], &tool["judged"]), (&5.into(), &4.into()), "{tool}");
    assert_eq!(tool["not_judged"][0]["name"], "odd");
    assert!(tool["verdicts"]["passed"].as_u64().unwrap() > 0 && tool["verdicts"]["failed"] == 3, "{tool}");

    // One policy that it cannot read: without a check it would leave all of them out, and find nothing.
    let policies = bench.path("policies");
    let bad = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: bad}\nspec: {rules: [{name: x, matsch: {}}]}\n";
    write(bench.0.path(), "policies/bad.yaml", bad);
    let tool = format!("kyverno={}", program.display());
    let (code, stdout, stderr) =
        bench.detect(&["--with", "kyverno", "--tool", &tool, "--policies-dir", &policies]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("policies/bad.yaml") && stderr.contains("matsch"), "{stderr}");
}

#[test]
fn the_real_checkov_is_read() {
    let Some(program) = installed("checkov") else { return };
    let bench = Bench::new();
    let written = real("checkov", &program, &bench.path("manifests"), &[]);
    assert!(found(&written, "a").contains(&"CKV_K8S_16"), "{written}");
    assert_eq!(
        found(&written, "a").len(),
        found(&written, "a").iter().collect::<std::collections::BTreeSet<_>>().len()
    );
}
