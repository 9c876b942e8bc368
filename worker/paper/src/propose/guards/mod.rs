//! Guards: operations that every published patch includes, for any violation.

mod claims;
mod cron_job;
mod jobs;
mod names;
mod pods;

use std::collections::BTreeSet;

use domain::patch::Op;
use domain::policy::PolicyId;
use serde_json::Value;

use super::ops::{Ops, apply_all};
use super::rules;

/// What a guard adds to the document as repaired so far.
type Guard = fn(&Value, &mut Ops);

/// The guards in their order; each with the policy that it is, which does not guard its own repair.
const GUARDS: [(Option<PolicyId>, Guard); 18] = [
    (None, cron_job::shape),
    (None, cron_job::api_version),
    (None, cron_job::claim_metadata),
    (None, pods::claim_metadata),
    (None, names::legal),
    (None, names::name),
    (None, pods::missing_volumes),
    (None, pods::mount_propagation),
    (None, pods::job_restart),
    (None, pods::pod_context),
    (Some(PolicyId::DropCapabilities), rules::drop_capabilities),
    (Some(PolicyId::NoLatestTag), rules::no_latest_tag),
    (Some(PolicyId::SetRequestsLimits), rules::set_requests_limits),
    (None, rules::requests_within_limits),
    (Some(PolicyId::RunAsNonRoot), rules::run_as_non_root),
    (Some(PolicyId::NoAllowPrivilegeEscalation), rules::no_allow_privilege_escalation),
    (Some(PolicyId::ReadOnlyRootFs), rules::read_only_root_fs),
    (Some(PolicyId::EnvVarSecret), rules::env_var_secret),
];

/// A policy's own operations and those of the guards, none twice.
pub(super) struct Guarded {
    /// The policy's own operations come first.
    pub(super) ops: Vec<Op>,
    /// How many operations are the guards'.
    pub(super) guard_ops: usize,
    /// Whether the operations were seen to apply to the document, one after the other.
    pub(super) applies: bool,
}

/// Adds the guards' operations to a policy's own.
pub(super) fn guard(document: &Value, policy: PolicyId, own: Vec<Op>) -> Guarded {
    let mut cursor = Cursor { original: document, document: document.clone(), groups: Vec::new() };
    cursor.take(own);
    for (itself, guard) in GUARDS {
        if itself == Some(policy) {
            continue;
        }
        let mut additions = Ops::default();
        guard(&cursor.document, &mut additions);
        if !additions.0.is_empty() {
            cursor.take(additions.0);
        }
    }
    cursor.finish()
}

/// The document as repaired so far. A group of operations that does not apply leaves it as it was.
struct Cursor<'d> {
    original: &'d Value,
    document: Value,
    groups: Vec<Group>,
}

/// The operations of the policy or of one guard.
struct Group {
    ops: Vec<Op>,
    applied: bool,
}

impl Cursor<'_> {
    fn take(&mut self, ops: Vec<Op>) {
        let applied = apply_all(&mut self.document, &ops).is_ok();
        self.groups.push(Group { ops, applied });
        if applied {
            return;
        }
        self.document = self.original.clone();
        for group in self.groups.iter().filter(|group| group.applied) {
            let replayed = apply_all(&mut self.document, &group.ops);
            debug_assert!(replayed.is_ok(), "what applied once applies again");
        }
    }

    /// The policy's operations as they are, then those of the guards that did not occur before.
    fn finish(self) -> Guarded {
        let all: Vec<&Op> = self.groups.iter().flat_map(|group| &group.ops).collect();
        let own = self.groups.first().map_or(0, |group| group.ops.len());
        let repeated = repeated(&all, own);
        let applies = repeated.is_empty() && self.groups.iter().all(|group| group.applied);
        let ops = self.groups.into_iter().flat_map(|group| group.ops).enumerate();
        let ops: Vec<Op> = ops.filter(|(index, _)| !repeated.contains(index)).map(|(_, op)| op).collect();
        Guarded { guard_ops: ops.len() - own, ops, applies }
    }
}

/// The indices, from `own` on, of operations that occurred before.
fn repeated(ops: &[&Op], own: usize) -> BTreeSet<usize> {
    let mut paths = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for (index, op) in ops.iter().enumerate() {
        // An operation on a path that did not occur did not occur.
        let new = paths.insert(op.path());
        if index >= own && !new && ops.iter().take(index).any(|before| before == op) {
            repeated.insert(index);
        }
    }
    repeated
}
