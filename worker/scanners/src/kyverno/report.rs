//! Reads what Kyverno's CLI writes: warnings, and reports as lines of JSON. *pass*, *fail*, *warn*, *error* and *skip* are
//! told apart; a document without any verdict is not judged.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::batch::{Batch, OWN};
use crate::error::Failure;
use crate::process::{Output, quoted};
use crate::report::{Finding, Report, Unjudged, Verdicts};

/// Heads the list of policies that Kyverno cannot apply.
const INVALID: &str = "Invalid Policies:";
/// What the rules that Kyverno makes for workloads out of those for pods begin with.
const MADE: [&str; 2] = ["autogen-cronjob-", "autogen-"];

#[derive(Deserialize)]
struct Written {
    kind: String,
    #[serde(default)]
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    policy: String,
    #[serde(default)]
    rule: String,
    #[serde(default)]
    severity: String,
    result: Verdict,
    #[serde(default)]
    message: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Fail,
    Warn,
    Error,
    Skip,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

/// Reads the output of one process. Its exit code says nothing that its reports do not.
pub(super) fn read(output: &Output, batch: &Batch) -> Result<Report, Failure> {
    let garbage = |reason: String| Failure::Garbage { reason };
    if !matches!(output.code(), Some(0 | 1)) {
        return Err(output.died());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some((_, list)) = text.split_once(INVALID) {
        let list: Vec<&str> = list.lines().take_while(|line| !line.contains("{\"kind\":")).collect();
        return Err(Failure::Policies { list: quoted(&list.join("\n")) });
    }
    let mut reader =
        Reader { batch, report: Report::default(), verdicts: Verdicts::default(), judged: BTreeSet::new() };
    let mut own = false;
    for written in text.lines().filter_map(report_in) {
        // What stands before the report with our own verdict may be the text of a document.
        own = own
            || written
                .as_ref()
                .is_ok_and(|written| written.results.iter().any(|judged| judged.is_own(batch)));
        if own {
            let written = written.map_err(|error| garbage(format!("not a report of policies: {error}")))?;
            written.results.into_iter().try_for_each(|judged| reader.take(judged))?;
        }
    }
    if !own {
        let failure = output.died();
        return Err(if output.code() == Some(0) {
            garbage(format!(
                "no verdict about the document that every process judges; it said: {}",
                quoted(&text)
            ))
        } else {
            failure
        });
    }
    let Reader { report, verdicts, judged, .. } = reader;
    Ok(Report { verdicts: Some(verdicts), judged: Some(judged), ..report })
}

/// The report in a line, which other words may begin.
fn report_in(line: &str) -> Option<serde_json::Result<Written>> {
    let start = line.find("{\"kind\":")?;
    let written: serde_json::Result<Written> = serde_json::from_str(line.get(start..)?);
    if written.as_ref().is_ok_and(|written| !written.kind.ends_with("Report")) { None } else { Some(written) }
}

impl Judged {
    /// Whether it is the verdict that every process gives.
    fn is_own(&self, batch: &Batch) -> bool {
        let is_named = self.resources.iter().any(|resource| batch.is_own(&resource.name));
        is_named && self.policy == OWN && self.result == Verdict::Pass
    }
}

struct Reader<'b> {
    batch: &'b Batch,
    report: Report,
    verdicts: Verdicts,
    judged: BTreeSet<usize>,
}

impl Reader<'_> {
    fn take(&mut self, judged: Judged) -> Result<(), Failure> {
        let Judged { policy, rule, severity, result, message, resources } = judged;
        for resource in resources.into_iter().filter(|resource| !self.batch.is_own(&resource.name)) {
            let Resource { kind, namespace, name } = resource;
            let member = self.batch.member(&kind, &namespace, &name).ok_or_else(|| Failure::Garbage {
                reason: format!("a verdict about {kind} {namespace}/{name}, which was not given"),
            })?;
            let message = member.own_words(message.clone());
            self.count(result);
            match result {
                Verdict::Fail | Verdict::Warn => self.report.findings.push(Finding {
                    document: member.document,
                    check: policy.clone(),
                    rule: own_rule(&rule).to_owned(),
                    message,
                    severe: result == Verdict::Fail && ["high", "critical"].contains(&severity.as_str()),
                }),
                Verdict::Error => self.report.unjudged.push(Unjudged {
                    document: member.document,
                    reason: format!("policy {policy}: {message}"),
                }),
                Verdict::Pass | Verdict::Skip => {}
            }
            if !matches!(result, Verdict::Error | Verdict::Skip) {
                self.judged.insert(member.document);
            }
        }
        Ok(())
    }

    fn count(&mut self, verdict: Verdict) {
        let Verdicts { passed, failed, warned, errors, skipped } = &mut self.verdicts;
        *match verdict {
            Verdict::Pass => passed,
            Verdict::Fail => failed,
            Verdict::Warn => warned,
            Verdict::Error => errors,
            Verdict::Skip => skipped,
        } += 1;
    }
}

/// The user's own name of a rule.
fn own_rule(rule: &str) -> &str {
    MADE.iter().find_map(|made| rule.strip_prefix(made)).unwrap_or(rule)
}
