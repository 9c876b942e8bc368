//! Writer of SARIF 2.1.0 (OASIS standard), for code scanning.
//!
//! Our own: the crates for SARIF (`serde-sarif`) build the whole log in memory before it is written.
//!
//! One run a scanner.
//!
//! *Invariant*: results are written as they come; only their fingerprints are kept in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use cli_support::escape::{self, visible};
use domain::policy::PolicyId;
use domain::scanner::Scanner;
use engine::policies::{self, Check};
use serde_json::{Value, json};

use crate::findings::change::Edit;
use crate::findings::fingerprints::{self, Fingerprints};
use crate::findings::review::{Beside, Fix, Replacement, Reviewed, replacements};
use crate::findings::unread::Unread;
use crate::findings::{Lines, Located, Region, severity_word};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Writes one log, run by run.
pub(crate) struct SarifWriter<W: Write> {
    out: W,
    rule_index: BTreeMap<String, usize>,
    fingerprints: Fingerprints,
    runs: u64,
    /// Results of the run.
    results: u64,
}

/// The driver of the built-in detector.
pub(crate) fn builtin() -> Value {
    json!({"name": "k8s-auto-fix", "semanticVersion": env!("CARGO_PKG_VERSION")})
}

/// The driver of another scanner.
pub(crate) fn tool(scanner: Scanner, version: &str) -> Value {
    json!({"name": scanner, "version": version})
}

/// The rules of policies.
pub(crate) fn rules_of(policies: &[PolicyId]) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    let all = policies
        .iter()
        .flat_map(|policy| policies::policy(*policy).checks().iter().map(|check| (*policy, check)));
    all.filter(|(_, check)| seen.insert(check.id)).map(|(policy, check)| rule(policy, check)).collect()
}

/// The rule of another scanner's check, of which the id is known.
pub(crate) fn rule_of_check(check: &str) -> Value {
    json!({"id": check, "shortDescription": {"text": check}, "defaultConfiguration": {"level": "warning"}})
}

impl<W: Write> SarifWriter<W> {
    /// Begins the log.
    pub(crate) fn begin(mut out: W) -> io::Result<Self> {
        write!(out, "{{\"$schema\":{},\"version\":\"2.1.0\",\"runs\":[", json!(SCHEMA))?;
        Ok(Self {
            out,
            rule_index: BTreeMap::new(),
            fingerprints: Fingerprints::default(),
            runs: 0,
            results: 0,
        })
    }

    /// Begins a run with its tool and rules.
    pub(crate) fn begin_run(&mut self, driver: &Value, rules: Vec<Value>) -> io::Result<()> {
        let ids = rules.iter().filter_map(|rule| rule.get("id")?.as_str().map(str::to_owned));
        self.rule_index = ids.enumerate().map(|(index, id)| (id, index)).collect();
        let mut driver = driver.clone();
        if let Some(fields) = driver.as_object_mut() {
            fields.insert("rules".to_owned(), Value::Array(rules));
        }
        if self.runs > 0 {
            self.out.write_all(b",")?;
        }
        (self.runs, self.results) = (self.runs + 1, 0);
        let tool = json!({"driver": driver});
        write!(self.out, "{{\"tool\":{tool},\"columnKind\":\"unicodeCodePoints\",\"results\":[")
    }

    /// Writes a finding.
    pub(crate) fn result(&mut self, found: &Located) -> io::Result<()> {
        let result = self.value(found);
        self.write(&result)
    }

    /// Writes a finding with what became of it, and with its fix. `text`: that of its file; `written`: the fixes are made.
    pub(crate) fn reviewed(
        &mut self,
        reviewed: &Reviewed<'_>,
        text: &str,
        lines: &Lines,
        written: bool,
    ) -> io::Result<()> {
        let mut result = self.value(reviewed.found);
        let sentence = reviewed.sentence();
        result["message"]["text"] = json!(visible(&reviewed.told().message));
        result["properties"]["outcome"] = json!(reviewed.outcome.word());
        result["properties"]["reason"] = json!(visible(&sentence));
        if written && reviewed.outcome.is_fixed() {
            result["kind"] = json!("pass");
            result["level"] = json!("none");
        }
        if let Some(fix) = reviewed.fix.as_ref().filter(|_| !written) {
            result["fixes"] = json!([fix_of(fix, &reviewed.found.path, text, lines)]);
        }
        self.write(&result)
    }

    fn write(&mut self, result: &Value) -> io::Result<()> {
        if self.results > 0 {
            self.out.write_all(b",")?;
        }
        self.results += 1;
        write!(self.out, "\n{}", escape::json(&result.to_string()))
    }

    fn value(&mut self, found: &Located) -> Value {
        let uri = uri(&found.path);
        let fingerprint = self.fingerprints.of(found);
        let object = qualified_name(found);
        let mut result = json!({
            "ruleId": found.check,
            "level": found.severity,
            "message": {"text": visible(&format!("{}{}", found.message, found.rendering()))},
            "locations": [{
                "physicalLocation": {"artifactLocation": artifact(&uri)},
                "logicalLocations": [{"fullyQualifiedName": object, "kind": "resource"}],
            }],
            "partialFingerprints": {(fingerprints::KEY): fingerprint},
            "properties": {"policy": found.policy.as_str(), "pointer": found.pointer, "document": found.document},
        });
        if let Some(region) = &found.region {
            result["locations"][0]["physicalLocation"]["region"] = region_of(region);
        }
        if let Some(program) = found.rendered_by {
            result["properties"]["renderedBy"] = json!(program);
        }
        if let (Some(index), Some(fields)) = (self.rule_index.get(&*found.check), result.as_object_mut()) {
            fields.insert("ruleIndex".to_owned(), json!(index));
        }
        result
    }

    /// Ends a run with notifications of unreadable documents; it succeeded if each is allowed.
    pub(crate) fn end_run(&mut self, unread: &[Unread]) -> io::Result<()> {
        let notifications: Vec<Value> = unread
            .iter()
            .map(|unread| {
                let mut physical = json!({"artifactLocation": artifact(&uri(&unread.path))});
                if let (Some(line), Some(fields)) = (unread.line, physical.as_object_mut()) {
                    fields.insert("region".to_owned(), json!({"startLine": line}));
                }
                json!({
                    "level": unread.level(),
                    "message": {"text": visible(&unread.message)},
                    "locations": [{"physicalLocation": physical}],
                })
            })
            .collect();
        let is_whole = unread.iter().all(|unread| unread.level() != "error");
        let invocation =
            json!({"executionSuccessful": is_whole, "toolExecutionNotifications": notifications});
        write!(self.out, "\n],\"invocations\":[{invocation}]}}")
    }

    /// Ends the log.
    pub(crate) fn end(mut self) -> io::Result<W> {
        writeln!(self.out, "]}}")?;
        Ok(self.out)
    }
}

/// A change as a `fix`: the replacements in the file, and the companions that come with it.
fn fix_of(fix: &Fix<'_>, path: &str, text: &str, lines: &Lines) -> Value {
    let artifact_change = |path: &str, replacements: Vec<Replacement>| {
        let replacements: Vec<Value> = replacements
            .into_iter()
            .map(|Replacement { region, text }| {
                json!({"deletedRegion": region_of(&region), "insertedContent": {"text": text}})
            })
            .collect();
        json!({"artifactLocation": artifact(&uri(path)), "replacements": replacements})
    };
    let mut changes = Vec::new();
    if !fix.change.edits.is_empty() {
        changes.push(artifact_change(path, replacements(&fix.change.edits, text, lines, Lines::region)));
    }
    if let Some(Beside { path, old, new }) = fix.companions {
        // Companions are added behind what the file has.
        let added = new.strip_prefix(old).unwrap_or(new);
        let edit = Edit { old: old.len()..old.len(), new: added.to_owned() };
        changes.push(artifact_change(path, replacements(&[edit], old, &Lines::new(old), Lines::region)));
    }
    let policies: Vec<&str> = fix.policies.iter().map(|policy| policy.as_str()).collect();
    json!({
        "description": {"text": format!("Repairs {}.", policies.join(", "))},
        "artifactChanges": changes,
    })
}

fn region_of(region: &Region) -> Value {
    json!({
        "startLine": region.line,
        "startColumn": region.column,
        "endLine": region.end_line,
        "endColumn": region.end_column,
    })
}

fn qualified_name(found: &Located) -> String {
    let parts = [&*found.kind, &found.namespace, &found.name];
    visible(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")).into_owned()
}

fn rule(policy: PolicyId, check: &Check) -> Value {
    let severity = severity_word(check.severity);
    let title = policy.title();
    json!({
        "id": check.id,
        "name": policy.as_str(),
        "shortDescription": {"text": format!("{title}.")},
        "fullDescription": {"text": format!("{title}. {}", check.remedy)},
        "help": {"text": check.remedy},
        "defaultConfiguration": {"level": severity},
        "properties": {
            "policy": policy,
            "family": policy.family(),
            "tags": ["kubernetes", policy.family()],
            "problem.severity": severity,
            // GitHub code scanning expects 0 to 10.
            "security-severity": format!("{:.1}", f64::from(policy.base_risk()) / 10.0),
        },
    })
}

fn artifact(uri: &str) -> Value {
    if uri.starts_with("file://") {
        json!({"uri": uri})
    } else {
        json!({"uri": uri, "uriBaseId": "%SRCROOT%"})
    }
}

/// A relative reference for a path at or below the working directory, else a `file:` URI; percent-encoded by RFC 3986.
fn uri(path: &str) -> String {
    let relative = path.strip_prefix("./").unwrap_or(path);
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| std::path::Path::new(relative).strip_prefix(here).ok());
    let relative = below.and_then(std::path::Path::to_str).unwrap_or(relative);
    let mut text = String::with_capacity(relative.len() + 8);
    if relative.starts_with('/') {
        text.push_str("file://");
    }
    for byte in relative.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::found;
    use corpus::TroubleSort;

    fn log(findings: &[Located], unread: &[Unread]) -> Value {
        let mut writer = SarifWriter::begin(Vec::new()).unwrap();
        writer.begin_run(&builtin(), rules_of(PolicyId::ALL)).unwrap();
        for found in findings {
            writer.result(found).unwrap();
        }
        writer.end_run(unread).unwrap();
        serde_json::from_slice(&writer.end().unwrap()).unwrap()
    }

    #[test]
    fn every_scanner_has_a_run_of_its_own() {
        let mut writer = SarifWriter::begin(Vec::new()).unwrap();
        writer.begin_run(&builtin(), rules_of(PolicyId::ALL)).unwrap();
        writer.result(&found("a.yaml", "m")).unwrap();
        writer.end_run(&[]).unwrap();
        writer.begin_run(&tool(Scanner::Kyverno, "1.19.1"), vec![rule_of_check("mine")]).unwrap();
        let of_kyverno = Located { tool: Scanner::Kyverno, check: "mine".into(), ..found("a.yaml", "m") };
        writer.result(&of_kyverno).unwrap();
        writer.end_run(&[]).unwrap();
        let log: Value = serde_json::from_slice(&writer.end().unwrap()).unwrap();
        let runs = log["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[1]["tool"]["driver"]["name"], "kyverno");
        assert_eq!(runs[1]["tool"]["driver"]["version"], "1.19.1");
        assert_eq!(runs[1]["results"][0]["ruleIndex"], 0);
        let print = |run: usize| &runs[run]["results"][0]["partialFingerprints"]["k8sAutoFix/v1"];
        assert_ne!(print(0), print(1));
    }

    #[test]
    fn a_log_has_the_fields_that_the_standard_requires() {
        let mut unread = [Unread {
            path: "x.yaml".to_owned(),
            line: Some(2),
            message: "broken".to_owned(),
            sort: TroubleSort::Broken,
            is_ignored: true,
        }];
        let findings = [found("a b/ü.yaml", "m"), found("a b/ü.yaml", "m")];
        let log_of = |unread: &[Unread]| log(&findings, unread);
        let log = log_of(&unread);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for rule in rules {
            assert!(ids.insert(rule["id"].as_str().unwrap()), "rule ids are unique");
            assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
            assert!(["warning", "error"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
        }
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.yaml");
            for key in ["startLine", "startColumn", "endLine", "endColumn"] {
                assert!(place["region"][key].as_u64().unwrap() >= 1);
            }
        }
        let prints: Vec<_> =
            (0..2).map(|n| &run["results"][n]["partialFingerprints"]["k8sAutoFix/v1"]).collect();
        assert_ne!(prints[0], prints[1]);
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], true);
        assert_eq!(invocation["toolExecutionNotifications"][0]["message"]["text"], "broken");
        assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "warning");
        unread[0].is_ignored = false;
        let log = log_of(&unread);
        let invocation = &log["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
    }

    #[test]
    fn a_log_without_findings_is_valid() {
        let log = log(&[], &[]);
        assert_eq!(log["runs"][0]["results"], json!([]));
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./a/b.yaml"), "a/b.yaml");
        assert_eq!(uri("/nowhere/c:d.yaml"), "file:///nowhere/c%3Ad.yaml");
        let here = std::env::current_dir().unwrap();
        assert_eq!(uri(&format!("{}/x.yaml", here.display())), "x.yaml");
    }
}
