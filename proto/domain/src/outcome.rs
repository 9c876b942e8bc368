//! The outcome of a record: the proposed patch, the verdicts of the gates, the fault of a rejection.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api_server::SchemaDepth;
use crate::api_server::ServerAnswers;
use crate::budget::CostSource;
use crate::ids::{DocumentHash, RecordId, ShardIndex};
use crate::patch::Patch;
use crate::scanner::Scanner;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in columns, on the wire and in reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads the word.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// How a record ended.
    Status {
        /// A repair that passed every gate.
        Accepted = "accepted",
        /// A repair that a gate refused, or a document that was invalid before anyone touched it.
        Rejected = "rejected",
        /// A right repair needs a person's knowledge; the reason says which.
        NeedsReview = "needs_review",
        /// Nothing to fix: the document does not violate the policy.
        NotApplicable = "not_applicable",
        /// The record could not be processed; `error_kind` says why.
        Error = "error",
    }
}

/// How an error begins that says that its document holds placeholders of a template that was never rendered.
pub const UNRENDERED: &str = "unrendered template: ";

words! {
    /// Why a record could not be processed.
    ErrorKind {
        /// The record itself is incomplete or of the wrong shape.
        MalformedRecord = "malformed_record",
        /// The record's document is missing.
        MissingDocument = "missing_document",
        /// The document is not YAML or JSON.
        UnparsableDocument = "unparsable_document",
        /// The document is empty or not a mapping.
        NotAnObject = "not_an_object",
        /// The document is beyond the limits on size, depth, nodes or aliases.
        LimitExceeded = "limit_exceeded",
        /// The repair takes more steps than `limits.record_steps`.
        TooSlow = "too_slow",
        /// The document holds template placeholders that were never rendered.
        UnrenderedTemplate = "unrendered_template",
        /// No rule exists for the policy.
        NoRule = "no_rule",
        /// The model gave no usable answer, and nothing takes its place.
        NoAnswer = "no_answer",
        /// The harness failed on this record: a bug, kept from harming its neighbours.
        Internal = "internal",
        /// Worker after worker was lost while it held this record alone: it was given up.
        WorkerLost = "worker_lost",
    }
}

words! {
    /// Who is at fault that a record was not accepted.
    Fault {
        /// Nobody: the record was accepted, needs review or had nothing to fix.
        None = "none",
        /// The document was broken before anyone touched it.
        Document = "document",
        /// The patch breaks something.
        Patch = "patch",
        /// The surroundings: a missing namespace, an unreachable server.
        Environment = "environment",
        /// The proposer gave no usable answer.
        Proposer = "proposer",
    }
}

words! {
    /// One acceptance check of the verifier, in the order they run.
    Gate {
        /// The patch applies (RFC 6902, on a copy).
        Apply = "apply",
        /// The target policy holds on the patched document.
        Policy = "policy",
        /// No new privilege, nothing lost.
        Safety = "safety",
        /// The patched document is a valid object.
        Schema = "schema",
        /// All policies over the patched document: target cleared, nothing new.
        Rescan = "rescan",
    }
}

words! {
    /// What a gate said.
    Verdict {
        /// The check held.
        Passed = "passed",
        /// The check did not hold.
        Failed = "failed",
        /// The check did not run: switched off, without a subject, or behind a failed one.
        NotRun = "not_run",
    }
}

words! {
    /// What no gate can know about an accepted repair and a person should look at.
    Caution {
        /// The new image tag was not checked against a registry.
        TagUnverified = "tag_unverified",
        /// The root file system is read-only and the container has no writable volume.
        WritesMayFail = "writes_may_fail",
        /// `runAsNonRoot` is demanded but the user that the image runs as is unknown.
        ImageUserUnknown = "image_user_unknown",
        /// A volume of the host was replaced by an empty one.
        LosesHostAccess = "loses_host_access",
        /// A capability that the container asked for was taken away.
        LosesCapability = "loses_capability",
        /// Privileged mode, or the right to gain privileges, was taken away.
        LosesPrivilege = "loses_privilege",
        /// Pods leave a host namespace: peers that relied on it no longer reach them.
        LosesHostNamespace = "loses_host_namespace",
        /// A port is no longer published on the node.
        LosesHostPort = "loses_host_port",
        /// A container port was removed; a Service elsewhere may have used it.
        PortRemoved = "port_removed",
        /// A port was renamed; a Service elsewhere may use the old name.
        PortRenamed = "port_renamed",
        /// A port number was taken from what its name usually stands for.
        PortGuessed = "port_guessed",
        /// Requests or limits are defaults, not measurements.
        ResourcesGuessed = "resources_guessed",
        /// A companion holds a value that stood in the document; it needs to be kept secret and rotated.
        SecretInManifest = "secret_in_manifest",
        /// A companion object must be created beside the document.
        NeedsCompanion = "needs_companion",
        /// A kernel setting was removed.
        SysctlRemoved = "sysctl_removed",
        /// A value that was shadowed or dead was removed.
        ShadowedValueRemoved = "shadowed_value_removed",
        /// Labels of the pod template changed; Services may select by them.
        PodLabelsChanged = "pod_labels_changed",
        /// Traffic of a Service now goes to another set of pods.
        TrafficRedirected = "traffic_redirected",
        /// Objects are deleted some time after they finish.
        DeletesFinished = "deletes_finished",
        /// The capabilities that the runtime grants by default were dropped.
        DefaultCapabilitiesDropped = "default_capabilities_dropped",
        /// `NET_RAW`, which the runtime grants by default, was dropped, and nothing else of what it grants.
        NetRawDropped = "net_raw_dropped",
        /// With the new tag a node no longer asks for a newer image by default.
        PullPolicyRelaxed = "pull_policy_relaxed",
        /// A field changed that the API server refuses to change on an existing object.
        MustBeRecreated = "must_be_recreated",
        /// A number was chosen for the user that the container runs as.
        UserGuessed = "user_guessed",
        /// System calls outside the runtime's default seccomp profile fail from now on.
        SyscallsFiltered = "syscalls_filtered",
        /// The runtime's `AppArmor` profile confines the container from now on.
        AppArmorApplies = "app_armor_applies",
        /// The pod shares the host's network, which publishes its ports with any `hostPort`.
        HostNetworkKeepsPorts = "host_network_keeps_ports",
        /// The repair changes or brings more than the violation needs.
        Collateral = "collateral",
    }
}

impl Caution {
    /// Whether a workload may run otherwise after the repair than before.
    pub const fn changes_behaviour(self) -> bool {
        !matches!(
            self,
            Self::NeedsCompanion
                | Self::SecretInManifest
                | Self::ShadowedValueRemoved
                | Self::HostNetworkKeepsPorts
                | Self::MustBeRecreated
        )
    }

    /// One sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::TagUnverified => {
                "the new image tag was not checked against a registry; map the image in the config to choose another"
            }
            Self::WritesMayFail => {
                "the root file system is read-only now and the container has no writable volume"
            }
            Self::ImageUserUnknown => {
                "the image must run as a user other than root, and which user it runs as is not known"
            }
            Self::LosesHostAccess => "a directory of the host was replaced by an empty volume",
            Self::LosesCapability => "a capability that the container asked for was taken away",
            Self::LosesPrivilege => "the container no longer is, or can become, privileged",
            Self::LosesHostNamespace => "the pod left a namespace of the host",
            Self::LosesHostPort => "the container's port is no longer published on the node",
            Self::PortRemoved => "a container port was removed; a Service may have used it",
            Self::PortGuessed => "the number of a port was taken from what its name usually stands for",
            Self::PortRenamed => "a port was renamed; a Service may use the old name",
            Self::ResourcesGuessed => "requests and limits are defaults, not measurements",
            Self::SecretInManifest => "a companion Secret takes a value that stood in plain text: rotate it",
            Self::NeedsCompanion => "a companion object must be created with the document",
            Self::SysctlRemoved => "a kernel setting was removed",
            Self::ShadowedValueRemoved => "a value that another one shadowed was removed",
            Self::PodLabelsChanged => "labels of the pod template changed; Services may select by them",
            Self::TrafficRedirected => "the Service now selects pods that it did not select before",
            Self::DeletesFinished => "finished Jobs are deleted after a time",
            Self::DefaultCapabilitiesDropped => {
                "the container lost the capabilities that the runtime grants by default"
            }
            Self::NetRawDropped => {
                "the container lost NET_RAW, without which programs such as ping open no raw sockets"
            }
            Self::PullPolicyRelaxed => {
                "a node that has the image no longer asks for a newer one; set imagePullPolicy: Always if the tag moves"
            }
            Self::MustBeRecreated => "an existing object must be deleted and created anew",
            Self::UserGuessed => "the container runs as a user number that its image may not know",
            Self::SyscallsFiltered => {
                "system calls outside the runtime's default seccomp profile fail from now on"
            }
            Self::AppArmorApplies => {
                "the runtime's AppArmor profile confines the container from now on, where its node has AppArmor"
            }
            Self::HostNetworkKeepsPorts => {
                "the pod shares the host's network, so its ports stay open on the node until it leaves that network"
            }
            Self::Collateral => "the repair changes or brings more than the violation needs",
        }
    }
}

/// What one gate said, why, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// Passed, failed or not run.
    pub verdict: Verdict,
    /// Why it failed; empty otherwise.
    pub errors: Vec<String>,
    /// Time taken, in ms; `None`: it did not run for this record.
    pub ms: Option<f64>,
}

impl GateResult {
    /// A gate that did not run.
    pub const NOT_RUN: Self = Self { verdict: Verdict::NotRun, errors: Vec::new(), ms: None };

    /// A verdict from the errors found: none means passed.
    pub fn from_errors(errors: Vec<String>) -> Self {
        let verdict = if errors.is_empty() { Verdict::Passed } else { Verdict::Failed };
        Self { verdict, errors, ms: None }
    }
}

/// The verdicts of all gates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// The patch applies.
    pub apply: GateResult,
    /// The target policy holds.
    pub policy: GateResult,
    /// No new privilege, nothing lost.
    pub safety: GateResult,
    /// Schema of the document before the patch.
    pub schema_before: GateResult,
    /// Schema of the patched document.
    pub schema: GateResult,
    /// Target cleared and nothing new.
    pub rescan: GateResult,
}

impl Gates {
    /// No gate ran.
    pub const NOT_RUN: Self = Self {
        apply: GateResult::NOT_RUN,
        policy: GateResult::NOT_RUN,
        safety: GateResult::NOT_RUN,
        schema_before: GateResult::NOT_RUN,
        schema: GateResult::NOT_RUN,
        rescan: GateResult::NOT_RUN,
    };

    /// The result of `gate` on the patched document.
    pub fn of(&self, gate: Gate) -> &GateResult {
        match gate {
            Gate::Apply => &self.apply,
            Gate::Policy => &self.policy,
            Gate::Safety => &self.safety,
            Gate::Schema => &self.schema,
            Gate::Rescan => &self.rescan,
        }
    }

    /// The first gate that failed.
    pub fn first_failed(&self) -> Option<Gate> {
        Gate::ALL.iter().copied().find(|gate| self.of(*gate).verdict == Verdict::Failed)
    }
}

/// What was proposed for a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The operations on the record's document.
    pub patch: Patch,
    /// Objects that must exist beside the patched document.
    pub companions: Vec<serde_json::Value>,
    /// What a person should look at.
    pub cautions: Vec<Caution>,
    /// What the repair changes or brings and the violation did not need, as the verifier counts it.
    pub collateral_ops: u32,
    /// Whether guard operations were added to the policy's own.
    pub hardened: bool,
}

/// Samples, tokens and money of the model calls for a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the provider's")]
pub struct ModelUsage {
    /// How many dialogues were held about the record.
    pub samples: Option<u64>,
    /// How many of them ended with a patch of the model's own that every gate accepted.
    pub samples_passed: Option<u64>,
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub total_tokens: Option<u64>,
    /// The part of `total_tokens` that the provider did not count, and that is estimated from the texts.
    pub estimated_tokens: Option<u64>,
    /// `None`: it is not known.
    pub cost_usd: Option<f64>,
    /// Where the cost is known from; `None`: no model was asked, or a program reported the cost.
    pub cost_source: Option<CostSource>,
    /// The model that was asked; `None`: none was.
    pub model_requested: Option<String>,
    /// The model that answered, as its provider names it; of several, each once. `None`: not disclosed.
    pub model_served: Option<String>,
    /// The form that the last answer was asked in.
    pub answer_form: Option<String>,
    /// Whether the answer came from the answer cache.
    pub cache_hit: Option<bool>,
}

/// Where the time of a record went, in ms. `None`: nothing of the kind was done for this record.
///
/// `queue`, `propose`, `llm` and `verify` are disjoint parts of `total`: `queue + propose + llm + verify ≤ total`. What is
/// left is reading the document and, with several samples, waiting for the samples that do not count. Records of a slice
/// that share a repair or a conversation share its result, not its time: the first of them has it, the others have
/// `None`, so a sum over records counts each piece of work once. With several samples the parts are those of the sample
/// that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Waiting: until the record's turn came, for CPU, for a permit to call the model, between tries, and for another
    /// record whose conversation it shares.
    pub queue_ms: Option<f64>,
    /// Computing a proposal. For a model: prompts, answers, and the gates on answers that were not taken.
    pub propose_ms: Option<f64>,
    /// Calls to the model under way, failed ones included; `None` where every answer was there already.
    pub llm_ms: Option<f64>,
    /// The gates on the patch that counts: the sum of their own times.
    pub verify_ms: Option<f64>,
    /// The schema gate alone, part of `verify_ms`.
    pub schema_ms: Option<f64>,
    /// From the arrival of the whole slice at the worker until the record's result was complete.
    pub total_ms: Option<f64>,
    /// When the record's turn began, in µs since the Unix epoch.
    pub started_at_us: Option<i64>,
}

/// One row of the results. Column names and meanings: `results::schema`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented column by column in the schema")]
pub struct Outcome {
    pub record_id: RecordId,
    pub position: u64,
    pub shard: ShardIndex,
    pub manifest_path: String,
    pub document: Option<DocumentHash>,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub policy_id: String,
    pub raw_policy_id: String,

    pub source: String,
    pub mode: String,
    pub model: Option<String>,
    pub guardrails: String,
    /// `None`: nothing was proposed. Its patch is kept as JSON text so that it is written once and shared.
    pub proposal: Option<Arc<Proposal>>,
    pub attempts: u32,
    pub attempt_errors: Vec<String>,

    pub status: Status,
    pub gates: Arc<Gates>,
    pub fault: Fault,
    /// Findings on the patched document that the original did not have, as `policy: message`.
    pub new_violations: Vec<String>,
    /// Why the record was not accepted: gate errors, the reason of a review, or the record's error.
    pub errors: Vec<String>,
    pub patched_yaml: Option<Arc<str>>,

    pub usage: ModelUsage,
    pub timing: Timing,

    pub worker: String,
    /// How many times the shard had been leased when this row was made, from 1.
    pub attempt: u32,
    pub error_kind: Option<ErrorKind>,
    /// What decided the schema gate; `None`: not known.
    pub schema_depth: Option<SchemaDepth>,
    /// `None`: no server was asked.
    pub server: Option<Arc<ServerAnswers>>,
    /// Of an imported run: what the published records held beyond the other columns, as a JSON object.
    pub published: Option<String>,
    /// What other scanners say of an accepted repair; a scanner that was not asked, or did not judge it, is not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_rescans: BTreeMap<Scanner, ToolRescan>,
}

/// What a scanner other than the built-in one says of an accepted repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRescan {
    /// Whether it no longer finds the target; `None`: it did not find it before.
    pub cleared: Option<bool>,
    /// Its ids of checks that it finds after the repair and not, or less often, before.
    pub new: Vec<String>,
}

impl Outcome {
    /// Whether every gate accepted the repair.
    pub fn accepted(&self) -> bool {
        self.status == Status::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_explains_every_caution() {
        let readme = include_str!("../../../README.md");
        for caution in Caution::ALL {
            let row = format!("| `{caution}` | {} |", caution.sentence());
            assert!(readme.contains(&row), "README.md lacks: {row}");
        }
    }
}
