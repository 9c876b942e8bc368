//! The restart policy of the pods of a Job.

use domain::pointer::Pointer;
use serde_json::json;

use super::super::ops::Ops;
use super::super::walk::{Fields, map, text};

/// Sets `OnFailure` in a template whose policy is not one that a Job may have.
pub(super) fn restart_policy(template: &Fields, at: &Pointer, out: &mut Ops) {
    let at = at.child("spec");
    match map(template, "spec") {
        None => out.add(at, json!({"restartPolicy": "OnFailure"})),
        Some(spec) if !is_job_policy(spec) => out.set(Some(spec), &at, "restartPolicy", "OnFailure"),
        Some(_) => {}
    }
}

/// Whether the policy is one that a Job may have.
fn is_job_policy(spec: &Fields) -> bool {
    matches!(text(spec, "restartPolicy"), Some("OnFailure" | "Never"))
}
