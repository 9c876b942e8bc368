//! The scanners that can judge documents: our own detector and real tools, and which of their checks are policies of ours.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::policy::PolicyId;

/// A scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scanner {
    /// The detector of this program.
    Builtin,
    /// <https://github.com/stackrox/kube-linter>
    KubeLinter,
    /// The CLI of <https://kyverno.io>, with policies of the user.
    Kyverno,
    /// <https://www.checkov.io>
    Checkov,
}

impl Scanner {
    /// Every scanner, the built-in one first.
    pub const ALL: [Self; 4] = [Self::Builtin, Self::KubeLinter, Self::Kyverno, Self::Checkov];

    /// The word used in columns and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::KubeLinter => "kube-linter",
            Self::Kyverno => "kyverno",
            Self::Checkov => "checkov",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scanner| scanner.as_str() == text)
    }

    /// The policy of ours that a check asks for; `None`: it is not in the catalogue.
    ///
    /// kube-linter's ids are the ids and aliases of the catalogue. Kyverno's are the names of policies, which are the user's:
    /// those of its public sets are known.
    pub fn policy_of(self, check: &str) -> Option<PolicyId> {
        let of = |table: &[(&str, PolicyId)], name: &str| {
            table.iter().find(|(theirs, _)| *theirs == name).map(|(_, policy)| *policy)
        };
        match self {
            Self::Builtin | Self::KubeLinter => PolicyId::find(check),
            Self::Kyverno => PolicyId::find(check).or_else(|| of(&KYVERNO, &check.replace('_', "-"))),
            Self::Checkov => of(&CHECKOV, check),
        }
    }
}

impl std::fmt::Display for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of scanners; by default the built-in one alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scanners(BTreeSet<Scanner>);

impl Default for Scanners {
    fn default() -> Self {
        Self(BTreeSet::from([Scanner::Builtin]))
    }
}

impl FromIterator<Scanner> for Scanners {
    fn from_iter<I: IntoIterator<Item = Scanner>>(scanners: I) -> Self {
        Self(scanners.into_iter().collect())
    }
}

impl Scanners {
    /// Whether it holds a scanner.
    pub fn contains(&self, scanner: Scanner) -> bool {
        self.0.contains(&scanner)
    }

    /// Each, the built-in one first.
    pub fn iter(&self) -> impl Iterator<Item = Scanner> + '_ {
        self.0.iter().copied()
    }

    /// Those that are programs of their own.
    pub fn tools(&self) -> impl Iterator<Item = Scanner> + '_ {
        self.iter().filter(|scanner| *scanner != Scanner::Builtin)
    }

    /// Whether it is the default: a configuration at rest and on the wire leaves it out then, so that it reads, and hashes, as
    /// those of releases that knew no other.
    pub fn is_builtin_alone(&self) -> bool {
        self.contains(Scanner::Builtin) && self.0.len() == 1
    }
}

/// Bytes of a version at most.
const VERSION_BYTES: usize = 200;

/// A version of a scanner is not a short text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a version of {0} must have from 1 to {VERSION_BYTES} printable ASCII characters")]
pub struct InvalidVersion(Scanner);

/// Scanners that can be started, each with its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScannerVersions(BTreeMap<Scanner, String>);

impl ScannerVersions {
    /// Adds a scanner.
    pub fn add(&mut self, scanner: Scanner, version: impl Into<String>) -> Result<(), InvalidVersion> {
        let version = version.into();
        let is_printable = version.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if version.is_empty() || version.len() > VERSION_BYTES || !is_printable {
            return Err(InvalidVersion(scanner));
        }
        self.0.insert(scanner, version);
        Ok(())
    }

    /// Each scanner with its version.
    pub fn iter(&self) -> impl Iterator<Item = (Scanner, &str)> + '_ {
        self.0.iter().map(|(scanner, version)| (*scanner, version.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tools among these scanners with their versions; `None` where one is not here.
    pub fn of(&self, wanted: &Scanners) -> Option<Self> {
        let of = |scanner: Scanner| Some((scanner, self.0.get(&scanner)?.clone()));
        wanted.tools().map(of).collect::<Option<_>>().map(Self)
    }
}

impl std::fmt::Display for ScannerVersions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (scanner, version)) in self.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{scanner} {version}")?;
        }
        Ok(())
    }
}

/// Policies of Kyverno's public sets that ask for the same as one of ours under another name.
const KYVERNO: [(&str, PolicyId); 12] = [
    ("disallow-container-sock-mounts", PolicyId::NoHostPath),
    ("disallow-host-path", PolicyId::NoHostPath),
    ("disallow-host-ports", PolicyId::NoHostPorts),
    ("disallow-latest-tag", PolicyId::NoLatestTag),
    ("disallow-privilege-escalation", PolicyId::NoAllowPrivilegeEscalation),
    ("disallow-privileged-containers", PolicyId::NoPrivileged),
    ("require-requests-limits", PolicyId::SetRequestsLimits),
    ("require-ro-rootfs", PolicyId::ReadOnlyRootFs),
    ("require-run-as-nonroot", PolicyId::RunAsNonRoot),
    ("restrict-seccomp", PolicyId::EnforceSeccomp),
    ("restrict-seccomp-strict", PolicyId::EnforceSeccomp),
    ("restrict-sysctls", PolicyId::UnsafeSysctls),
];

/// Checks of Checkov that ask for the same as one of ours, or for a part of it: [`Scanner::policy_of`] as a list.
pub const CHECKOV: [(&str, PolicyId); 19] = [
    ("CKV_K8S_10", PolicyId::SetRequestsLimits),
    ("CKV_K8S_11", PolicyId::SetRequestsLimits),
    ("CKV_K8S_12", PolicyId::SetRequestsLimits),
    ("CKV_K8S_13", PolicyId::SetRequestsLimits),
    ("CKV_K8S_14", PolicyId::NoLatestTag),
    ("CKV_K8S_16", PolicyId::NoPrivileged),
    ("CKV_K8S_17", PolicyId::NoHostPid),
    ("CKV_K8S_18", PolicyId::NoHostIpc),
    ("CKV_K8S_19", PolicyId::NoHostNetwork),
    ("CKV_K8S_20", PolicyId::NoAllowPrivilegeEscalation),
    ("CKV_K8S_22", PolicyId::ReadOnlyRootFs),
    ("CKV_K8S_23", PolicyId::RunAsNonRoot),
    ("CKV_K8S_25", PolicyId::DropCapabilities),
    ("CKV_K8S_26", PolicyId::NoHostPorts),
    ("CKV_K8S_27", PolicyId::NoHostPath),
    ("CKV_K8S_28", PolicyId::DropCapabilities),
    ("CKV_K8S_31", PolicyId::EnforceSeccomp),
    ("CKV_K8S_37", PolicyId::DropCapabilities),
    ("CKV_K8S_39", PolicyId::DropCapSysAdmin),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for scanner in Scanner::ALL {
            assert_eq!(Scanner::parse(scanner.as_str()), Some(scanner));
            assert_eq!(serde_json::to_value(scanner).unwrap(), scanner.as_str());
        }
        assert_eq!(Scanner::parse("kubelinter"), None);
    }

    #[test]
    fn versions_are_those_of_the_tools_that_are_wanted() {
        let mut versions = ScannerVersions::default();
        versions.add(Scanner::KubeLinter, "0.8.3").unwrap();
        versions.add(Scanner::Kyverno, "1.19.1, policies 00").unwrap();
        for bad in ["", "a\nb", "\u{e4}", &"1".repeat(201)] {
            assert_eq!(versions.add(Scanner::Checkov, bad), Err(InvalidVersion(Scanner::Checkov)), "{bad:?}");
        }
        let of = |scanners: &[Scanner]| versions.of(&scanners.iter().copied().collect());
        assert_eq!(of(&[Scanner::Builtin, Scanner::KubeLinter]).unwrap().to_string(), "kube-linter 0.8.3");
        assert_eq!(of(&[Scanner::Builtin]), Some(ScannerVersions::default()));
        assert_eq!(of(&[Scanner::KubeLinter, Scanner::Checkov]), None);
        let written = serde_json::to_value(&versions).unwrap();
        assert_eq!(written, serde_json::json!({"kube-linter": "0.8.3", "kyverno": "1.19.1, policies 00"}));
        assert_eq!(serde_json::from_value::<ScannerVersions>(written).unwrap(), versions);
    }

    #[test]
    fn checks_are_mapped_to_our_policies() {
        for (scanner, check, policy) in [
            (Scanner::KubeLinter, "privilege-escalation-container", Some(PolicyId::DropCapabilities)),
            (Scanner::KubeLinter, "sorted-keys", Some(PolicyId::SortedKeys)),
            (Scanner::KubeLinter, "schema-validation", None),
            (Scanner::Kyverno, "disallow-host-path", Some(PolicyId::NoHostPath)),
            (Scanner::Kyverno, "disallow_host_path", Some(PolicyId::NoHostPath)),
            (Scanner::Kyverno, "of-the-user", None),
            (Scanner::Checkov, "CKV_K8S_16", Some(PolicyId::NoPrivileged)),
            (Scanner::Checkov, "CKV_K8S_1", None),
        ] {
            assert_eq!(scanner.policy_of(check), policy, "{scanner} {check}");
        }
    }
}
