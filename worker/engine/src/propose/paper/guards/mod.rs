//! The guards: what every published patch brings along, whatever the violation was.

mod cron_job;
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

/// Appends the guards' operations to a policy's own.
pub(super) fn append(document: &Value, policy: PolicyId, ops: &mut Vec<Op>) {
    let mut cursor = Cursor::new(document);
    cursor.take(ops);
    let mut paths: BTreeSet<String> = ops.iter().map(|op| op.path().as_str().to_owned()).collect();
    for (itself, guard) in GUARDS {
        if itself == Some(policy) {
            continue;
        }
        let mut additions = Ops::default();
        guard(&cursor.document, &mut additions);
        if additions.0.is_empty() {
            continue;
        }
        cursor.take(&additions.0);
        for op in additions.0 {
            // An operation of a path not seen before cannot have been seen before.
            let new = paths.insert(op.path().as_str().to_owned());
            if new || !ops.contains(&op) {
                ops.push(op);
            }
        }
    }
}

/// The document as repaired so far. A group of operations that does not apply leaves it as it was.
struct Cursor<'d> {
    original: &'d Value,
    document: Value,
    applied: Vec<Op>,
}

impl<'d> Cursor<'d> {
    fn new(original: &'d Value) -> Self {
        Self { original, document: original.clone(), applied: Vec::new() }
    }

    fn take(&mut self, ops: &[Op]) {
        if apply_all(&mut self.document, ops).is_ok() {
            self.applied.extend_from_slice(ops);
            return;
        }
        self.document = self.original.clone();
        let replayed = apply_all(&mut self.document, &self.applied);
        debug_assert!(replayed.is_ok(), "what applied once applies again");
    }
}
