//! Which kinds the release serves, and what to use in place of those it no longer serves.

use super::model::{DefinitionId, Model, Resource};

/// Groups that were built in once and serve nothing today.
const RETIRED_GROUPS: &[&str] = &["auditregistration.k8s.io", "extensions", "settings.k8s.io"];

/// Kinds that went without a successor of the same name.
const RETIRED_KINDS: &[(&str, &str)] = &[
    ("PodPreset", "removed in 1.20; use a mutating admission policy or webhook"),
    ("PodSecurityPolicy", "removed in 1.25; use Pod Security admission"),
    ("ThirdPartyResource", "removed in 1.8; use apiextensions.k8s.io/v1 CustomResourceDefinition"),
];

/// Group, version, kinds (all if empty) and the release that no longer serves them: the Kubernetes deprecation guide.
const REMOVED: &[(&str, &str, &[&str], &str)] = &[
    (
        "admissionregistration.k8s.io",
        "v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        "1.22",
    ),
    ("apiextensions.k8s.io", "v1beta1", &[], "1.22"),
    ("apiregistration.k8s.io", "v1beta1", &[], "1.22"),
    ("apps", "v1beta1", &[], "1.16"),
    ("apps", "v1beta2", &[], "1.16"),
    ("authentication.k8s.io", "v1beta1", &["TokenReview"], "1.22"),
    ("authorization.k8s.io", "v1beta1", &[], "1.22"),
    ("autoscaling", "v2beta1", &[], "1.25"),
    ("autoscaling", "v2beta2", &[], "1.26"),
    ("batch", "v1beta1", &[], "1.25"),
    ("batch", "v2alpha1", &[], "1.21"),
    ("certificates.k8s.io", "v1beta1", &["CertificateSigningRequest"], "1.22"),
    ("coordination.k8s.io", "v1beta1", &["Lease"], "1.22"),
    ("discovery.k8s.io", "v1beta1", &[], "1.25"),
    ("events.k8s.io", "v1beta1", &[], "1.25"),
    ("extensions", "v1beta1", &["Ingress"], "1.22"),
    ("extensions", "v1beta1", &[], "1.16"),
    ("flowcontrol.apiserver.k8s.io", "v1beta1", &[], "1.26"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2", &[], "1.29"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", &[], "1.32"),
    ("networking.k8s.io", "v1beta1", &["Ingress", "IngressClass"], "1.22"),
    ("node.k8s.io", "v1beta1", &[], "1.25"),
    ("policy", "v1beta1", &["PodDisruptionBudget"], "1.25"),
    ("rbac.authorization.k8s.io", "v1alpha1", &[], "1.22"),
    ("rbac.authorization.k8s.io", "v1beta1", &[], "1.22"),
    ("scheduling.k8s.io", "v1beta1", &["PriorityClass"], "1.22"),
    ("storage.k8s.io", "v1beta1", &["CSIStorageCapacity"], "1.27"),
    ("storage.k8s.io", "v1beta1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"], "1.22"),
];

/// The release that no longer serves a kind.
fn removed_in(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    let is = |(removed, at, kinds, _): &&(&str, &str, &[&str], &str)| {
        *removed == group && *at == version && (kinds.is_empty() || kinds.contains(&kind))
    };
    REMOVED.iter().find(is).map(|(_, _, _, release)| *release)
}

/// Kinds that are requests: the server answers them and stores nothing, so that they need no name.
const NEVER_STORED: &[(&str, &str)] = &[("", "Binding"), ("policy", "Eviction"), ("autoscaling", "Scale")];
const NEVER_STORED_GROUPS: &[&str] = &["authentication.k8s.io", "authorization.k8s.io"];

/// Kinds, with their groups, that belong to no namespace.
const CLUSTER_SCOPED: &[(&str, &str)] = &[
    ("", "ComponentStatus"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "DeviceTaintRule"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
];
/// Groups all of whose kinds belong to no namespace.
const CLUSTER_SCOPED_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
];

/// What the release knows of a kind.
pub(super) enum Served<'a> {
    /// It is served.
    Yes(&'a Resource),
    /// Its group is built in, but this kind is not served in this version; what to use instead.
    No(Option<String>),
    /// Its group is not built in.
    Foreign,
}

impl Resource {
    /// Whether the server stores objects of this kind, and so requires a name.
    pub(super) fn is_stored(&self) -> bool {
        let never = NEVER_STORED_GROUPS.contains(&&*self.group)
            || NEVER_STORED.contains(&(&*self.group, &*self.kind))
            || self.kind.ends_with("List")
            || &*self.kind == "Status";
        !never
    }

    /// Whether objects of this kind belong to a namespace.
    pub(super) fn is_namespaced(&self) -> bool {
        !CLUSTER_SCOPED_GROUPS.contains(&&*self.group)
            && !NEVER_STORED_GROUPS.contains(&&*self.group)
            && !CLUSTER_SCOPED.contains(&(&*self.group, &*self.kind))
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Stable before beta before alpha, then the higher number.
    fn maturity(&self) -> (u8, u32, u32) {
        let numbers = |text: &str| {
            let mut parts = text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
            (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
        };
        let stage = match &*self.version {
            version if version.contains("alpha") => 0,
            version if version.contains("beta") => 1,
            _ => 2,
        };
        let (major, minor) = numbers(&self.version);
        (stage, major, minor)
    }
}

impl Model {
    /// Looks a kind up.
    pub(super) fn served(&self, group: &str, version: &str, kind: &str) -> Served<'_> {
        let key = (group, version, kind);
        if let Ok(at) =
            self.kinds.binary_search_by(|known| (&*known.group, &*known.version, &*known.kind).cmp(&key))
            && let Some(found) = self.kinds.get(at)
        {
            return Served::Yes(found);
        }
        if self.kinds.iter().any(|known| &*known.group == group) || RETIRED_GROUPS.contains(&group) {
            let instead = self.instead(group, kind);
            Served::No(match (removed_in(group, version, kind), instead) {
                (Some(release), Some(instead)) if !instead.starts_with("removed") => {
                    Some(format!("removed in {release}; {instead}"))
                }
                (Some(release), None) => Some(format!("removed in {release}")),
                (_, instead) => instead,
            })
        } else {
            Served::Foreign
        }
    }

    /// The definition of a served kind.
    pub(super) fn definition_of(&self, group: &str, version: &str, kind: &str) -> Option<DefinitionId> {
        match self.served(group, version, kind) {
            Served::Yes(found) => Some(found.definition),
            Served::No(_) | Served::Foreign => None,
        }
    }

    /// What to write for a kind that is not served: the same kind elsewhere, or its right spelling.
    fn instead(&self, group: &str, kind: &str) -> Option<String> {
        if let Some((_, advice)) = RETIRED_KINDS.iter().find(|(retired, _)| *retired == kind) {
            return Some((*advice).to_owned());
        }
        let best = |same: &dyn Fn(&Resource) -> bool| {
            let candidates = self.kinds.iter().filter(|known| same(known));
            candidates.max_by_key(|known| (&*known.group == group, known.maturity()))
        };
        if let Some(known) = best(&|known| &*known.kind == kind) {
            return Some(format!("use apiVersion {}", known.api_version()));
        }
        let known = best(&|known| known.kind.eq_ignore_ascii_case(kind))?;
        Some(format!("did you mean kind {} of {}?", known.kind, known.api_version()))
    }
}
