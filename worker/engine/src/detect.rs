//! All policies over one document.

use crate::k8s::View;
use crate::policies::{self, Finding, Policy};
use crate::steps::spend;

/// Every violation in the document, policy by policy in the order of the catalogue.
pub fn detect(view: &View<'_>) -> Vec<Finding> {
    let detect = |policy: &'static dyn Policy| {
        spend(1 + view.containers.len());
        policy.detect(view)
    };
    policies::all().flat_map(detect).collect()
}
