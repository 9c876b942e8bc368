//! Rules on service accounts. Both include the operations of `no_privileged`.

use serde_json::Value;

use super::super::ops::Ops;
use super::super::walk::{filled, pod_specs};
use super::security::no_privileged;

/// Always rewritten to `default` (the successor asked for an annotation first).
pub(super) fn non_existent(document: &Value, out: &mut Ops) {
    for spec in pod_specs(document) {
        let name = spec.fields.get("serviceAccountName");
        if name.and_then(Value::as_str) != Some("default") {
            out.set_not_null(Some(spec.fields), &spec.at, "serviceAccountName", "default");
        }
        let old = spec.fields.get("serviceAccount").filter(|value| !value.is_null());
        if old.is_some_and(|value| value.as_str() != Some("default")) {
            out.replace(spec.at.child("serviceAccount"), "default");
        }
    }
    if !out.0.is_empty() {
        no_privileged(document, out);
    }
}

pub(super) fn deprecated_field(document: &Value, out: &mut Ops) {
    for spec in pod_specs(document) {
        let Some(account) = filled(spec.fields, "serviceAccount") else { continue };
        if spec.fields.get("serviceAccountName").and_then(Value::as_str) != Some(account) {
            out.set_not_null(Some(spec.fields), &spec.at, "serviceAccountName", account);
        }
        out.remove(spec.at.child("serviceAccount"));
    }
    if !out.0.is_empty() {
        no_privileged(document, out);
    }
}
