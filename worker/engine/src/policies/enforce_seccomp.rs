//! `enforce_seccomp`

use domain::config::RulesConfig;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy};
use crate::k8s::View;

/// See the module.
pub(super) struct EnforceSeccomp;

impl Policy for EnforceSeccomp {
    fn id(&self) -> PolicyId {
        PolicyId::EnforceSeccomp
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
