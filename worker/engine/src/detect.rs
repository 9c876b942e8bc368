//! All policies over one document.

use crate::k8s::View;
use crate::policies::{self, Finding};

/// Every violation in the document, policy by policy in the order of the catalogue.
pub fn detect(view: &View<'_>) -> Vec<Finding> {
    policies::all().flat_map(|policy| policy.detect(view)).collect()
}
