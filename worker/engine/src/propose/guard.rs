//! Operations that the rules add to a model's patch.

use domain::config::RulesConfig;
use domain::outcome::Proposal;
use domain::patch::Patch;
use domain::policy::PolicyName;
use domain::record::Neighbours;

use super::{Decision, rules};
use crate::document::Document;
use crate::k8s::View;
use crate::verify::apply;

/// A model's patch as a proposal of its own. Its collateral is counted when it is verified.
pub fn alone(patch: Patch) -> Proposal {
    Proposal { patch, companions: Vec::new(), cautions: Vec::new(), collateral_ops: 0, hardened: false }
}

/// The model's patch, then what the rules still find to do *after* it: their pointers are those of the document that
/// the model made, and they never undo its work. `patch` must apply.
pub fn merge(
    patch: Patch,
    document: &Document,
    neighbours: &Neighbours,
    policy: &PolicyName,
    config: &RulesConfig,
) -> Proposal {
    let after = apply(&document.value, &patch).ok().and_then(|value| Document::from_value(value).ok());
    let mut merged = alone(patch);
    let Some(after) = after else { return merged };
    if let Decision::Repair(more) = rules::propose(&View::new(&after, neighbours), policy, config) {
        merged.hardened = !more.patch.is_empty();
        merged.patch.0.extend(more.patch.0);
        merged.companions = more.companions;
        merged.cautions = more.cautions;
    }
    merged
}

#[cfg(test)]
mod tests {
    use domain::policy::PolicyId;
    use serde_json::json;

    use super::*;
    use crate::testing::document;

    #[test]
    fn the_rules_go_on_where_the_model_stopped() {
        let pod = document(
            "kind: Pod\nspec: {hostPID: true, containers: [{name: a, ports: [{containerPort: 80, hostPort: 80}]}, {name: b, ports: [{containerPort: 81, hostPort: 81}]}]}",
        );
        let first = json!([{"op": "remove", "path": "/spec/containers/0/ports/0/hostPort"}]);
        let policy = PolicyName::Known(PolicyId::NoHostPorts);
        let patch: Patch = serde_json::from_value(first.clone()).unwrap();
        let merged = merge(patch.clone(), &pod, &Neighbours::Unknown, &policy, &RulesConfig::default());
        assert!(merged.hardened);
        assert_eq!(merged.patch.0[0], patch.0[0]);
        assert_eq!(
            serde_json::to_value(&merged.patch.0[1]).unwrap()["path"],
            "/spec/containers/1/ports/0/hostPort"
        );
        let patched = apply(&pod.value, &merged.patch).unwrap();
        assert!(!patched.to_string().contains("hostPort"));
    }
}
