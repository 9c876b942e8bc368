//! `no_allow_privilege_escalation`

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy};
use crate::k8s::View;

/// See the module.
pub(super) struct NoAllowPrivilegeEscalation;

impl Policy for NoAllowPrivilegeEscalation {
    fn id(&self) -> PolicyId {
        PolicyId::NoAllowPrivilegeEscalation
    }

    fn checks(&self) -> &'static [Check] {
        &[]
    }

    fn detect(&self, _view: &View<'_>) -> Vec<Finding> {
        Vec::new()
    }

    fn fix(&self, _view: &View<'_>, _rules: &RulesConfig) -> Fix {
        Fix::NotApplicable { reason: "the document does not violate the policy".to_owned() }
    }
}
