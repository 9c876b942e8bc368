//! Two runs over the same records: whose outcome changed, and why.

use std::collections::HashMap;

use console::output::{Align, Table};
use serde::Serialize;
use serde_json::json;

use crate::load::cases::Case;
use crate::render::Figures;
use crate::stats::{McNemar, Proportion, mcnemar};

/// A record whose outcome changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) record_id: String,
    /// Canonical policy.
    pub(crate) policy_id: String,
    pub(crate) before: String,
    pub(crate) after: String,
    /// Whose fault it is after, or was before where it is accepted now.
    pub(crate) fault: String,
    /// Why it is not accepted after, or was not before.
    pub(crate) reason: String,
}

/// What changed between two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Diff {
    /// Acceptance of the first, of the records that both have.
    pub(crate) before: Proportion,
    /// Acceptance of the second, of the same.
    pub(crate) after: Proportion,
    /// Whether the difference is more than chance.
    pub(crate) mcnemar: McNemar,
    /// The records whose status or fault changed: first those that are no longer accepted.
    pub(crate) changes: Vec<Change>,
    /// Records that only the first has.
    pub(crate) only_before: u64,
    /// Records that only the second has.
    pub(crate) only_after: u64,
}

/// Compares two runs record by record: equal id, policy and document.
pub(crate) fn diff(before: &[Case], after: &[Case]) -> Diff {
    let key = |case: &Case| (case.id.clone(), case.policy.clone(), case.document.clone());
    let mut known: HashMap<_, &Case> = before.iter().map(|case| (key(case), case)).collect();
    let (mut changes, mut pairs, mut accepted) = (vec![], 0_u64, (0_u64, 0_u64));
    let (mut lost, mut won, mut only_after) = (0, 0, 0);
    for now in after {
        let Some(was) = known.remove(&key(now)) else {
            only_after += 1;
            continue;
        };
        pairs += 1;
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
    // A stable sort: within each group the order of the corpus.
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
    }
}

impl Diff {
    /// Whether fewer records are accepted than before.
    pub(crate) fn fell(&self) -> bool {
        self.after.count < self.before.count
    }

    /// The changes as tables; at most `top` records, 0 for all.
    pub(crate) fn figures(&self, top: usize) -> Figures {
        let names = ["accepted", "of", "share"].map(|name| (name, Align::Right));
        let mut sums = Table::new(std::iter::once(("run", Align::Left)).chain(names));
        for (name, share) in [("before", self.before), ("after", self.after)] {
            let percent = share.rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0));
            sums.push([name.to_owned(), share.count.to_string(), share.of.to_string(), percent]);
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
            "Acceptance of the records that both have ({} lost, {} won, p = {:.2e}; {} only before, {} only after)",
            self.mcnemar.only_first,
            self.mcnemar.only_second,
            self.mcnemar.p,
            self.only_before,
            self.only_after
        );
        let changed =
            format!("Records whose outcome changed ({} of {})", table.rows().len(), self.changes.len());
        Figures::new(json!(self)).with(title, sums).with(changed, table)
    }
}
