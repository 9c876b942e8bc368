//! Policies without a right repair that a program could know: a person decides, and is told what on.

use domain::config::RulesConfig;
use domain::pointer::Pointer;
use domain::policy::PolicyId;

use super::contract::{Check, Finding, Fix, Policy};
use super::scope::{Scope, any_container};
use crate::k8s::View;

/// Nothing may change.
pub(super) const NO_CHANGE: Scope = Scope { containers: any_container, may: &[], companion: None };

/// A policy whose violations a person must repair.
pub(super) trait Reviewed: Sync {
    /// Which one.
    const ID: PolicyId;

    /// Its one check.
    const CHECK: &'static Check;

    /// Every violation: where it stands (or would stand), and what is wrong.
    fn violations(&self, view: &View<'_>) -> Vec<(Pointer, String)>;

    /// What a person must decide about a document that violates the policy.
    fn reason(&self, view: &View<'_>) -> String;
}

impl<P: Reviewed> Policy for P {
    fn id(&self) -> PolicyId {
        P::ID
    }

    fn checks(&self) -> &'static [Check] {
        std::slice::from_ref(P::CHECK)
    }

    fn scope(&self) -> &'static Scope {
        &NO_CHANGE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        findings(P::ID, P::CHECK, view, self.violations(view))
    }

    fn fix(&self, view: &View<'_>, _rules: &RulesConfig) -> Fix {
        if self.violations(view).is_empty() {
            return Fix::NotApplicable { reason: "the document does not violate the policy".to_owned() };
        }
        Fix::NeedsReview { reason: self.reason(view) }
    }
}

/// Violations as findings, each at the nearest node that exists.
pub(super) fn findings(
    policy: PolicyId,
    check: &Check,
    view: &View<'_>,
    violations: impl IntoIterator<Item = (Pointer, String)>,
) -> Vec<Finding> {
    let finding =
        |(place, message)| Finding { policy, check: check.id, message, pointer: view.nearest(place) };
    violations.into_iter().map(finding).collect()
}
