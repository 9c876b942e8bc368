//! What became of the calls: passed, refused because of a limit, failed otherwise.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::call::{Call, Ended};

/// Most characters of a reason.
const MOST: usize = 100;

/// Numbers of calls by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    /// Calls with an answer.
    pub(crate) passed: usize,
    /// Calls refused because of a limit.
    pub(crate) refused: usize,
    /// Other calls, by reason.
    pub(crate) failed: BTreeMap<String, usize>,
}

impl Outcomes {
    /// Counts the calls that have ended.
    pub(crate) fn of(calls: &[Call]) -> Self {
        let mut counts = Self::default();
        for call in calls {
            match call.ended {
                Ended::Pending => {}
                Ended::Answered => counts.passed += 1,
                Ended::Throttled(_) => counts.refused += 1,
                Ended::Failed => *counts.failed.entry(reason(call)).or_default() += 1,
            }
        }
        counts
    }

    /// The counts as JSON; the keys are a stable interface.
    pub(crate) fn json(&self) -> Value {
        let failed: usize = self.failed.values().sum();
        json!({
            "passed": self.passed, "refused": self.refused, "failed": failed, "failed_by_reason": self.failed,
        })
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: usize = self.failed.values().sum();
        write!(out, "{} passed, {} refused by rate (429), {failed} failed", self.passed, self.refused)?;
        for (number, (reason, count)) in self.failed.iter().enumerate() {
            write!(out, "{}{count} × {reason}", if number == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

/// Why a call failed, the same for calls that failed alike.
fn reason(call: &Call) -> String {
    match (call.status, &call.error) {
        (Some(status), _) if status >= 400 => format!("HTTP {status}"),
        (_, Some(error)) => error.chars().take(MOST).collect(),
        (Some(status), None) => format!("HTTP {status}"),
        (None, None) => "no reply".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use llm::limit::Scarce;

    use super::super::call::testing::call;
    use super::*;

    #[test]
    fn a_refusal_is_no_failure_and_failures_have_their_reason() {
        let failed = |status, error: &str| Call {
            status,
            error: Some(error.to_owned()),
            ..call(3.0, 0.1, Ended::Failed)
        };
        let refused =
            Call { error: Some("429".to_owned()), ..call(1.0, 0.1, Ended::Throttled(Scarce::Requests)) };
        let calls = [
            call(0.0, 1.0, Ended::Answered),
            refused,
            failed(Some(500), "the provider answered 500: a"),
            failed(Some(500), "the provider answered 500: b"),
            failed(None, "timed out"),
        ];
        let counts = Outcomes::of(&calls);
        assert_eq!(
            counts.to_string(),
            "1 passed, 1 refused by rate (429), 3 failed: 2 × HTTP 500; 1 × timed out"
        );
        assert_eq!(counts.json()["failed_by_reason"]["HTTP 500"], 2);
    }
}
