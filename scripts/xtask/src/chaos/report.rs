//! Report of a run with faults, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// What happened, and what should not have.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Replays the plan.
    pub seed: u64,
    /// How many faults of each kind there were.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Commits that the coordinator refused because their token was old.
    pub late_commits_refused: usize,
    /// Seconds that the coordinator kept a stalled upload open, at most.
    pub longest_stall_s: f64,
    /// Records of the corpus.
    pub records: u64,
    /// Rows of the results.
    pub rows: u64,
    /// Fingerprint of the undisturbed run.
    pub expected: String,
    /// Fingerprint of the disturbed run.
    pub fingerprint: String,
    /// Of a run by a model: calls that were paid for.
    pub calls_paid: u64,
    /// Different questions among them.
    pub questions: u64,
    /// Calls that were under way when processes were killed, added up over the kills.
    pub in_flight_at_kills: u64,
    /// Of several coordinators: longest time without an owner, in seconds.
    pub longest_failover_s: f64,
    /// The same after an owner that was told to end.
    pub longest_drain_s: f64,
    /// Commits that workers were told of.
    pub commits_told: usize,
    /// Those of them that the ledger has not.
    pub told_commits_lost: usize,
    /// Seconds that the undisturbed run took.
    pub undisturbed_s: f64,
    /// Seconds that the disturbed run took.
    pub disturbed_s: f64,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// What should not have happened.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether all is as it should be.
    pub fn is_fine(&self) -> bool {
        self.violations.is_empty()
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "fine": self.is_fine(),
            "faults": self.faults,
            "late_commits_refused": self.late_commits_refused,
            "longest_stall_s": self.longest_stall_s,
            "records": self.records,
            "rows": self.rows,
            "lost": self.records.saturating_sub(self.rows),
            "double": self.rows.saturating_sub(self.records),
            "expected": self.expected,
            "fingerprint": self.fingerprint,
            "calls_paid": self.calls_paid,
            "questions": self.questions,
            "in_flight_at_kills": self.in_flight_at_kills,
            "longest_failover_s": self.longest_failover_s,
            "longest_drain_s": self.longest_drain_s,
            "commits_told": self.commits_told,
            "told_commits_lost": self.told_commits_lost,
            "undisturbed_s": self.undisturbed_s,
            "disturbed_s": self.disturbed_s,
            "skipped": self.skipped,
            "violations": self.violations,
        })
    }

    /// A table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "  {name:<42} {value}");
        };
        row("seed", &self.seed);
        for (fault, count) in &self.faults {
            row(fault, count);
        }
        row("late commits refused", &self.late_commits_refused);
        row("seconds of the longest stalled upload", &format!("{:.1}", self.longest_stall_s));
        row("records", &self.records);
        row("lost", &self.records.saturating_sub(self.rows));
        row("double", &self.rows.saturating_sub(self.records));
        row("fingerprint undisturbed", &self.expected);
        row("fingerprint", &self.fingerprint);
        if self.questions > 0 {
            row("calls paid for", &self.calls_paid);
            row("questions", &self.questions);
            row("calls in flight at kills", &self.in_flight_at_kills);
        }
        if self.commits_told > 0 {
            row("seconds of the longest failover", &format!("{:.1}", self.longest_failover_s));
            row("seconds of the longest drain", &format!("{:.1}", self.longest_drain_s));
            row("commits that workers were told of", &self.commits_told);
            row("lost among them", &self.told_commits_lost);
        }
        row("seconds undisturbed", &format!("{:.1}", self.undisturbed_s));
        row("seconds", &format!("{:.1}", self.disturbed_s));
        for skipped in &self.skipped {
            let _ = writeln!(text, "skipped: {skipped}");
        }
        for violation in &self.violations {
            let _ = writeln!(text, "VIOLATION: {violation}");
        }
        let verdict = if self.is_fine() { "survived" } else { "not survived; --seed replays the plan" };
        let _ = writeln!(text, "{verdict}");
        text
    }
}
