//! `pdb_max_unavailable`: a disruption budget lets pods be evicted.
//!
//! # What it checks
//! A `PodDisruptionBudget` with `maxUnavailable: 0` (kube-linter `pdb-max-unavailable`), also as `0%`. kube-linter reads
//! every percentage as 0.
//!
//! # Why
//! No pod may ever be evicted, so that no node can be drained or upgraded (Kubernetes documentation, *Specifying a
//! Disruption Budget for your Application*).
//!
//! # Repair
//! None: how many pods the application can miss, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {maxUnavailable: 0}   # found
//! spec: {maxUnavailable: 1}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::reviewed::Reviewed;
use crate::k8s::View;

pub(super) struct PdbMaxUnavailable;

fn place() -> Pointer {
    Pointer::of(["spec", "maxUnavailable"])
}

/// Whether the budget is zero, as a number or as a share of the pods.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.strip_suffix('%').unwrap_or(text).parse() == Ok(0_i64),
        value => value.as_i64() == Some(0),
    }
}

impl Reviewed for PdbMaxUnavailable {
    const ID: PolicyId = PolicyId::PdbMaxUnavailable;

    const CHECK: &'static Check = &Check {
        id: "pdb-max-unavailable",
        severity: Severity::Error,
        remedy: "Set maxUnavailable to 1 or more.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let is_found =
            view.kind() == "PodDisruptionBudget" && place().resolve(view.value).is_some_and(is_zero);
        is_found.then(|| (place(), "MaxUnavailable is set to 0".to_owned())).into_iter().collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say how many pods of the application may be missing while a node is drained, and set maxUnavailable to 1 or more".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&PdbMaxUnavailable);
    }

    #[test]
    fn zero_is_found() {
        for (value, count) in [("0", 1), ("'0'", 1), ("0%", 1), ("1", 0), ("10%", 0), ("null", 0), ("[]", 0)]
        {
            let budget = document(&format!("kind: PodDisruptionBudget\nspec: {{maxUnavailable: {value}}}"));
            assert_eq!(messages(&PdbMaxUnavailable, &budget).len(), count, "{value}");
        }
    }
}
