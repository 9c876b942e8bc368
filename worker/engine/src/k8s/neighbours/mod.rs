//! Relations between the documents of one input.
//!
//! *Owns* the selection of neighbours that a document needs; the result is small, sorted, and the same for any order
//! of the input.

mod index;
mod labels;
mod offers;
mod references;
mod referring;
mod services;

#[cfg(test)]
mod tests;

pub use index::Index;
pub use labels::{ENDPOINTS, service_selector, text_labels};
pub use offers::{OFFERING, is_custom_group, offer};
pub use references::{REFERRED, reference, role_rules};
pub use referring::{Backend, backends, pod_selectors, value_sources};
pub use services::{
    IDENTIFYING_LABELS, identifying, is_candidate, is_controller_label, selects, selects_pods_of, serves,
    service_pairs,
};
