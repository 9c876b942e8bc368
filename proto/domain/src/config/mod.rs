//! The configuration of a run: every key, its default and its meaning; checked, canonical, hashed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

mod batch;
mod detector;
mod error;
mod model;
mod parameters;
mod ranges;
mod scanners;
mod stored;

pub use batch::{AfterWindow, BatchConfig, Delivery};
pub use detector::DetectorConfig;
pub use error::InvalidConfig;
pub use model::{ModelConfig, ProposerConfig, ProposerMode, is_program_name};
pub use parameters::{AnswerFormat, OnModelMismatch};
pub use scanners::{ScannersConfig, ToolPaths};
pub use stored::StoredConfig;

use crate::api_server::KubernetesRelease;
use crate::api_server::SchemaDepth;
use crate::budget::{BudgetLimits, CachedTokens, Limit};
use crate::ids::ConfigHash;
use crate::outcome::Gate;
use crate::scanner::{Scanner, Scanners};

/// Everything that decides the outcomes of a run, and how its work is cut.
///
/// Key names of the original are kept where they exist (`seed`, `max_attempts`, `proposer.mode`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// How often the proposer may try a record; rules are deterministic and try once.
    pub max_attempts: u32,
    /// Which document is repaired and judged.
    pub documents: Documents,
    /// Where the objects stand that a document of manifests is judged with.
    pub context: Context,
    /// Which policies are looked for.
    #[serde(skip_serializing_if = "DetectorConfig::is_default")]
    pub detector: DetectorConfig,
    /// Who proposes.
    pub proposer: ProposerConfig,
    /// The model that `proposer.mode: grok` asks.
    pub grok: ModelConfig,
    /// The model that `proposer.mode: vendor` asks.
    pub vendor: ModelConfig,
    /// The model that `proposer.mode: vllm` asks.
    pub vllm: ModelConfig,
    /// What stands around a proposal.
    pub guardrails: Guardrails,
    /// How a repair is judged.
    pub verifier: VerifierConfig,
    /// How the rules choose values.
    pub rules: RulesConfig,
    /// How the corpus is cut and leased.
    pub fleet: FleetConfig,
    /// What is refused as too large, and what a provider allows.
    pub limits: Limits,
    /// What a run may spend on a model. Decides no outcome.
    pub spend: SpendConfig,
    /// How batches are submitted and waited for, under `proposer.delivery: batch`.
    #[serde(skip_serializing_if = "BatchConfig::is_default")]
    pub batch: BatchConfig,
    /// Whether the results hold the secrets of the documents; else they hold masks.
    pub store_secrets: bool,
}

/// Which document is repaired and judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// The record's own `manifest_yaml`.
    #[default]
    Record,
    /// The whole document, read again from the manifests by `manifest_path`.
    Manifest,
}

/// Where the objects stand that a document of manifests is judged with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// In the whole input.
    #[default]
    Input,
    /// In the folder of the document's file.
    Folder,
}

/// What stands around a proposal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guardrails {
    /// The smallest patch that clears the violation rightly.
    #[default]
    Targeted,
    /// The original's hardening of every record, for parity.
    Paper,
    /// The model alone.
    None,
    /// The model's patch with what the rules still find to do; the rules' patch where the model has none.
    Merge,
    /// The model alone; the rules' patch where the model has none that passes.
    Fallback,
}

impl Guardrails {
    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Targeted => "targeted",
            Self::Paper => "paper",
            Self::None => "none",
            Self::Merge => "merge",
            Self::Fallback => "fallback",
        }
    }

    /// Whether it stands around a model or a program; the others stand around the rules.
    pub const fn is_for_models(self) -> bool {
        matches!(self, Self::None | Self::Merge | Self::Fallback)
    }
}

/// How a repair is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierConfig {
    /// Which demands the gates make.
    pub gates: GateProfile,
    /// Gates that do not run; a gate that did not run is `not_run`, never failed.
    pub disabled_gates: BTreeSet<Gate>,
    /// What decides the schema gate: `embedded`, `server` or `both`.
    #[serde(skip_serializing_if = "SchemaDepth::is_embedded")]
    pub depth: SchemaDepth,
    /// The release whose API server the embedded schema gate speaks for, 1.30 to 1.37.
    #[serde(skip_serializing_if = "KubernetesRelease::is_newest")]
    pub kubernetes: KubernetesRelease,
    /// Which scanners judge what the repairs made. The built-in one decides the rescan gate; what the others find is recorded.
    #[serde(skip_serializing_if = "Scanners::is_builtin_alone")]
    pub rescan: Scanners,
}

/// Which demands the gates make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateProfile {
    /// The last published gates with their faults mended.
    #[default]
    Strict,
    /// The gates that judged the published runs, for replaying recorded patches.
    Published,
}

/// How the rules choose values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Tag for an image without a fixed one.
    pub default_tag: String,
    /// Image (as written, or without its tag) to the image that replaces it.
    pub images: BTreeMap<String, String>,
    /// Default CPU request.
    pub cpu_request: String,
    /// Default memory request.
    pub memory_request: String,
    /// Default CPU limit.
    pub cpu_limit: String,
    /// Default memory limit.
    pub memory_limit: String,
    /// `ttlSecondsAfterFinished` of a Job that names none.
    pub job_ttl_seconds: u32,
    /// Host paths that may be mounted.
    pub host_path_allowlist: Vec<String>,
    /// Which profile of the Pod Security Standards a repair reaches.
    pub level: SecurityLevel,
}

/// A profile of the Pod Security Standards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityLevel {
    /// A repair does what its policy asks, which is *Baseline* or more.
    #[default]
    Baseline,
    /// A repair of capabilities or of the user does what *Restricted* asks of these fields, in every container of the pod.
    Restricted,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            default_tag: "stable".to_owned(),
            images: BTreeMap::new(),
            cpu_request: "100m".to_owned(),
            memory_request: "128Mi".to_owned(),
            cpu_limit: "500m".to_owned(),
            memory_limit: "256Mi".to_owned(),
            job_ttl_seconds: 3600,
            host_path_allowlist: [
                "/var/run/secrets/kubernetes.io/serviceaccount",
                "/var/lib/kubelet/pods",
                "/etc/ssl/certs",
            ]
            .map(str::to_owned)
            .to_vec(),
            level: SecurityLevel::default(),
        }
    }
}

/// How the corpus is cut and leased. Decides no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetConfig {
    /// Records in a shard.
    pub shard_size: u32,
    /// How long a lease lasts without a heartbeat, in seconds.
    pub lease_seconds: u32,
    /// How many leases of a shard may end in the loss of their workers before the shard is halved; a record that stands
    /// alone is given up after as many more.
    pub max_lost: u32,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self { shard_size: 250, lease_seconds: 30, max_lost: 3 }
    }
}

/// What is refused as too large (a document beyond a limit is an outcome of its own), and what a provider allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one document.
    pub document_bytes: usize,
    /// Nesting depth of one document.
    pub document_depth: usize,
    /// Nodes of one document, after its aliases are expanded.
    pub document_nodes: usize,
    /// Aliases in one document.
    pub document_aliases: usize,
    /// Bytes of one input file (unpacked) that is not an array of records.
    pub file_bytes: u64,
    /// Bytes of one record of a detections file.
    pub record_bytes: usize,
    /// Steps that reading, repairing and judging one record may take each: nodes, operations and findings looked at.
    pub record_steps: u64,
    /// Calls a minute that the provider allows, over all workers and runs.
    pub requests_per_minute: Limit,
    /// Calls a second that the provider allows.
    #[serde(skip_serializing_if = "is_auto")]
    pub requests_per_second: Limit,
    /// Tokens a minute that the provider allows.
    pub tokens_per_minute: Limit,
    /// Whether tokens that the provider had in its cache use the limit of tokens.
    #[serde(skip_serializing_if = "is_true")]
    pub cached_tokens_count: bool,
    /// Calls in flight that the provider allows.
    pub concurrency: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 3 << 20,
            document_depth: 64,
            document_nodes: 250_000,
            document_aliases: 1_000,
            file_bytes: 64 << 20,
            record_bytes: 16 << 20,
            record_steps: 200_000_000,
            requests_per_minute: Limit::Auto,
            requests_per_second: Limit::Auto,
            tokens_per_minute: Limit::Auto,
            cached_tokens_count: true,
            concurrency: Limit::Auto,
        }
    }
}

/// Left out of a run's text where it is the default: runs that do not set it keep their hash.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_auto(limit: &Limit) -> bool {
    matches!(limit, Limit::Auto)
}

/// As [`is_auto`].
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_true(flag: &bool) -> bool {
    *flag
}

/// What a run may spend on a model, and before whom it is served. Decides no outcome: a run that has spent what it may
/// stops, and goes on when it may spend more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpendConfig {
    /// US dollars; 0: no bound.
    pub max_cost_usd: f64,
    /// Calls; 0: no bound.
    pub max_requests: u64,
    /// Runs of a higher priority are served first where they share an account; equal ones share it evenly.
    pub priority: i32,
    /// Ask again for what was answered before the run began.
    pub refresh: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 1337,
            max_attempts: 3,
            documents: Documents::default(),
            context: Context::default(),
            detector: DetectorConfig::default(),
            proposer: ProposerConfig::default(),
            grok: ModelConfig::grok(),
            vendor: ModelConfig::vendor(),
            vllm: ModelConfig::vllm(),
            guardrails: Guardrails::default(),
            verifier: VerifierConfig::default(),
            rules: RulesConfig::default(),
            fleet: FleetConfig::default(),
            limits: Limits::default(),
            spend: SpendConfig::default(),
            batch: BatchConfig::default(),
            store_secrets: false,
        }
    }
}

impl RunConfig {
    /// Checks what types cannot say.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key, reason: &str| Err(InvalidConfig { key, reason: reason.to_owned() });
        if self.fleet.shard_size == 0 || self.fleet.shard_size > 100_000 {
            return refuse("fleet.shard_size", "must be from 1 to 100000");
        }
        if self.fleet.lease_seconds == 0 || self.fleet.lease_seconds > 3600 {
            return refuse("fleet.lease_seconds", "must be from 1 to 3600");
        }
        if self.fleet.max_lost == 0 || self.fleet.max_lost > 100 {
            return refuse("fleet.max_lost", "must be from 1 to 100");
        }
        ranges::check(&self.numbers())?;
        let tag = &self.rules.default_tag;
        let tag_char = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(tag_char) || tag.starts_with(['.', '-']) {
            return refuse("rules.default_tag", "must be a legal image tag");
        }
        if tag == "latest" {
            return refuse("rules.default_tag", "must not be 'latest'");
        }
        self.verifier.check()?;
        if self.limits.document_depth > 100 {
            return refuse("limits.document_depth", "must be at most 100");
        }
        if !(0.0..=1e9).contains(&self.spend.max_cost_usd) {
            return refuse("spend.max_cost_usd", "must be a number from 0 to 1000000000");
        }
        self.batch.check()?;
        self.check_models()
    }

    /// The numbers without a check of their own: key, value, and the range that is allowed.
    fn numbers(&self) -> [(&'static str, u64, (u64, u64)); 14] {
        let limits = &self.limits;
        let known = |limit: Limit| limit.known().unwrap_or(1);
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        [
            ("max_attempts", self.max_attempts.into(), (1, 100)),
            ("proposer.max_tokens", self.proposer.max_tokens.into(), (0, 10_000_000)),
            // Kubernetes' own limit: a signed number of 32 bits.
            ("rules.job_ttl_seconds", self.rules.job_ttl_seconds.into(), (0, i32::MAX as u64)),
            ("limits.document_bytes", size(limits.document_bytes), (1, 256 << 20)),
            // Some 100 bytes each while a document is worked on, in several copies.
            ("limits.document_nodes", size(limits.document_nodes), (1, 2_000_000)),
            ("limits.document_aliases", size(limits.document_aliases), (0, 100_000)),
            ("limits.file_bytes", limits.file_bytes, (1, 1 << 30)),
            ("limits.record_bytes", size(limits.record_bytes), (1, 256 << 20)),
            ("limits.record_steps", limits.record_steps, (1_000, 1_000_000_000_000)),
            ("limits.requests_per_minute", known(limits.requests_per_minute), (1, 100_000_000)),
            ("limits.requests_per_second", known(limits.requests_per_second), (1, 1_000_000)),
            ("limits.tokens_per_minute", known(limits.tokens_per_minute), (1, 1_000_000_000_000)),
            ("limits.concurrency", known(limits.concurrency), (1, 100_000)),
            ("spend.max_requests", self.spend.max_requests, (0, 1_000_000_000_000)),
        ]
    }

    fn check_models(&self) -> Result<(), InvalidConfig> {
        self.proposer.check()?;
        self.grok.check("grok.price")?;
        self.vendor.check("vendor.price")?;
        self.vllm.check("vllm.price")?;
        let keys = match self.proposer.mode {
            ProposerMode::Rules | ProposerMode::Command | ProposerMode::Grok => ["grok.model", "grok.price"],
            ProposerMode::Vendor => ["vendor.model", "vendor.price"],
            ProposerMode::Vllm => ["vllm.model", "vllm.price"],
        };
        self.model().map_or(Ok(()), |model| model.check_asked(keys, self.spend.max_cost_usd))?;
        if self.proposer.delivery == Delivery::Batch {
            let refuse =
                |reason: &str| Err(InvalidConfig { key: "proposer.delivery", reason: reason.to_owned() });
            if self.model().is_none() {
                return refuse("must be live where the rules or a program propose");
            }
            if self.spend.refresh {
                return refuse("must be live where spend.refresh asks again for what was answered before");
            }
        }
        let by_rules = self.proposer.mode == ProposerMode::Rules;
        if by_rules != self.guardrails.is_for_models() {
            return Ok(());
        }
        let reason = if by_rules {
            "must be targeted or paper where the rules propose"
        } else {
            "must be none, merge or fallback where a model or a program proposes"
        };
        Err(InvalidConfig { key: "guardrails", reason: reason.to_owned() })
    }

    /// The model that proposes; `None` where the rules or a program do.
    pub fn model(&self) -> Option<&ModelConfig> {
        match self.proposer.mode {
            ProposerMode::Rules | ProposerMode::Command => None,
            ProposerMode::Grok => Some(&self.grok),
            ProposerMode::Vendor => Some(&self.vendor),
            ProposerMode::Vllm => Some(&self.vllm),
        }
    }

    /// Name of the program that proposes; `None` where the rules or a model do.
    pub fn program(&self) -> Option<&str> {
        (self.proposer.mode == ProposerMode::Command).then_some(self.proposer.program.as_str())
    }

    /// Hash of what decides outcomes: everything but `fleet` and `spend`, and but how fast and how patiently a provider is asked.
    pub fn hash(&self) -> ConfigHash {
        let mut canonical =
            Self { fleet: FleetConfig::default(), spend: SpendConfig::default(), ..self.clone() };
        let patient = ProposerConfig::default();
        canonical.proposer.timeout_seconds = patient.timeout_seconds;
        canonical.proposer.connect_timeout_seconds = patient.connect_timeout_seconds;
        canonical.proposer.first_byte_timeout_seconds = patient.first_byte_timeout_seconds;
        canonical.proposer.retries = patient.retries;
        canonical.proposer.retry_seconds = patient.retry_seconds;
        canonical.proposer.outage_minutes = patient.outage_minutes;
        canonical.proposer.max_failed_share = patient.max_failed_share;
        canonical.proposer.delivery = patient.delivery;
        canonical.batch = BatchConfig::default();
        canonical.proposer.on_model_mismatch = patient.on_model_mismatch;
        if self.model().is_none() {
            // No model is asked: a run of an earlier release, whose defaults were these, stays the same run.
            canonical.proposer.temperature = Some(0.0);
            canonical.proposer.answer_form = AnswerFormat::JsonSchema;
        }
        canonical.limits.requests_per_minute = Limit::Auto;
        canonical.limits.requests_per_second = Limit::Auto;
        canonical.limits.tokens_per_minute = Limit::Auto;
        canonical.limits.cached_tokens_count = true;
        canonical.limits.concurrency = Limit::Auto;
        // Struct fields keep their order and maps are ordered: equal configurations give equal text.
        ConfigHash::of(&serde_json::to_vec(&canonical).unwrap_or_default())
    }
}

impl VerifierConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |key, reason: &str| Err(InvalidConfig { key, reason: reason.to_owned() });
        if self.disabled_gates.contains(&Gate::Apply) {
            return refuse("verifier.disabled_gates", "the apply gate cannot be switched off");
        }
        if self.depth.needs_server() && self.gates == GateProfile::Published {
            return refuse("verifier.depth", "must be embedded where verifier.gates is published");
        }
        if !self.rescan.contains(Scanner::Builtin) {
            return refuse("verifier.rescan", "must hold builtin, which decides the rescan gate");
        }
        if !self.rescan.is_builtin_alone() && self.gates == GateProfile::Published {
            return refuse("verifier.rescan", "must be [builtin] where verifier.gates is published");
        }
        if self.depth.needs_server() && self.disabled_gates.contains(&Gate::Schema) {
            return refuse("verifier.depth", "must be embedded where the schema gate is switched off");
        }
        Ok(())
    }
}

impl Limits {
    /// What the provider allows.
    pub const fn budget(&self) -> BudgetLimits {
        BudgetLimits {
            requests_per_minute: self.requests_per_minute,
            requests_per_second: self.requests_per_second,
            tokens_per_minute: self.tokens_per_minute,
            cached_tokens: if self.cached_tokens_count { CachedTokens::Counted } else { CachedTokens::Free },
            concurrency: self.concurrency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_about_outcomes_only() {
        let mut config = RunConfig::default();
        let hash = config.hash();
        config.fleet.shard_size = 7;
        assert_eq!(config.hash(), hash);
        config.limits.requests_per_minute = Limit::at(480);
        config.limits.requests_per_second = Limit::at(30);
        config.limits.cached_tokens_count = false;
        config.proposer.delivery = Delivery::Batch;
        config.batch.poll_seconds = 7;
        config.proposer.timeout_seconds = 7;
        config.spend.max_requests = 10;
        config.proposer.on_model_mismatch = OnModelMismatch::Warn;
        assert_eq!(config.hash(), hash);
        config.seed += 1;
        assert_ne!(config.hash(), hash);
    }

    #[test]
    fn a_run_of_the_rules_keeps_its_hash_when_defaults_of_models_change() {
        let mut earlier = RunConfig::default();
        (earlier.proposer.temperature, earlier.proposer.answer_form) = (Some(0.0), AnswerFormat::JsonSchema);
        assert_eq!(RunConfig::default().hash(), earlier.hash());
        let (mut now, mut then) = (RunConfig::default(), earlier);
        (now.proposer.mode, then.proposer.mode) = (ProposerMode::Grok, ProposerMode::Grok);
        assert_ne!(now.hash(), then.hash(), "a model is asked otherwise");
    }

    #[test]
    fn an_embedded_run_is_written_as_before_there_were_depths() {
        let mut config = RunConfig::default();
        let hash = config.hash();
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["verifier"], serde_json::json!({"gates": "strict", "disabled_gates": []}));
        for depth in [SchemaDepth::Server, SchemaDepth::Both] {
            config.verifier.depth = depth;
            assert_ne!(config.hash(), hash, "{depth}");
            let written = serde_json::to_value(&config).unwrap();
            assert_eq!(written["verifier"]["depth"], depth.as_str());
            assert_eq!(serde_json::from_value::<RunConfig>(written).unwrap(), config);
        }
        assert!(SchemaDepth::ALL.into_iter().all(|depth| SchemaDepth::parse(depth.as_str()) == Some(depth)));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<RunConfig>(r#"{"sed": 1}"#).is_err());
        let config: RunConfig =
            serde_json::from_str(r#"{"seed": 1, "verifier": {"disabled_gates": ["schema"]}}"#).unwrap();
        assert!(config.verifier.disabled_gates.contains(&Gate::Schema));
    }

    #[test]
    fn a_server_is_asked_by_the_strict_schema_gate_alone() {
        let check = |text: &str| serde_json::from_str::<RunConfig>(text).unwrap().check();
        assert!(check(r#"{"verifier": {"depth": "both"}}"#).is_ok());
        for bad in [
            r#"{"verifier": {"depth": "server", "gates": "published"}}"#,
            r#"{"verifier": {"depth": "both", "disabled_gates": ["schema"]}}"#,
        ] {
            assert_eq!(check(bad).unwrap_err().key, "verifier.depth", "{bad}");
        }
    }

    #[test]
    fn guardrails_belong_to_a_proposer() {
        let check = |text: &str| serde_json::from_str::<RunConfig>(text).unwrap().check();
        assert!(check(r#"{"proposer": {"mode": "grok"}, "guardrails": "merge"}"#).is_ok());
        for bad in [r#"{"proposer": {"mode": "grok"}}"#, r#"{"guardrails": "none"}"#] {
            assert_eq!(check(bad).unwrap_err().key, "guardrails", "{bad}");
        }
    }
}
