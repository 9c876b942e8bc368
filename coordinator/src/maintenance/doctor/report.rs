//! Report of the doctor: checks with verdict, finding and remedy, as a table and as JSON.

use cli_support::Table;
use cli_support::output::Align;
use serde_json::{Value, json};

/// Verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The check passed.
    Ok,
    /// The check failed.
    Failed,
    /// There is nothing to check, or its input is missing.
    Skipped,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Name of the check, one word.
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) finding: String,
    /// Remedy; empty where none is needed.
    pub(crate) remedy: String,
}

impl Check {
    /// A check that passed.
    pub(crate) fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), remedy: String::new() }
    }

    /// A check that was skipped.
    pub(crate) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skipped, finding: why.into(), remedy: String::new() }
    }

    /// A check that failed.
    pub(crate) fn failed(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, finding: finding.into(), remedy: remedy.into() }
    }

    /// A check that fails if there are findings.
    pub(crate) fn of(name: &'static str, findings: &[String], fine: String, remedy: &str) -> Self {
        if findings.is_empty() {
            Self::ok(name, fine)
        } else {
            Self::failed(name, findings.join("; "), remedy)
        }
    }
}

/// All checks of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Id of the run.
    pub(crate) run: String,
    /// Its folder.
    pub(crate) place: String,
    /// Its state, if known.
    pub(crate) state: String,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    /// Whether any check failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == Verdict::Failed)
    }

    /// The report as a table.
    pub(crate) fn text(&self, width: Option<u16>) -> String {
        let mut table = Table::new([
            ("check", Align::Left),
            ("", Align::Left),
            ("finding", Align::Left),
            ("remedy", Align::Left),
        ]);
        for check in &self.checks {
            table.push([check.name, check.verdict.as_str(), &check.finding, &check.remedy]);
        }
        format!("run {} ({}) in {}\n{}", self.run, self.state, self.place, table.text(width))
    }

    /// The report as JSON; its keys are a stable interface.
    pub(crate) fn json(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            json!({
                "check": check.name,
                "verdict": check.verdict.as_str(),
                "finding": check.finding,
                "remedy": check.remedy,
            })
        });
        json!({
            "run_id": self.run,
            "path": self.place,
            "state": self.state,
            "ok": !self.has_failed(),
            "checks": checks.collect::<Vec<Value>>(),
        })
    }
}
