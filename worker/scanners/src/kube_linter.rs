//! kube-linter: one process for all documents.

use std::collections::BTreeSet;
use std::ffi::OsString;

use serde::Deserialize;

use crate::documents::Documents;
use crate::error::Failure;
use crate::process::Output;
use crate::report::{Finding, Report, Unjudged};

/// What it says of an object that it cannot load, with `-v`.
const NOT_LOADED: &str = "Warning: failed to load object from ";
/// What it says in place of JSON where it could load none.
const NOTHING_LOADED: &str = "no valid objects found";

/// All checks but the one that goes to the network.
pub(crate) fn arguments(documents: &Documents) -> Vec<OsString> {
    let fixed = ["lint", "-v", "--format", "json", "--add-all-built-in", "--exclude", "schema-validation"];
    fixed.into_iter().map(OsString::from).chain([documents.texts().into_os_string()]).collect()
}

/// The version in the output of `kube-linter version`.
pub(crate) fn version(output: &str) -> Option<String> {
    let word = output.lines().map(str::trim).find(|line| !line.is_empty())?;
    (!word.contains(char::is_whitespace)).then(|| word.trim_start_matches('v').to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    #[serde(default)]
    reports: Option<Vec<Reported>>,
    summary: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    /// Nothing but its presence counts: that is how kube-linter's JSON is known.
    #[serde(rename = "ChecksStatus")]
    _checks_status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reported {
    diagnostic: Diagnostic,
    check: String,
    object: Object,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Diagnostic {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    file_path: String,
}

/// Reads the output. Exit code 1 means findings or a failure: the JSON tells which.
pub(crate) fn read(output: &Output, documents: &Documents) -> Result<Report, Failure> {
    let mut report = Report { unjudged: not_loaded(&output.stderr, documents), ..Report::default() };
    let too_large = "has more than 10 MiB, which kube-linter leaves out".to_owned();
    report.unjudged.extend(
        documents.large().iter().map(|document| Unjudged { document: *document, reason: too_large.clone() }),
    );
    let is_empty = output.stdout.iter().all(u8::is_ascii_whitespace);
    if is_empty && output.code() == Some(0) && output.stderr.contains(NOTHING_LOADED) {
        return Ok(report_of(report, documents));
    }
    if !matches!(output.code(), Some(0 | 1)) || is_empty {
        return Err(output.died());
    }
    let written: Written = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::Garbage { reason: format!("not kube-linter's JSON: {error}") })?;
    let Summary { .. } = written.summary;
    for found in written.reports.unwrap_or_default() {
        let path = &found.object.metadata.file_path;
        let document = documents.number(path).ok_or_else(|| Failure::Garbage {
            reason: format!("a finding about {path:?}, which was not given"),
        })?;
        report.findings.push(Finding {
            document,
            check: found.check,
            rule: String::new(),
            message: found.diagnostic.message,
            severe: false,
        });
    }
    Ok(report_of(report, documents))
}

/// Judged is what it could load.
fn report_of(mut report: Report, documents: &Documents) -> Report {
    let unjudged: BTreeSet<usize> = report.unjudged.iter().map(|unjudged| unjudged.document).collect();
    report.judged = Some((0..documents.len()).filter(|document| !unjudged.contains(document)).collect());
    report.sorted()
}

fn not_loaded(stderr: &str, documents: &Documents) -> Vec<Unjudged> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix(NOT_LOADED)?.split_once(": "));
    let read = |(path, reason): (&str, &str)| {
        Some(Unjudged { document: documents.number(path)?, reason: reason.trim().to_owned() })
    };
    lines.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use domain::config::Context;
    use serde_json::json;

    use super::*;
    use crate::process;

    fn documents(count: usize) -> Documents {
        let mut documents = Documents::new(Context::Input).unwrap();
        for _ in 0..count {
            documents.add("", "kind: Pod\n", &json!({"kind": "Pod"})).unwrap();
        }
        documents
    }

    /// What `sh -c script` writes, read as that of kube-linter.
    fn read_of(script: &str, documents: &Documents) -> Result<Report, Failure> {
        let arguments = ["-c".into(), script.into()];
        let output =
            process::run(Path::new("/bin/sh"), &arguments, documents.root(), Duration::from_secs(10))
                .unwrap();
        read(&output, documents)
    }

    const FOUND: &str = r#"{"Checks":[],"Reports":[{"Diagnostic":{"Message":"container \"c\" is privileged"},"Check":"privileged-container","Remediation":"r","Object":{"Metadata":{"FilePath":"/tmp/x/texts/0/1.yaml"},"K8sObject":{"Namespace":"","Name":"a","GroupVersionKind":{"Group":"","Version":"v1","Kind":"Pod"}}}}],"Summary":{"ChecksStatus":"Failed","CheckEndTime":"2026-01-01T00:00:00Z","KubeLinterVersion":"0.8.3"}}"#;

    #[test]
    fn findings_and_what_was_not_loaded_are_read() {
        let documents = documents(3);
        let script = format!(
            "echo 'Warning: failed to load object from {}/0/2.yaml: failed to decode: json: cannot unmarshal' >&2; \
             echo '{FOUND}'; echo 'Error: found 1 lint errors' >&2; exit 1",
            documents.texts().display()
        );
        let report = read_of(&script, &documents).unwrap();
        let [found] = &report.findings[..] else { panic!("{report:?}") };
        assert_eq!((found.document, found.check.as_str()), (1, "privileged-container"));
        assert_eq!(found.message, "container \"c\" is privileged");
        assert_eq!(report.unjudged[0].document, 2);
        assert_eq!(report.unjudged[0].reason, "failed to decode: json: cannot unmarshal");
        assert_eq!(report.judged, Some([0, 1].into()));
    }

    #[test]
    fn no_findings_are_none_only_in_its_own_json() {
        let documents = documents(1);
        let none = r#"echo '{"Checks":[],"Reports":null,"Summary":{"ChecksStatus":"Passed"}}'"#;
        assert_eq!(read_of(none, &documents).unwrap().findings, []);
        let nothing = "echo 'Warning: no valid objects found.' >&2";
        assert_eq!(read_of(nothing, &documents).unwrap().findings, []);
        for broken in [
            "true",
            "exit 1",
            "echo '{}'",
            "echo '{\"Reports\":[]}'; exit 1",
            "echo Error: unknown flag >&2; exit 1",
            &format!("echo '{FOUND}' | head -c 90; exit 1"),
            &format!("echo '{FOUND}'; exit 2"),
            &format!("echo '{FOUND}'; kill -9 $$"),
            // A document that is not there.
            &format!("echo '{FOUND}'; exit 1"),
        ] {
            assert!(read_of(broken, &documents).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_version_is_one_word() {
        assert_eq!(version("v0.8.3\n"), Some("0.8.3".to_owned()));
        assert_eq!(version("development\n"), Some("development".to_owned()));
        assert_eq!(version("Usage: x [flags]\n"), None);
        assert_eq!(version("\n"), None);
    }
}
