//! A pod, and templates of pods as workloads hold them.

use super::super::errors::Errors;
use super::super::meta::{self, Naming};
use super::super::node::Node;
use super::annotations;
use super::shared::{Template, image_is_trimmed};
use super::spec::{self, Owner};

/// A Pod.
pub(crate) fn pod(errors: &mut Errors, pod: &Node<'_, '_>) {
    meta::object(errors, pod, Naming::SUBDOMAIN.with_generation());
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    annotations::of_pod(errors, &metadata.get("annotations"), &spec);
    let prefix = metadata.get("generateName");
    let generated = meta::generated_name(prefix.str());
    let name = if metadata.get("name").is_empty() && !prefix.is_empty() {
        generated.as_str()
    } else {
        metadata.get("name").str()
    };
    spec::check(errors, &spec, Owner::Pod { name });
    // The server refuses a projected token without a service account, but its admission has named `default` by then.
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).entries() {
            image_is_trimmed(errors, &container);
        }
    }
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.forbidden(&ephemeral, "cannot be set on create");
    }
    if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
        errors.forbidden(&spec.get("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::match_fields(errors, &metadata.get("annotations"), &spec);
}

/// A `PodTemplate`.
pub(crate) fn pod_template(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    template(errors, &object.get("template"), Template::default());
}

/// Labels and annotations of a pod template. The server's paths leave `metadata` out.
pub(crate) fn template_metadata(errors: &mut Errors, template: &Node<'_, '_>) {
    let (metadata, spec) = (template.get("metadata"), template.get("spec"));
    let labels = template.get("labels");
    meta::labels(errors, &labels.in_place_of(&metadata.get("labels")));
    let notes = template.get("annotations");
    let notes = notes.in_place_of(&metadata.get("annotations"));
    meta::annotations(errors, &notes);
    annotations::of_pod(errors, &notes, &spec);
}

/// The template of a workload.
pub(crate) fn template(errors: &mut Errors, template: &Node<'_, '_>, kind: Template<'_>) {
    template_metadata(errors, template);
    let (metadata, spec) = (template.get("metadata"), template.get("spec"));
    let notes = template.get("annotations");
    let notes = notes.in_place_of(&metadata.get("annotations"));
    spec::check(errors, &spec, Owner::Template(kind));
    annotations::match_fields(errors, &notes, &spec);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.forbidden(&ephemeral, "ephemeral containers not allowed in pod template");
    }
}
