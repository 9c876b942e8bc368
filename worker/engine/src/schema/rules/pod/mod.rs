//! Pods and the templates of pods.

mod annotations;
mod containers;
mod environment;
mod handlers;
mod mounts;
mod operating_system;
mod placement;
mod security;
mod shared;
mod spec;
mod templates;

pub(crate) use placement::{node_terms, taint_effect, tolerations};
pub(crate) use shared::Template;
pub(crate) use templates::{pod, pod_template, template, template_metadata};
