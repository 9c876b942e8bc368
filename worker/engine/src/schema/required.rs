//! Corrections where the server's validation differs from the published `required` lists.
//!
//! The lists are derived from Go field tags. A field without `omitempty` is published as required although
//! the server takes its zero value (`OPTIONAL`); a field with `omitempty` is published as optional although
//! validation refuses an object without it (`REQUIRED`, kept to what decides workloads).

/// Published as required, but the server accepts its absence.
const OPTIONAL: &[(&str, &str)] = &[
    // The server defaults both to false, and a CRD with several versions is usually written that way.
    ("apiextensions.v1.CustomResourceDefinitionVersion", "served"),
    ("apiextensions.v1.CustomResourceDefinitionVersion", "storage"),
    ("batch.v1.PodFailurePolicy", "rules"),
    // Defaulted to an empty reference, which is legal in the namespace `default`.
    ("core.v1.Event", "involvedObject"),
    ("core.v1.HTTPHeader", "value"),
    // The zero LUN is a legal one.
    ("core.v1.ISCSIPersistentVolumeSource", "lun"),
    ("core.v1.ISCSIVolumeSource", "lun"),
    ("core.v1.LimitRangeSpec", "limits"),
    // An empty preference matches no node, and is legal.
    ("core.v1.PreferredSchedulingTerm", "preference"),
    ("core.v1.ScaleIOPersistentVolumeSource", "secretRef"),
    ("core.v1.ScaleIOVolumeSource", "secretRef"),
    // Zero seconds are legal since the feature gate PodLifecycleSleepActionAllowZero.
    ("core.v1.SleepAction", "seconds"),
    ("core.v1.Sysctl", "value"),
    ("storage.v1.CSIDriver", "spec"),
    ("storage.v1.CSINode", "spec"),
    ("storage.v1.CSINodeSpec", "drivers"),
];

/// Published as optional, but validation answers "Required value" without it.
const REQUIRED: &[(&str, &str)] = &[
    ("apps.v1.ReplicaSetSpec", "template"),
    ("batch.v1.Job", "spec"),
    // "Optional to allow higher level config management", yet refused when empty, in templates too.
    ("core.v1.Container", "image"),
    ("core.v1.EphemeralContainer", "image"),
    ("core.v1.Pod", "spec"),
    ("core.v1.PodTemplateSpec", "spec"),
    ("core.v1.ReplicationController", "spec"),
    ("core.v1.ReplicationControllerSpec", "template"),
];

/// Whether a field must be there; `definition` is the published name, with its Go package in front.
pub(super) fn is_required(definition: &str, field: &str, published: bool) -> bool {
    let table = if published { OPTIONAL } else { REQUIRED };
    let listed = table.iter().any(|(name, listed)| *listed == field && is_suffix(definition, name));
    published != listed
}

/// Whether `definition` ends in `name`, at a dot.
fn is_suffix(definition: &str, name: &str) -> bool {
    definition.strip_suffix(name).is_some_and(|package| package.ends_with('.'))
}

#[cfg(test)]
pub(super) fn tables() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let optional = OPTIONAL.iter().map(|(name, field)| (*name, *field, true));
    optional.chain(REQUIRED.iter().map(|(name, field)| (*name, *field, false)))
}
