//! Comparison of two runs over the same records: changed outcomes and their reasons.

use std::collections::HashMap;

use cli_support::output::{Align, Table};
use serde::Serialize;
use serde_json::json;

use super::served::{Pairing, Pairings, pairing_table};
use crate::load::cases::Case;
use crate::render::{Figures, p_equals, percent};
use crate::stats::{McNemar, Proportion, mcnemar};

/// A record whose outcome changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) record_id: String,
    /// Canonical policy.
    pub(crate) policy_id: String,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The fault in the second run, or in the first if the record is accepted in the second.
    pub(crate) fault: String,
    /// The reason in the second run, or in the first if the record is accepted in the second.
    pub(crate) reason: String,
}

/// The changes between two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Diff {
    /// Acceptance in the first run, of the records that both runs have.
    pub(crate) before: Proportion,
    /// Acceptance in the second run, of the same records.
    pub(crate) after: Proportion,
    /// Test of the null hypothesis that both runs accept equally often.
    pub(crate) mcnemar: McNemar,
    /// The records whose status or fault changed; those that are no longer accepted come first.
    pub(crate) changes: Vec<Change>,
    pub(crate) only_before: u64,
    pub(crate) only_after: u64,
    /// Acceptance by the models that answered; empty where no model was asked.
    pub(crate) by_model: Vec<Pairing>,
}

/// Compares two runs record by record. Records are equal if id, policy and document are.
pub(crate) fn diff(before: &[Case], after: &[Case]) -> Diff {
    let key = |case: &Case| (case.id.clone(), case.policy.clone(), case.document.clone());
    let mut known: HashMap<_, &Case> = before.iter().map(|case| (key(case), case)).collect();
    let (mut changes, mut pairs, mut accepted) = (vec![], 0_u64, (0_u64, 0_u64));
    let (mut lost, mut won, mut only_after) = (0, 0, 0);
    let mut pairings = Pairings::default();
    for now in after {
        let Some(was) = known.remove(&key(now)) else {
            only_after += 1;
            continue;
        };
        pairs += 1;
        pairings.add(was, now);
        accepted.0 += u64::from(was.accepted);
        accepted.1 += u64::from(now.accepted);
        lost += u64::from(was.accepted && !now.accepted);
        won += u64::from(!was.accepted && now.accepted);
        if was.status != now.status || was.fault != now.fault {
            let why = if now.accepted { was } else { now };
            changes.push(Change {
                record_id: now.id.clone(),
                policy_id: now.policy.to_string(),
                before: was.status.to_string(),
                after: now.status.to_string(),
                fault: why.fault.to_string(),
                reason: why.reason.to_string(),
            });
        }
    }
    // The sort is stable: within each group the corpus order remains.
    changes.sort_by_key(|change| match (change.before.as_str(), change.after.as_str()) {
        ("accepted", _) => 0,
        (_, "accepted") => 1,
        _ => 2,
    });
    Diff {
        before: Proportion::new(accepted.0, pairs),
        after: Proportion::new(accepted.1, pairs),
        mcnemar: mcnemar(lost, won),
        changes,
        only_before: known.len() as u64,
        only_after,
        by_model: pairings.groups(),
    }
}

impl Diff {
    /// Whether the second run accepts fewer records.
    pub(crate) fn fell(&self) -> bool {
        self.after.count < self.before.count
    }

    /// The changes as tables, with at most `top` records (0: all).
    pub(crate) fn figures(&self, top: usize) -> Figures {
        let names = ["accepted", "of", "share"].map(|name| (name, Align::Right));
        let mut sums = Table::new(std::iter::once(("run", Align::Left)).chain(names));
        for (name, share) in [("before", self.before), ("after", self.after)] {
            sums.push([name.to_owned(), share.count.to_string(), share.of.to_string(), percent(share.rate)]);
        }
        let names = ["record", "policy", "before", "after", "fault", "reason"];
        let mut table = Table::new(names.map(|name| (name, Align::Left)));
        let shown = if top == 0 { self.changes.len() } else { top };
        for change in self.changes.iter().take(shown) {
            table.push([
                &change.record_id,
                &change.policy_id,
                &change.before,
                &change.after,
                &change.fault,
                &change.reason,
            ]);
        }
        let title = format!(
            "Acceptance of the records that both have ({} lost, {} gained, {}; {} only before, {} only after)",
            self.mcnemar.only_first,
            self.mcnemar.only_second,
            p_equals(self.mcnemar.p),
            self.only_before,
            self.only_after
        );
        let changed =
            format!("Records whose outcome changed ({} of {})", table.rows().len(), self.changes.len());
        let figures = Figures::new(json!(self)).with(title, sums);
        let figures = if self.by_model.is_empty() {
            figures
        } else {
            figures.with("Acceptance by the models that answered".to_owned(), pairing_table(&self.by_model))
        };
        figures.with(changed, table)
    }
}
