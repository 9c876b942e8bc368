//! Builds the row of a record whose processing has ended: the only place where rows and their times are built.

use std::sync::Arc;

use domain::outcome::{GateResult, Gates, Outcome, Timing};
use domain::policy::PolicyName;
use domain::record::Record;
use engine::document::Identity;

use super::context::Context;
use super::repair_result::RepairResult;

/// Which work was done for this record. Other work was done for an earlier record of the slice, whose row holds its
/// time; here that time is null, so that sums over rows count it once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Computed {
    /// Its document was parsed and examined for it.
    pub(super) document: bool,
    /// Its repair was computed for it.
    pub(super) repair: bool,
}

/// A record whose processing has ended.
pub(super) struct FinishedRecord<'r> {
    pub(super) record: &'r Record,
    pub(super) policy: &'r PolicyName,
    pub(super) identity: Identity,
    /// Shared by the records with the same document and policy (and, for an LLM, message).
    pub(super) result: Arc<RepairResult>,
    pub(super) computed: Computed,
    /// How long it waited, see [`Timing::queue_ms`].
    pub(super) queue_ms: f64,
    /// From the arrival of the slice to the result.
    pub(super) total_ms: f64,
    /// When the record's turn began.
    pub(super) started_at_us: Option<i64>,
}

impl FinishedRecord<'_> {
    pub(super) fn into_outcome(self, context: &Context) -> Outcome {
        let config = &context.config;
        if let (Some(rescans), Some(repaired)) = (&context.rescans, &self.result.repaired) {
            rescans.keep(self.record.position, repaired);
        }
        let gates = self.gates();
        let timing = self.timing(&gates);
        let Self { record, policy, identity, result, computed, .. } = self;
        Outcome {
            record_id: record.id.clone(),
            position: record.position,
            shard: context.shard,
            manifest_path: record.manifest_path.clone(),
            document: record.problem.is_none().then_some(record.document),
            kind: identity.kind,
            namespace: identity.namespace,
            name: identity.name,
            policy_id: policy.as_str().to_owned(),
            raw_policy_id: record.raw_policy_id.clone(),
            source: result.source.as_str().to_owned(),
            mode: config.proposer.mode.as_str().to_owned(),
            model: config.model().map(|model| model.model.clone()),
            guardrails: config.guardrails.as_str().to_owned(),
            proposal: result.proposal.clone(),
            attempts: result.attempts,
            attempt_errors: result.attempt_errors.clone(),
            status: result.status,
            gates,
            fault: result.fault,
            new_violations: result.new_violations.clone(),
            errors: result.errors.clone(),
            patched_yaml: result.patched_yaml.clone(),
            usage: result.usage_of(computed.repair),
            timing,
            worker: context.worker.to_string(),
            attempt: context.attempt,
            error_kind: result.error_kind,
            schema_depth: Some(config.verifier.depth),
            server: result.server.clone(),
            published: None,
            tool_rescans: std::collections::BTreeMap::new(),
        }
    }

    /// The gates of the result, with the times of those that ran for this record alone.
    fn gates(&self) -> Arc<Gates> {
        let Computed { document, repair } = self.computed;
        if document && repair {
            return Arc::clone(&self.result.gates);
        }
        let gates = &self.result.gates;
        let of = |gate: &GateResult, here: bool| GateResult { ms: gate.ms.filter(|_| here), ..gate.clone() };
        Arc::new(Gates {
            apply: of(&gates.apply, repair),
            policy: of(&gates.policy, repair),
            safety: of(&gates.safety, repair),
            schema_before: of(&gates.schema_before, document),
            schema: of(&gates.schema, repair),
            rescan: of(&gates.rescan, repair),
        })
    }

    fn timing(&self, gates: &Gates) -> Timing {
        let own = |ms: Option<f64>| ms.filter(|_| self.computed.repair);
        Timing {
            queue_ms: Some(self.queue_ms),
            propose_ms: own(self.result.propose_ms),
            llm_ms: own(self.result.llm_ms),
            verify_ms: own(self.result.verify_ms()),
            schema_ms: gates.schema.ms,
            total_ms: Some(self.total_ms),
            started_at_us: self.started_at_us,
        }
    }
}
