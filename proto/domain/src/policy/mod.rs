//! The policy catalogue: every canonical id with its aliases, family, title and base risk.

pub mod catalogue;
pub mod references;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Access,
    Availability,
    Correctness,
    Host,
    Image,
    Network,
    Organisation,
    Privilege,
    Probes,
    Resources,
    Secrets,
}

macro_rules! catalogue {
    (paper { $($paper:ident $paper_id:literal $paper_family:ident $paper_risk:literal $paper_aliases:tt $paper_title:literal)* }
     further { $($further:ident $further_id:literal $further_family:ident $further_risk:literal $further_aliases:tt $further_title:literal)* }) => {
        policies! {
            $($paper $paper_id $paper_family $paper_risk $paper_aliases $paper_title)*
            $($further $further_id $further_family $further_risk $further_aliases $further_title)*
        }

        impl PolicyId {
            /// The thirty policies of the paper, in the order of the catalogue: what published figures are about.
            pub const PAPER: &'static [Self] = &[$(Self::$paper,)*];
        }
    };
}

macro_rules! policies {
    ($($variant:ident $id:literal $family:ident $risk:literal $aliases:tt $title:literal)*) => {
        /// A canonical policy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the catalogue's titles say it")]
        pub enum PolicyId {
            $($variant,)*
        }

        impl PolicyId {
            /// Every policy, in the order of the catalogue: those of the paper first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The canonical id, e.g. `no_latest_tag`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// One sentence fragment that says what holds when the policy is met.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What the policy is about.
            pub const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)* }
            }

            /// Base risk, 0 to 100 (the published policy-metrics table, and in its manner for further policies).
            pub const fn base_risk(self) -> u32 {
                match self { $(Self::$variant => $risk,)* }
            }

            /// Other ids that scanners use, in the normalised spelling (`_` for `-` and blank).
            pub const fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$aliases,)* }
            }
        }
    };
}

#[rustfmt::skip]
catalogue! {
paper {
    NoLatestTag                    "no_latest_tag"                      Image         50 ["latest_tag"] "Images carry a fixed tag"
    NoPrivileged                   "no_privileged"                      Privilege     85 ["privileged_container"] "No container is privileged"
    DropCapabilities               "drop_capabilities"                  Privilege     85 ["privilege_escalation_container", "linux_capabilities", "invalid_capabilities", "drop_net_raw_capability"] "Dangerous capabilities are dropped"
    DropCapSysAdmin                "drop_cap_sys_admin"                 Privilege     85 ["cap_sys_admin", "sys_admin_capability"] "SYS_ADMIN is dropped"
    NoAllowPrivilegeEscalation     "no_allow_privilege_escalation"      Privilege     40 ["allow_privilege_escalation", "allow_privilege_escalation_container"] "No container may gain privileges"
    RunAsNonRoot                   "run_as_non_root"                    Privilege     70 ["check_runasnonroot"] "Containers do not run as root"
    RunAsUser                      "run_as_user"                        Privilege     40 ["check_runasuser", "requires_runasuser"] "Containers run as a numbered user"
    EnforceSeccomp                 "enforce_seccomp"                    Privilege     40 [] "A seccomp profile is set"
    ReadOnlyRootFs                 "read_only_root_fs"                  Privilege     40 ["no_read_only_root_fs"] "The root file system is read-only"
    UnsafeSysctls                  "unsafe_sysctls"                     Privilege     40 [] "No unsafe sysctl is set"
    NoHostPath                     "no_host_path"                       Host          40 ["hostpath", "host_path", "hostpath_volume", "disallow_hostpath", "sensitive_host_mounts", "docker_sock"] "No volume of the host is mounted"
    NoHostPorts                    "no_host_ports"                      Host          40 ["hostports", "host_port", "host_ports", "disallow_hostports"] "No port of the host is taken"
    NoHostNetwork                  "no_host_network"                    Host          40 ["hostnetwork", "host_network"] "The host's network namespace is not shared"
    NoHostPid                      "no_host_pid"                        Host          40 ["hostpid", "host_pid"] "The host's process namespace is not shared"
    NoHostIpc                      "no_host_ipc"                        Host          40 ["hostipc", "host_ipc"] "The host's IPC namespace is not shared"
    SshPort                        "ssh_port"                           Network       40 [] "No container exposes SSH"
    SetRequestsLimits              "set_requests_limits"                Resources     40 ["check_requests_limits", "unset_cpu_requirements", "unset_memory_requirements"] "CPU and memory are requested and limited"
    LivenessPort                   "liveness_port"                      Probes        40 [] "The liveness probe's port is exposed"
    ReadinessPort                  "readiness_port"                     Probes        40 [] "The readiness probe's port is exposed"
    StartupPort                    "startup_port"                       Probes        40 [] "The startup probe's port is exposed"
    EnvVarSecret                   "env_var_secret"                     Secrets       40 ["envvar_secret"] "Secrets are not literal environment values"
    DuplicateEnvVar                "duplicate_env_var"                  Correctness   40 [] "Environment names are unique"
    DanglingService                "dangling_service"                   Network       40 [] "A Service selects a workload"
    NonExistentServiceAccount      "non_existent_service_account"       Correctness   40 [] "The service account exists"
    DeprecatedServiceAccountField  "deprecated_service_account_field"   Correctness   40 [] "The deprecated serviceAccount field is not used"
    PdbUnhealthyEvictionPolicy     "pdb_unhealthy_eviction_policy"      Availability  40 ["pdb_unhealthy_pod_eviction_policy"] "A disruption budget says what happens to unhealthy pods"
    JobTtlAfterFinished            "job_ttl_after_finished"             Availability  40 ["job_ttl_seconds_after_finished"] "Finished Jobs are removed"
    NoAntiAffinity                 "no_anti_affinity"                   Availability  40 [] "Replicas are spread over nodes"
    InvalidTargetPorts             "invalid_target_ports"               Network       40 [] "Port names and targets are valid"
    MismatchingSelector            "mismatching_selector"               Correctness   40 [] "The selector matches the pod template"
}
further {
    AccessToCreatePods                 "access_to_create_pods"                  Access        70 [] "Pods are made by who needs to"
    AccessToSecrets                    "access_to_secrets"                      Access        70 [] "Secrets are read by who needs them"
    ClusterAdminRoleBinding            "cluster_admin_role_binding"             Access        85 [] "Full rights of the cluster are not given for good"
    WildcardInRules                    "wildcard_in_rules"                      Access        70 [] "Roles grant what they name"
    DanglingHorizontalPodAutoscaler    "dangling_horizontal_pod_autoscaler"     Availability  40 ["dangling_horizontalpodautoscaler"] "An autoscaler scales a workload that exists"
    DanglingIngress                    "dangling_ingress"                       Network       40 [] "An Ingress sends requests to Services that exist"
    DanglingNetworkPolicy              "dangling_network_policy"                Network       40 ["dangling_networkpolicy"] "A network policy isolates pods that exist"
    DanglingNetworkPolicyPeer          "dangling_network_policy_peer"           Network       40 ["dangling_networkpolicypeer_podselector"] "The peers of a network policy are pods that exist"
    DanglingServiceMonitor             "dangling_service_monitor"               Availability  40 ["dangling_servicemonitor"] "A service monitor finds Services"
    DefaultServiceAccount              "default_service_account"                Privilege     40 [] "Pods have an identity of their own"
    DnsConfigOptions                   "dns_config_options"                     Network       40 ["dnsconfig_options"] "Names are looked up without needless questions"
    EnvValueFrom                       "env_value_from"                         Correctness   40 [] "What environment variables are read from exists"
    ExposedServices                    "exposed_services"                       Network       40 [] "A Service is reached from within the cluster"
    HpaMinimumThreeReplicas            "hpa_minimum_three_replicas"             Availability  40 [] "An autoscaler leaves three pods running"
    MinimumThreeReplicas               "minimum_three_replicas"                 Availability  40 [] "An application outlives the loss of a node"
    NoExtensionsV1beta                 "no_extensions_v1beta"                   Correctness   40 [] "Objects are of API versions that are served"
    NoLivenessProbe                    "no_liveness_probe"                      Probes        40 [] "A container that hangs is restarted"
    NoNodeAffinity                     "no_node_affinity"                       Availability  40 [] "It is said on which nodes pods run"
    NoReadinessProbe                   "no_readiness_probe"                     Probes        40 [] "Traffic goes to containers that are ready for it"
    NoRollingUpdateStrategy            "no_rolling_update_strategy"             Availability  40 [] "An update leaves some pods running"
    NonIsolatedPod                     "non_isolated_pod"                       Network       40 [] "A network policy isolates every pod"
    PdbMaxUnavailable                  "pdb_max_unavailable"                    Availability  40 [] "A disruption budget lets pods be evicted"
    PdbMinAvailable                    "pdb_min_available"                      Availability  40 [] "A disruption budget asks for fewer pods than there are"
    PriorityClassName                  "priority_class_name"                    Correctness   40 [] "Priorities are the ones that every cluster has"
    PrivilegedPorts                    "privileged_ports"                       Network       40 [] "Programs listen on ports that any user may open"
    ReadSecretFromEnvVar               "read_secret_from_env_var"               Secrets       40 [] "Secrets are read from files"
    RequiredAnnotationEmail            "required_annotation_email"              Organisation  40 [] "A workload says whom to write to"
    RequiredLabelOwner                 "required_label_owner"                   Organisation  40 [] "A workload says who owns it"
    RestartPolicy                      "restart_policy"                         Availability  40 [] "A pod whose program ends is started again"
    SccDenyPrivilegedContainer         "scc_deny_privileged_container"          Privilege     85 [] "Security context constraints allow no privileged container"
    SortedKeys                         "sorted_keys"                            Organisation  40 [] "Keys stand in the order of the alphabet"
    UnsafeProcMount                    "unsafe_proc_mount"                      Privilege     40 [] "The parts of /proc that tell of the node stay masked"
    UseNamespace                       "use_namespace"                          Organisation  40 [] "Objects have a namespace of their own"
    WritableHostMount                  "writable_host_mount"                    Host          40 [] "What is mounted from the node cannot be written"
    BaselineCapabilities               "baseline_capabilities"                  Privilege     85 [] "Only default capabilities are added"
    BaselineSeccomp                    "baseline_seccomp"                       Privilege     40 [] "Seccomp is not turned off"
    BaselineAppArmor                   "baseline_app_armor"                     Privilege     40 [] "AppArmor is not turned off"
    BaselineSelinux                    "baseline_selinux"                       Privilege     40 [] "No SELinux label but the runtime's is asked for"
    BaselineProcMount                  "baseline_proc_mount"                    Privilege     40 [] "/proc is masked, or the pod has users of its own"
    BaselineSysctls                    "baseline_sysctls"                       Privilege     40 [] "Only safe sysctls are set"
    NoHostProcess                      "no_host_process"                        Host          85 ["host_process"] "No container is a process of its Windows node"
    NoProbeHost                        "no_probe_host"                          Host          40 ["probe_host"] "Probes and hooks ask their own pod"
    RestrictedCapabilities             "restricted_capabilities"                Privilege     40 [] "All capabilities are dropped, and at most NET_BIND_SERVICE is added"
    RestrictedNonRoot                  "restricted_non_root"                    Privilege     70 [] "Containers are bound to run as a user other than root"
    NoRootUser                         "no_root_user"                           Privilege     70 ["root_user"] "No pod or container names root as its user"
    RestrictedVolumes                  "restricted_volumes"                     Host          40 [] "Volumes are claimed, and no storage system is named"
    WindowsOsName                      "windows_os_name"                        Correctness   40 [] "A pod for Windows nodes names its operating system"
    EscalationVerbs                    "escalation_verbs"                       Access        85 [] "No role hands out more than it has"
    AccessToExec                       "access_to_exec"                         Access        70 [] "No role reaches into running pods"
    AccessToNodeProxy                  "access_to_node_proxy"                   Access        85 [] "No role speaks to the kubelet through the API server"
    AccessToCreateTokens               "access_to_create_tokens"                Access        70 [] "No role makes tokens for any service account"
    AccessToApproveCertificates        "access_to_approve_certificates"         Access        70 [] "No role approves certificates"
    AccessToAdmissionWebhooks          "access_to_admission_webhooks"           Access        70 [] "No role decides who admits objects"
    AccessToCreateVolumes              "access_to_create_volumes"               Access        40 [] "No role makes persistent volumes"
    AccessToCreateWorkloads            "access_to_create_workloads"             Access        40 [] "No role makes pods, or what makes pods"
    DefaultAccountBinding              "default_account_binding"                Access        40 [] "No role is given to a default service account"
    AnonymousBinding                   "anonymous_binding"                      Access        85 [] "No role is given to anonymous clients or to all accounts"
}
}

impl PolicyId {
    /// Finds the policy of a canonical id or of an alias. Case, surrounding blanks and the choice between `-`, blank
    /// and `_` do not matter.
    pub fn find(raw: &str) -> Option<Self> {
        let key = normal_form(raw);
        Self::ALL.iter().copied().find(|id| id.as_str() == key || id.aliases().contains(&key.as_str()))
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PolicyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PolicyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|id| id.as_str() == text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is not a canonical policy id")))
    }
}

/// The policy of a record: one of the catalogue, or a scanner's id that no rule exists for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyName {
    /// A policy of the catalogue.
    Known(PolicyId),
    /// Any other id, trimmed and lower-cased; may be empty.
    Unknown(String),
}

impl PolicyName {
    /// Finds the canonical policy of a scanner's id.
    pub fn normalise(raw: &str) -> Self {
        PolicyId::find(raw).map_or_else(|| Self::Unknown(raw.trim().to_lowercase()), Self::Known)
    }

    /// The id as it stands in results.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(id) => id.as_str(),
            Self::Unknown(text) => text,
        }
    }
}

fn normal_form(raw: &str) -> String {
    raw.trim().chars().map(|c| if c == '-' || c == ' ' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn thirty_policies_of_the_paper_first_and_no_name_twice() {
        assert_eq!(PolicyId::PAPER.len(), 30);
        assert!(PolicyId::ALL.starts_with(PolicyId::PAPER));
        let mut seen = HashSet::new();
        for id in PolicyId::ALL {
            for name in std::iter::once(&id.as_str()).chain(id.aliases()) {
                assert!(seen.insert(*name), "{name} twice");
                assert_eq!(normal_form(name), *name, "{name} is not in the normal form");
            }
        }
    }

    #[test]
    fn finds_what_scanners_write() {
        for (raw, id) in [
            ("latest-tag", PolicyId::NoLatestTag),
            (" No-Read-Only-Root-FS ", PolicyId::ReadOnlyRootFs),
            ("no-host-ports", PolicyId::NoHostPorts),
            ("run_as_non root", PolicyId::RunAsNonRoot),
            ("privilege-escalation-container", PolicyId::DropCapabilities),
            ("unset-cpu-requirements", PolicyId::SetRequestsLimits),
            ("pdb-unhealthy-pod-eviction-policy", PolicyId::PdbUnhealthyEvictionPolicy),
            ("enforce-seccomp", PolicyId::EnforceSeccomp),
        ] {
            assert_eq!(PolicyId::find(raw), Some(id), "{raw}");
        }
        assert_eq!(PolicyName::normalise(" No-Such-Check"), PolicyName::Unknown("no-such-check".into()));
        assert_eq!(PolicyName::normalise("").as_str(), "");
    }
}
