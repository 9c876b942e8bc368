//! Verdicts of the published gates on a patch.

use domain::patch::Patch;
use domain::policy::PolicyName;
use engine::verify::apply;
use serde_json::Value;

use super::{reason, recheck, safety};

/// What the published gates said about a patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The patched document, or why the patch does not apply, in the words of the published errors.
    pub apply: Result<Value, String>,
    /// Why the target policy does not hold; empty when it holds or the patch does not apply.
    pub policy_errors: Vec<String>,
    /// Why the patched document is not safe; empty when it is or the patch does not apply.
    pub safety_errors: Vec<String>,
}

impl Judgement {
    /// The published `ok_policy`. A patch that does not apply fails it.
    pub fn ok_policy(&self) -> bool {
        self.apply.is_ok() && self.policy_errors.is_empty()
    }

    /// The published `ok_safety`. A patch that does not apply fails it.
    pub fn ok_safety(&self) -> bool {
        self.apply.is_ok() && self.safety_errors.is_empty()
    }

    /// The published `ok_schema`, given what the schema gate said about the patched document (`None`: it was off or
    /// let everything pass). A patch that does not apply fails it.
    pub fn ok_schema(&self, schema: Option<bool>) -> bool {
        self.apply.is_ok() && schema.unwrap_or(true)
    }

    /// The published `accepted`, with the rescan off.
    pub fn accepted(&self, schema: Option<bool>) -> bool {
        self.ok_policy() && self.ok_safety() && self.ok_schema(schema)
    }

    /// The published `errors`: policy, then safety; or the one error of a patch that does not apply.
    pub fn errors(&self) -> Vec<String> {
        match &self.apply {
            Ok(_) => self.policy_errors.iter().chain(&self.safety_errors).cloned().collect(),
            Err(reason) => vec![reason.clone()],
        }
    }
}

/// Applies `patch` to a copy of `document` and judges the result for `policy`.
pub fn judge(document: &Value, policy: &PolicyName, patch: &Patch) -> Judgement {
    match apply(document, patch) {
        Ok(patched) => Judgement {
            policy_errors: recheck::errors(&patched, policy),
            safety_errors: safety::errors(&patched, policy),
            apply: Ok(patched),
        },
        Err(error) => Judgement {
            apply: Err(reason::of(document, patch, &error)),
            policy_errors: Vec::new(),
            safety_errors: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use domain::policy::PolicyId;
    use serde_json::json;

    use super::*;

    fn judged(document: &Value, policy: PolicyId, ops: Value) -> Judgement {
        judge(document, &PolicyName::Known(policy), &serde_json::from_value(ops).unwrap())
    }

    fn pod(container: &Value) -> Value {
        json!({"kind": "Pod", "spec": {"containers": [container]}})
    }

    #[test]
    fn a_patch_that_does_not_apply_fails_every_gate_with_one_error() {
        let document = pod(&json!({"name": "a", "image": "x"}));
        let ops = json!([
            {"op": "add", "path": "/a", "value": {}},
            {"op": "remove", "path": "/a/clusterName"}
        ]);
        let judgement = judged(&document, PolicyId::NoLatestTag, ops);
        assert!(!judgement.ok_policy() && !judgement.ok_safety() && !judgement.ok_schema(None));
        assert_eq!(judgement.errors(), ["can't remove a non-existent object 'clusterName'"]);
    }

    #[test]
    fn texts_are_the_published_ones() {
        let bare = pod(&json!({"name": "a", "image": " ", "securityContext": {"privileged": true}}));
        let judgement = judged(&bare, PolicyId::DropCapabilities, json!([]));
        assert_eq!(judgement.policy_errors[0], "capabilities not defined");
        assert_eq!(
            judgement.safety_errors,
            ["container image missing or empty", "privileged container detected"]
        );
        let env = pod(&json!({"image": "x", "env": [{"name": "DB_PASSWORD", "value": "v"}]}));
        let judgement = judged(&env, PolicyId::EnvVarSecret, json!([]));
        assert_eq!(judgement.errors(), ["environment variable DB_PASSWORD must use secretKeyRef"]);
    }

    #[test]
    fn an_unknown_policy_passes_and_a_service_needs_a_policy_that_may_go_without_containers() {
        let service = json!({"kind": "Service", "metadata": {}, "spec": {}});
        let unknown = judge(&service, &PolicyName::normalise("whatever"), &Patch::default());
        assert!(unknown.ok_policy() && !unknown.ok_safety());
        assert_eq!(unknown.errors(), ["no containers found in manifest"]);
        assert!(judged(&service, PolicyId::DanglingService, json!([])).accepted(None));
        assert!(!judged(&service, PolicyId::DanglingService, json!([])).accepted(Some(false)));
    }
}
