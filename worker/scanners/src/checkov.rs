//! checkov: one process for all documents.

use std::ffi::OsString;

use serde::Deserialize;

use crate::documents::Documents;
use crate::error::Failure;
use crate::process::Output;
use crate::report::{Finding, Report};

/// Without its platform, which is on the network, and without the checks that pass, which are most of what it writes.
pub(crate) fn arguments(documents: &Documents) -> Vec<OsString> {
    let fixed = [
        "--framework",
        "kubernetes",
        "--output",
        "json",
        "--compact",
        "--quiet",
        "--skip-download",
        "--directory",
    ];
    fixed.into_iter().map(OsString::from).chain([documents.texts().into_os_string()]).collect()
}

/// The version in the output of `checkov --version`.
pub(crate) fn version(output: &str) -> Option<String> {
    let word = output.trim();
    let is_version = word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains(char::is_whitespace);
    is_version.then(|| word.to_owned())
}

/// Its JSON: with results, or, where it found no object, the numbers alone.
#[derive(Deserialize)]
struct Written {
    check_type: Option<String>,
    results: Option<Results>,
    resource_count: Option<u64>,
}

#[derive(Deserialize)]
struct Results {
    failed_checks: Vec<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    check_id: String,
    check_name: String,
    file_path: String,
    severity: Option<String>,
}

/// Reads the output. Exit code 1 means findings or a failure: the JSON tells which.
pub(crate) fn read(output: &Output, documents: &Documents) -> Result<Report, Failure> {
    if !matches!(output.code(), Some(0 | 1)) || output.stdout.iter().all(u8::is_ascii_whitespace) {
        return Err(output.died());
    }
    let garbage = |reason: String| Failure::Garbage { reason };
    let written: Written = serde_json::from_slice(&output.stdout)
        .map_err(|error| garbage(format!("not checkov's JSON: {error}")))?;
    let results = match (written.check_type.as_deref(), written.results, written.resource_count) {
        (Some("kubernetes"), Some(results), _) => results,
        (None, None, Some(0)) => return Ok(Report::default()),
        _ => return Err(garbage("not checkov's JSON: no results of the framework kubernetes".to_owned())),
    };
    let finding = |found: Failed| {
        let document = documents.number(&found.file_path);
        let path = found.file_path;
        let document =
            document.ok_or_else(|| garbage(format!("a finding about {path:?}, which was not given")))?;
        let severity = found.severity.unwrap_or_default();
        Ok(Finding {
            document,
            check: found.check_id,
            rule: String::new(),
            message: found.check_name,
            severe: ["HIGH", "CRITICAL"].contains(&severity.to_ascii_uppercase().as_str()),
        })
    };
    let findings: Result<Vec<Finding>, Failure> = results.failed_checks.into_iter().map(finding).collect();
    Ok(Report { findings: findings?, ..Report::default() }.sorted())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use domain::config::Context;
    use serde_json::json;

    use super::*;
    use crate::process;

    fn read_of(script: &str) -> Result<Report, Failure> {
        let mut documents = Documents::new(Context::Input).unwrap();
        documents.add("", "kind: Pod\n", &json!({"kind": "Pod"})).unwrap();
        let arguments = ["-c".into(), script.into()];
        let output =
            process::run(Path::new("/bin/sh"), &arguments, documents.root(), Duration::from_secs(10))
                .unwrap();
        read(&output, &documents)
    }

    #[test]
    fn failed_checks_are_read() {
        let found = r#"echo '{"check_type":"kubernetes","results":{"failed_checks":[{"check_id":"CKV_K8S_16","check_name":"Container should not be privileged","file_path":"/texts/0/0.yaml","severity":null}]},"summary":{"failed":1}}'; exit 1"#;
        let report = read_of(found).unwrap();
        let [found] = &report.findings[..] else { panic!("{report:?}") };
        assert_eq!((found.document, found.check.as_str()), (0, "CKV_K8S_16"));
        assert_eq!(report.judged, None, "it does not say what it judged");
    }

    #[test]
    fn no_findings_are_none_only_in_its_own_json() {
        let none = r#"echo '{"passed":0,"failed":0,"resource_count":0,"checkov_version":"3"}'"#;
        assert_eq!(read_of(none).unwrap(), Report::default());
        for broken in [
            "true",
            "echo '{}'",
            "echo '[]'",
            r#"echo '{"resource_count":3}'"#,
            r#"echo '{"check_type":"helm","results":{"failed_checks":[]}}'"#,
            r#"echo '{"check_type":"kubernetes","results":{"failed_checks":[]}}'; exit 2"#,
            r#"echo '{"check_type":"kubernetes","results":{"failed_checks":[{"check_id":"C","check_name":"n","file_path":"/etc/passwd"}]}}'"#,
        ] {
            assert!(read_of(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_version_begins_with_a_number() {
        assert_eq!(version("3.3.30\n"), Some("3.3.30".to_owned()));
        assert_eq!(version("Traceback (most recent call last)\n"), None);
    }
}
