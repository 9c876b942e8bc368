//! `pdb_min_available`: a disruption budget asks for fewer pods than there are.
//!
//! # What it checks
//! A `PodDisruptionBudget` whose `minAvailable` is 100 %, no number, or no less than the replicas of a workload of its
//! namespace with the same selector (kube-linter `pdb-min-available`).
//!
//! # Why
//! No pod may ever be evicted, so that no node can be drained or upgraded (Kubernetes documentation, *Specifying a
//! Disruption Budget for your Application*).
//!
//! # Repair
//! None: how many pods the application can miss, or whether it may have more, no manifest says.
//!
//! # Example
//! ```yaml
//! spec: {minAvailable: 2}   # found, beside a Deployment with replicas: 2
//! spec: {minAvailable: 1}   # not
//! ```

use domain::pointer::Pointer;
use domain::policy::PolicyId;
use domain::record::reference::Reference;
use serde_json::Value;

use super::contract::{Check, Severity};
use super::message::quoted;
use super::reviewed::Reviewed;
use crate::k8s::View;
use crate::k8s::label_selector::{self, query};

pub(super) struct PdbMinAvailable;

/// What a budget asks for.
enum Wanted {
    Pods(i64),
    Percent(i64),
}

impl Wanted {
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Ok(pods) = text.parse() {
            return Ok(Self::Pods(pods));
        }
        let shown = quoted(&text);
        let Some(number) = text.strip_suffix('%') else {
            return Err(format!("invalid type: string {shown} is not a percentage"));
        };
        let error =
            || format!("invalid value {shown}: strconv.Atoi: parsing {}: invalid syntax", quoted(number));
        number.parse().map(Self::Percent).map_err(|_| error())
    }

    /// How many of so many pods.
    fn of(&self, replicas: i64) -> i64 {
        match self {
            Self::Pods(pods) => *pods,
            Self::Percent(percent) => replicas.saturating_mul(*percent).div_euclid(100),
        }
    }
}

fn troubles(view: &View<'_>) -> Vec<String> {
    let written = view.spec().and_then(|spec| spec.get("minAvailable")).filter(|value| !value.is_null());
    let Some(written) = written.filter(|_| view.kind() == "PodDisruptionBudget") else { return Vec::new() };
    let wanted = match Wanted::read(written) {
        Ok(Wanted::Percent(100)) => {
            return vec!["PDB has minimum available replicas set to 100 percent of replicas".to_owned()];
        }
        Ok(wanted) => wanted,
        Err(error) => return vec![format!("PDB has invalid MinAvailable value: {error}")],
    };
    let selector = view.value.pointer("/spec/selector").map(label_selector::read).unwrap_or_default();
    if let Some(error) = label_selector::invalid(&selector) {
        return vec![format!("PDB has invalid label selector: {error}")];
    }
    let selector = query(&selector);
    let blocked = view.references().filter_map(|reference| match reference {
        Reference::Controller { name, selector: Some(own), replicas: Some(replicas), .. }
            if query(own) == selector && *replicas <= wanted.of(*replicas) =>
        {
            Some(name)
        }
        _ => None,
    });
    let message = |name: &String| {
        format!(
            "Deployment {name} has replicas less than or equal to the minimum available replicas set by its PDB."
        )
    };
    blocked.map(message).collect()
}

impl Reviewed for PdbMinAvailable {
    const ID: PolicyId = PolicyId::PdbMinAvailable;

    const CHECK: &'static Check = &Check {
        id: "pdb-min-available",
        severity: Severity::Error,
        remedy: "Ask for fewer pods than the workload has.",
    };

    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)> {
        let place = Pointer::of(["spec", "minAvailable"]);
        troubles(view).into_iter().map(|message| (place.clone(), message)).collect()
    }

    fn reason(&self, _view: &View<'_>) -> String {
        "say how many pods of the application may be missing while a node is drained, and set maxUnavailable to that in place of \
         minAvailable"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Policy as _;
    use super::*;
    use crate::k8s::neighbours::{Index, reference};
    use crate::testing::{document, fixture_holds, messages};

    #[test]
    fn fixtures() {
        fixture_holds(&PdbMinAvailable);
    }

    #[test]
    fn a_budget_leaves_a_pod_to_spare() {
        let web = document(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {spec: {}}}",
        );
        let index = Index::new(reference(&web)).with_references();
        let full = "PDB has minimum available replicas set to 100 percent of replicas";
        let all = "Deployment web has replicas less than or equal to the minimum available replicas set by its PDB.";
        for (value, expected) in [
            ("2", None),
            ("'2'", None),
            ("3", Some(all)),
            ("4", Some(all)),
            ("99%", None),
            ("100%", Some(full)),
            ("200%", Some(all)),
            ("null", None),
            ("x", Some("PDB has invalid MinAvailable value: invalid type: string \"x\" is not a percentage")),
            (
                "x%",
                Some(
                    "PDB has invalid MinAvailable value: invalid value \"x%\": strconv.Atoi: parsing \"x\": invalid syntax",
                ),
            ),
        ] {
            let text = format!(
                "kind: PodDisruptionBudget\nmetadata: {{name: b}}\nspec: {{minAvailable: {value}, selector: {{matchLabels: {{app: web}}}}}}"
            );
            let budget = document(&text);
            let neighbours = index.related(&budget);
            let found = PdbMinAvailable.detect(&View::new(&budget, &neighbours));
            let found: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{value}");
        }
        let other =
            document("kind: PodDisruptionBudget\nspec: {minAvailable: 9, selector: {matchLabels: {app: x}}}");
        assert_eq!(messages(&PdbMinAvailable, &other), Vec::<String>::new());
    }
}
