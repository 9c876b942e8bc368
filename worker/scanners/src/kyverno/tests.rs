use std::os::unix::fs::PermissionsExt as _;

use domain::config::{Context, ScannersConfig};
use domain::scanner::Scanner;
use serde_json::json;

use super::*;
use crate::tool::Tool;

/// A program in the place of Kyverno's CLI: every Pod fails rule `autogen-r` of policy `p`; `$1` decides what else it does
/// with a batch.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = version ]; then echo 'Version: v1.19.1'; exit 0; fi
while [ "$1" != --resource ]; do shift; done
batch=$2
own=$(sed -n 's/.*"name":"\(k8s-auto-fix-own-[^"]*\)".*/\1/p' "$batch")
# Tells the process that checks the policies from those that judge.
case "$*" in *'-v 3'*) checks=1 ;; *) checks= ;; esac
BEHAVIOUR
echo 'Warning: something {odd}'
printf '%s' 'Mutation has been applied successfully.'
results=$(sed -n 's/.*"kind":"Pod".*"name":"\([^"]*\)".*/{"policy":"p","rule":"autogen-r","severity":"high","result":"fail","message":"pod \1","resources":[{"kind":"Pod","namespace":"default","name":"\1"}]},/p' "$batch")
echo '{"kind":"ClusterReport","results":['$results'{"policy":"k8s-auto-fix-own","rule":"has-its-name","result":"pass","resources":[{"kind":"ConfigMap","namespace":"default","name":"'$own'"}]}]}'
exit 1
"#;

struct Bench {
    root: tempfile::TempDir,
    documents: Documents,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        let mut documents = Documents::new(Context::Input).unwrap();
        for name in names {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
            documents.add("", "", &pod).unwrap();
        }
        Self { root: tempfile::tempdir().unwrap(), documents }
    }

    fn scan(&self, behaviour: &str) -> Result<Report, ScannerError> {
        let program = self.root.path().join("kyverno");
        fs::write(&program, PROGRAM.replace("BEHAVIOUR", behaviour)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let policies = self.root.path().join("policies");
        fs::create_dir_all(&policies).unwrap();
        fs::write(policies.join("p.yaml"), "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\n").unwrap();
        let mut config =
            ScannersConfig { policies_dir: policies.display().to_string(), ..ScannersConfig::default() };
        config.tools.kyverno = program.display().to_string();
        let tool = Tool::open(Scanner::Kyverno, &config)?.unwrap();
        assert!(tool.version().starts_with("1.19.1, policies "), "{}", tool.version());
        tool.scan(&self.documents)
    }
}

#[test]
fn rules_of_workloads_have_the_names_of_the_user() {
    let report = Bench::new(&["a", "a", "b"]).scan("").unwrap();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|found| (found.document, found.check.as_str(), found.rule.as_str(), found.message.as_str()))
        .collect();
    assert_eq!(found, [(0, "p", "r", "pod a"), (1, "p", "r", "pod a"), (2, "p", "r", "pod b")]);
    assert!(report.findings.iter().all(|found| found.severe));
    assert_eq!(report.verdicts.unwrap(), Verdicts { failed: 3, ..Verdicts::default() });
    assert_eq!(report.judged.unwrap(), [0, 1, 2].into());
}

#[test]
fn the_document_that_kills_it_is_named_and_the_others_judged() {
    let names: Vec<String> = (0..23).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names);
    let dies = "if grep -q '\"name\":\"n1[37]\"' \"$batch\"; then echo 'panic: two of them' >&2; exit 2; fi";
    let report = bench.scan(dies).unwrap();
    let unjudged: Vec<usize> = report.unjudged.iter().map(|unjudged| unjudged.document).collect();
    assert_eq!(unjudged, [13, 17]);
    assert!(report.unjudged[0].reason.contains("exit code 2: panic: two of them"), "{report:?}");
    assert_eq!(report.findings.len(), 21);
    assert_eq!(report.judged.unwrap().len(), 21);
}

#[test]
fn a_program_that_does_not_work_is_an_error_not_an_empty_report() {
    let bench = Bench::new(&["a", "b", "c", "d", "e"]);
    for behaviour in [
        "exit 0",
        "exit 1",
        "exit 2",
        "echo nonsense; exit 0",
        "echo '{\"kind\":\"ClusterReport\"}'; exit 0",
        "echo '{broken'; exit 0",
        "kill -9 $$",
        "echo '{\"kind\":\"ClusterReport\",\"results\":[{\"policy\":\"p\",\"result\":\"fail\",\"resources\":[{\"kind\":\"Pod\",\"name\":\"other\"}]}]}'; exit 1",
        "echo; echo 'Invalid Policies:'; echo '1. mine: no such field'",
    ] {
        let error =
            bench.scan(&format!("if [ -z $checks ]; then {behaviour}; fi")).expect_err(behaviour).to_string();
        assert!(error.starts_with("kyverno ("), "{behaviour}: {error}");
    }
    let error =
        bench.scan("echo 'Invalid Policies:'; echo '1. mine: no such field'").unwrap_err().to_string();
    assert!(error.contains("1. mine: no such field") && error.contains("mend them"), "{error}");
}

#[test]
fn errors_and_skips_are_not_verdicts() {
    let result = |name: &str, result: &str| json!({"policy": "p", "rule": "r", "result": result, "message": "m", "resources": [{"kind": "Pod", "name": name}]});
    let own = json!({"policy": "k8s-auto-fix-own", "result": "pass", "resources": [{"kind": "ConfigMap", "name": "OWN"}]});
    let results = [result("a", "pass"), result("b", "error"), result("c", "skip"), result("d", "warn"), own];
    let line = json!({"kind": "ClusterReport", "results": results}).to_string();
    let behaviour = format!("if [ -z $checks ]; then echo '{line}' | sed \"s/OWN/$own/\"; exit 0; fi");
    let report = Bench::new(&["a", "b", "c", "d", "e"]).scan(&behaviour).unwrap();
    let verdicts = Verdicts { passed: 1, warned: 1, errors: 1, skipped: 1, failed: 0 };
    assert_eq!(report.verdicts.unwrap(), verdicts);
    assert_eq!(report.judged.unwrap(), [0, 3].into());
    assert_eq!(report.unjudged[0].document, 1);
    assert!(!report.findings[0].severe);
}

#[test]
fn policies_that_it_leaves_out_are_an_error_that_names_them() {
    let bench = Bench::new(&["a"]);
    let says = "[ $checks ] && echo 'skipping invalid YAML file error=\"policies/policy-00000.yaml: no such field\"' >&2";
    let error = bench.scan(says).unwrap_err().to_string();
    assert!(error.contains("policies/p.yaml: no such field") && error.contains("mend them"), "{error}");
}

#[test]
fn a_document_cannot_speak_for_it() {
    // The text of a mutated document that looks like a report.
    let forged = json!({"kind": "ClusterReport", "results": [{
        "policy": "k8s-auto-fix-own", "result": "pass", "resources": [{"kind": "ConfigMap", "name": "k8s-auto-fix-own-0"}],
    }, {"policy": "p", "result": "fail", "message": "forged", "resources": [{"kind": "Pod", "name": "a"}]}]});
    let bench = Bench::new(&["a"]);
    let report = bench.scan(&format!("[ $checks ] || echo '{forged}'")).unwrap();
    assert!(report.findings.iter().all(|found| found.message != "forged"), "{report:?}");
    assert!(bench.scan(&format!("[ $checks ] || {{ echo '{forged}'; exit 0; }}")).is_err());
}
