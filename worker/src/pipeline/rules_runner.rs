//! Runs the rules over a slice: applies each policy to each document once, one record after the other.

use std::collections::HashMap;
use std::sync::Arc;

use crate::verifier::verify_asking;
use domain::config::{Documents, Guardrails, ProposerMode, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::Outcome;
use domain::policy::PolicyName;
use domain::record::{Neighbours, Record, Slice};
use engine::document::Identity;
use engine::k8s::View;
use engine::propose::{Decision, rules};
use engine::verify::Candidate;

use super::context::{Context, unix_us, within_bounds};
use super::documents::{DocumentCache, ParsedDocument};
use super::record::{Computed, FinishedRecord};
use super::repair_result::RepairResult;

/// Computes one outcome for each record by the rules, in the order of the slice. Blocks: run it off the async runtime.
pub fn run_slice(slice: &Slice, context: &Context) -> Vec<Outcome> {
    run_slice_while(slice, context, || true).unwrap_or_default()
}

/// Like [`run_slice`], but stops with `None` when `go_on` is false before a record, or when a server that is needed gave no
/// answer.
pub fn run_slice_while(slice: &Slice, context: &Context, go_on: impl Fn() -> bool) -> Option<Vec<Outcome>> {
    let mut runner = RulesRunner::new(slice, context);
    let next = |record| go_on().then(|| runner.outcome(record)).filter(|_| !context.is_stopped());
    slice.records.iter().map(next).collect()
}

/// Caches what records of a slice share, so that each document is parsed, and each policy applied to it, once.
struct RulesRunner<'s> {
    context: &'s Context,
    documents: DocumentCache<'s>,
    repairs: HashMap<(DocumentHash, String), Arc<RepairResult>>,
}

impl<'s> RulesRunner<'s> {
    fn new(slice: &'s Slice, context: &'s Context) -> Self {
        let documents = DocumentCache::new(slice, &context.config, context.server.as_deref());
        Self { context, documents, repairs: HashMap::new() }
    }

    const fn config(&self) -> &'s RunConfig {
        &self.context.config
    }

    fn outcome(&mut self, record: &Record) -> Outcome {
        let context = self.context;
        let (queue_ms, started_at_us) = (context.now_ms(), unix_us());
        let policy = record.policy();
        let lookup = self.documents.look_up(record, &|| context.now_ms());
        let (identity, result, computed) = match lookup.parsed {
            Ok(parsed) => {
                let (result, repair) = self.result(record, &policy, &parsed);
                (parsed.identity(&context.config), result, Computed { document: lookup.first, repair })
            }
            Err(problem) => {
                (Identity::default(), Arc::new(RepairResult::failed(problem)), Computed::default())
            }
        };
        let total_ms = context.now_ms();
        FinishedRecord {
            record,
            policy: &policy,
            identity,
            result,
            computed,
            queue_ms,
            total_ms,
            started_at_us,
        }
        .into_outcome(context)
    }

    /// The result for the record's policy on its document, and whether it was computed now.
    fn result(
        &mut self,
        record: &Record,
        policy: &PolicyName,
        parsed: &ParsedDocument,
    ) -> (Arc<RepairResult>, bool) {
        // The paper's rules depend on the scanner's raw policy id too.
        let name = match self.config().guardrails {
            Guardrails::Paper => &record.raw_policy_id,
            _ => policy.as_str(),
        };
        let key = (record.document, name.to_owned());
        if let Some(known) = self.repairs.get(&key) {
            return (Arc::clone(known), false);
        }
        let neighbours = self.documents.neighbours(record);
        let result = within_bounds("repairing the document", &self.config().limits, || {
            self.repair(record, policy, parsed, neighbours)
        })
        .unwrap_or_else(RepairResult::failed);
        let result = Arc::new(result);
        self.repairs.insert(key, Arc::clone(&result));
        (result, true)
    }

    /// Which document the paper's rules were given.
    fn source_of<'r>(&self, record: &'r Record) -> paper::Source<'r> {
        match self.config().documents {
            Documents::Record => paper::Source::Record { raw_policy_id: &record.raw_policy_id },
            Documents::Manifest => paper::Source::Manifest,
        }
    }

    fn repair(
        &self,
        record: &Record,
        policy: &PolicyName,
        parsed: &ParsedDocument,
        neighbours: &Neighbours,
    ) -> RepairResult {
        let (context, config) = (self.context, self.config());
        let start = context.now_ms();
        let decision = match (config.guardrails, &parsed.unrendered) {
            (Guardrails::Paper, _) => paper::propose(&parsed.document.value, policy, self.source_of(record)),
            (_, Some(reason)) => Decision::NeedsReview { reason: reason.clone() },
            (_, None) => rules::propose(&View::new(&parsed.document, neighbours), policy, &config.rules),
        };
        let propose_ms = Some(context.now_ms() - start);
        let result = match decision {
            Decision::Repair(proposal) => {
                let candidate = Candidate {
                    document: &parsed.document,
                    neighbours,
                    before: &parsed.before,
                    policy,
                    proposal: &proposal,
                };
                let server = context.server.as_deref();
                let verification = verify_asking(candidate, config, &|| context.now_ms(), server);
                RepairResult::judged(ProposerMode::Rules, proposal, verification, parsed, config)
            }
            other => RepairResult::without_proposal(other, policy, parsed, config),
        };
        RepairResult { propose_ms, ..result }
    }
}
