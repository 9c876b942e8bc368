//! Findings that do not count, because the settings of the repository say so, with the reason.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use corpus::{FileScan, Suppressed, glob_matches, path_below};
use domain::policy::{PolicyId, PolicyName};
use engine::document::Identity;
use glob::Pattern;
use serde_saphyr::Spanned;

use super::file::{ObjectName, Rule};
use crate::commands::detect::{About, Remark};
use crate::findings::OutsideFinding;

/// Which findings do not count.
#[derive(Debug, Default)]
pub(in crate::commands) struct Suppressions {
    rules: Vec<Suppression>,
    /// The folder that paths are below.
    folder: PathBuf,
    /// Whether the command works on that folder as a whole.
    is_whole: bool,
}

#[derive(Debug)]
struct Suppression {
    policy: PolicyId,
    path: Pattern,
    object: Option<ObjectName>,
    /// Where it is written, and why.
    why: Suppressed,
    /// Whether a file of its path was read.
    has_file: AtomicBool,
    /// Whether a finding was suppressed by it.
    is_used: AtomicBool,
}

impl Suppressions {
    /// `is_whole`: whether the command works on all of `folder`.
    pub(super) fn new(rules: Vec<Spanned<Rule>>, folder: PathBuf, file: &str, is_whole: bool) -> Self {
        let rules = rules.into_iter().map(|Spanned { value, referenced, .. }| Suppression {
            policy: value.policy.0,
            path: value.path.0,
            object: value.object.map(|object| object.0),
            why: Suppressed { place: format!("{file}:{}", referenced.line()), reason: value.reason.0.0 },
            has_file: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
        });
        Self { rules: rules.collect(), folder, is_whole }
    }

    /// What is said of suppressions that suppressed nothing, where files of their path were read, or all of the repository.
    /// `wanted`: the policies that were looked for.
    pub(in crate::commands) fn unused(&self, wanted: &[PolicyId]) -> Vec<String> {
        let rules = self.rules.iter().filter(|rule| {
            let is_due = self.is_whole || rule.has_file.load(Ordering::Relaxed);
            is_due && !rule.is_used.load(Ordering::Relaxed) && wanted.contains(&rule.policy)
        });
        let line = |rule: &Suppression| {
            format!("{}: the suppression of {} matches nothing: take it out", rule.why.place, rule.policy)
        };
        rules.map(line).collect()
    }

    /// Those that are about a file.
    pub(in crate::commands) fn of_file(&self, path: &str) -> OfFile<'_> {
        let below = if self.rules.is_empty() { None } else { path_below(&self.folder, path) };
        let matching = |below: String| {
            let rules = self.rules.iter().filter(move |rule| glob_matches(&rule.path, &below));
            rules.inspect(|rule| rule.has_file.store(true, Ordering::Relaxed)).collect()
        };
        OfFile(below.map(matching).unwrap_or_default())
    }

    /// Takes the findings that do not count out of those that do.
    pub(in crate::commands) fn apply(&self, file: &mut FileScan) {
        let rules = self.of_file(&file.path);
        if rules.0.is_empty() {
            return;
        }
        for object in &mut file.objects {
            let identity = &object.document.identity;
            let findings = std::mem::take(&mut object.findings);
            for finding in findings {
                match rules.rule(identity, finding.policy) {
                    Some(rule) => {
                        rule.is_used.store(true, Ordering::Relaxed);
                        object.suppressed.push((finding, rule.why.clone()));
                    }
                    None => object.findings.push(finding),
                }
            }
        }
    }

    /// Takes the findings of other scanners that do not count out of `found`, which has those of each object; says which.
    pub(in crate::commands) fn apply_outside(
        &self,
        file: &FileScan,
        found: &mut [Vec<OutsideFinding>],
    ) -> Vec<Remark> {
        let rules = self.of_file(&file.path);
        let mut remarks = Vec::new();
        if rules.0.is_empty() {
            return remarks;
        }
        for (object, found) in file.objects.iter().zip(found) {
            found.retain(|finding| {
                let PolicyName::Known(policy) = &finding.policy else { return true };
                let Some(rule) = rules.rule(&object.document.identity, *policy) else { return true };
                rule.is_used.store(true, Ordering::Relaxed);
                let why = &rule.why;
                remarks.push(Remark {
                    about: About::Suppressed,
                    path: file.path.clone(),
                    line: Some(object.place.lines + 1),
                    message: format!("{}/{} ({}: {:?})", finding.tool, finding.check, why.place, why.reason),
                });
                false
            });
        }
        remarks
    }
}

/// The suppressions that are about a file.
#[derive(Debug, Default)]
pub(in crate::commands) struct OfFile<'a>(Vec<&'a Suppression>);

impl<'a> OfFile<'a> {
    /// Why the findings of a policy in an object do not count; `None`: they do.
    pub(in crate::commands) fn why(&self, object: &Identity, policy: PolicyId) -> Option<&Suppressed> {
        self.rule(object, policy).map(|rule| &rule.why)
    }

    fn rule(&self, object: &Identity, policy: PolicyId) -> Option<&'a Suppression> {
        let is_object = |named: &ObjectName| named.kind == object.kind && named.name == object.name;
        let mut rules = self.0.iter().copied();
        rules.find(|rule| rule.policy == policy && rule.object.as_ref().is_none_or(is_object))
    }
}
