//! Named sets of policies: the two catalogues, and profiles of well-known tools and standards.

use serde::{Deserialize, Serialize};

use crate::policy::PolicyId;

/// Which policies are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Catalogue {
    /// The thirty policies of the paper.
    #[default]
    Paper,
    /// Every policy.
    Full,
}

impl Catalogue {
    /// Its policies, in the order of the catalogue.
    pub const fn policies(self) -> &'static [PolicyId] {
        match self {
            Self::Paper => PolicyId::PAPER,
            Self::Full => PolicyId::ALL,
        }
    }
}

/// Whether some of the policies are none of the paper's: these look at what a document refers to.
pub fn is_beyond_paper(policies: &[PolicyId]) -> bool {
    policies.iter().any(|id| !PolicyId::PAPER.contains(id))
}

/// A named set of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The profile *Baseline* of the Pod Security Standards.
    PssBaseline,
    /// The profile *Restricted* of the Pod Security Standards, which includes *Baseline*.
    PssRestricted,
    /// What Roles and their bindings grant.
    Rbac,
    /// What kube-linter looks for unless it is told otherwise.
    KubeLinterDefault,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::PssBaseline, Self::PssRestricted, Self::Rbac, Self::KubeLinterDefault];

    /// The word of commands and configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PssBaseline => "pss-baseline",
            Self::PssRestricted => "pss-restricted",
            Self::Rbac => "rbac",
            Self::KubeLinterDefault => "kube-linter-default",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text)
    }

    /// Its policies, in the order of the catalogue.
    pub const fn policies(self) -> &'static [PolicyId] {
        match self {
            Self::PssBaseline => PSS_BASELINE,
            Self::PssRestricted => PSS_RESTRICTED,
            Self::Rbac => RBAC,
            Self::KubeLinterDefault => KUBE_LINTER_DEFAULT,
        }
    }
}

/// By control: *Privileged Containers*, *`HostPath` Volumes*, *Host Ports*, *Host Namespaces* (three), *Capabilities*, *Seccomp*,
/// *`AppArmor`*, *`SELinux`*, */proc Mount Type*, *Sysctls*, *`HostProcess`*, *Host Probes / Lifecycle Hooks*.
const PSS_BASELINE: &[PolicyId] = &[
    PolicyId::NoPrivileged,
    PolicyId::NoHostPath,
    PolicyId::NoHostPorts,
    PolicyId::NoHostNetwork,
    PolicyId::NoHostPid,
    PolicyId::NoHostIpc,
    PolicyId::BaselineCapabilities,
    PolicyId::BaselineSeccomp,
    PolicyId::BaselineAppArmor,
    PolicyId::BaselineSelinux,
    PolicyId::BaselineProcMount,
    PolicyId::BaselineSysctls,
    PolicyId::NoHostProcess,
    PolicyId::NoProbeHost,
];

/// *Baseline*, but for its *Capabilities*, which a stricter control overrides; *Privilege Escalation*, *Seccomp*,
/// *Capabilities*, *Running as Non-root*, *Running as Non-root user*, */proc Mount Type*, *Volume Types*; and what makes the
/// exemption of Windows hold.
const PSS_RESTRICTED: &[PolicyId] = &[
    PolicyId::NoPrivileged,
    PolicyId::NoAllowPrivilegeEscalation,
    PolicyId::EnforceSeccomp,
    PolicyId::NoHostPath,
    PolicyId::NoHostPorts,
    PolicyId::NoHostNetwork,
    PolicyId::NoHostPid,
    PolicyId::NoHostIpc,
    PolicyId::UnsafeProcMount,
    PolicyId::BaselineSeccomp,
    PolicyId::BaselineAppArmor,
    PolicyId::BaselineSelinux,
    PolicyId::BaselineProcMount,
    PolicyId::BaselineSysctls,
    PolicyId::NoHostProcess,
    PolicyId::NoProbeHost,
    PolicyId::RestrictedCapabilities,
    PolicyId::RestrictedNonRoot,
    PolicyId::NoRootUser,
    PolicyId::RestrictedVolumes,
    PolicyId::WindowsOsName,
];

const RBAC: &[PolicyId] = &[
    PolicyId::AccessToCreatePods,
    PolicyId::AccessToSecrets,
    PolicyId::ClusterAdminRoleBinding,
    PolicyId::WildcardInRules,
    PolicyId::EscalationVerbs,
    PolicyId::AccessToExec,
    PolicyId::AccessToNodeProxy,
    PolicyId::AccessToCreateTokens,
    PolicyId::AccessToApproveCertificates,
    PolicyId::AccessToAdmissionWebhooks,
    PolicyId::AccessToCreateVolumes,
    PolicyId::AccessToCreateWorkloads,
    PolicyId::DefaultAccountBinding,
    PolicyId::AnonymousBinding,
];

/// The checks that kube-linter 0.8 enables by itself.
const KUBE_LINTER_DEFAULT: &[PolicyId] = &[
    PolicyId::NoLatestTag,
    PolicyId::NoPrivileged,
    PolicyId::DropCapabilities,
    PolicyId::RunAsNonRoot,
    PolicyId::ReadOnlyRootFs,
    PolicyId::UnsafeSysctls,
    PolicyId::NoHostPath,
    PolicyId::NoHostNetwork,
    PolicyId::NoHostPid,
    PolicyId::NoHostIpc,
    PolicyId::SshPort,
    PolicyId::SetRequestsLimits,
    PolicyId::LivenessPort,
    PolicyId::ReadinessPort,
    PolicyId::StartupPort,
    PolicyId::EnvVarSecret,
    PolicyId::DuplicateEnvVar,
    PolicyId::DanglingService,
    PolicyId::NonExistentServiceAccount,
    PolicyId::DeprecatedServiceAccountField,
    PolicyId::PdbUnhealthyEvictionPolicy,
    PolicyId::JobTtlAfterFinished,
    PolicyId::NoAntiAffinity,
    PolicyId::InvalidTargetPorts,
    PolicyId::MismatchingSelector,
    PolicyId::NoExtensionsV1beta,
    PolicyId::PdbMaxUnavailable,
    PolicyId::PdbMinAvailable,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_in_the_order_of_the_catalogue_and_hold_nothing_twice() {
        let sets = Profile::ALL.map(|profile| (profile.as_str(), profile.policies()));
        for (name, set) in sets.into_iter().chain([("paper", Catalogue::Paper.policies())]) {
            assert!(set.is_sorted(), "{name}");
            assert!(set.windows(2).all(|pair| pair[0] != pair[1]), "{name}");
        }
        assert_eq!(Catalogue::Paper.policies().len(), 30);
        assert!(Catalogue::Full.policies().starts_with(Catalogue::Paper.policies()));
    }

    #[test]
    fn restricted_includes_baseline_or_what_is_stricter() {
        let restricted = Profile::PssRestricted.policies();
        for id in Profile::PssBaseline.policies() {
            let is_overridden = *id == PolicyId::BaselineCapabilities;
            let stricter = if is_overridden { PolicyId::RestrictedCapabilities } else { *id };
            assert!(restricted.contains(&stricter), "{id}");
        }
    }

    #[test]
    fn profiles_are_named_alike_everywhere() {
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.as_str()), Some(profile));
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.as_str());
        }
        assert_eq!(Profile::parse("pss"), None);
    }
}
