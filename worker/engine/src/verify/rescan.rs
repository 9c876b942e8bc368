//! Gate *rescan*: the configured policies over the patched document; the target is cleared and nothing is new.

use std::collections::{BTreeMap, BTreeSet};

use domain::policy::{PolicyId, PolicyName};

use crate::k8s::View;
use crate::policies::{self, Finding};
use crate::steps::spend;

/// What a rescan found wrong.
#[derive(Debug, Default)]
pub(super) struct Rescan {
    /// Findings of the target policy that are still there.
    pub(super) remaining: Vec<String>,
    /// Findings that the original document did not have, as `policy: message`.
    pub(super) new: Vec<String>,
}

/// Judges the order of keys, which a JSON Patch does not say: it is decided where the repair is written.
pub(super) const OF_THE_TEXT: PolicyId = PolicyId::SortedKeys;

/// Compares the findings before and after, as multisets of (policy, check, container).
///
/// A detector is told nothing of what the configuration allows (a host path of the allowlist): where the policy's own
/// re-check `holds`, what it left untouched is allowed, not remaining.
pub(super) fn compare(
    before: (&View<'_>, &[Finding]),
    after: (&View<'_>, &[Finding]),
    target: &PolicyName,
    holds: bool,
) -> Rescan {
    let containers = (Containers::of(before.0), Containers::of(after.0));
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for finding in before.1 {
        *known.entry(containers.0.place(finding)).or_default() += 1;
    }
    let mut rescan = Rescan::default();
    let accepted = match target {
        PolicyName::Known(id) => policies::policy(*id).may_bring(),
        PolicyName::Unknown(_) => &[],
    };
    spend(before.1.len());
    for finding in after.1 {
        spend(1);
        let left = known.get_mut(&containers.1.place(finding)).filter(|left| **left > 0);
        let text = format!("{}: {}", finding.policy, finding.message);
        if *target == PolicyName::Known(finding.policy) {
            let untouched = finding.pointer.resolve(before.0.value) == finding.pointer.resolve(after.0.value);
            if !(holds && untouched) {
                rescan.remaining.push(text);
            }
        } else if let Some(left) = left {
            *left -= 1;
        } else if !accepted.contains(&finding.policy) && finding.policy != OF_THE_TEXT {
            rescan.new.push(text);
        }
    }
    rescan
}

/// The pointers of a document's containers.
struct Containers(BTreeSet<String>);

impl Containers {
    fn of(view: &View<'_>) -> Self {
        Self(view.containers.iter().map(|container| container.pointer.to_string()).collect())
    }

    /// A finding's place: its policy and check, and the container it is about (or the whole document). Containers keep
    /// their places under a patch, since the safety gate refuses a patch that takes one away.
    fn place<'f>(&self, finding: &'f Finding) -> (&'f str, &'f str, &'f str) {
        let mut at = finding.pointer.as_str();
        while !self.0.contains(at) {
            let Some(parent) = at.rfind('/').and_then(|slash| at.get(..slash)) else { break };
            at = parent;
        }
        (finding.policy.as_str(), finding.check, at)
    }
}
