//! Reads each document of a slice once, applies each policy to it once by the rules, and writes the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::config::{Documents, Guardrails, RunConfig};
use domain::ids::DocumentHash;
use domain::outcome::{ErrorKind, Outcome, Timing, Verdict};
use domain::policy::PolicyName;
use domain::record::{Neighbours, Problem, Record, Slice, SourceDocument};
use engine::document::{Document, Identity};
use engine::k8s::View;
use engine::propose::{Decision, rules};
use engine::verify::{Before, Candidate, examine};

use super::model::stands_aside;
use super::treated::Treated;
use super::{Context, contained, unrendered};
use crate::verifier::verify;

/// A document that was read, and what was found in it.
pub(super) struct Opened {
    pub(super) document: Document,
    pub(super) before: Before,
    /// Why it cannot be repaired as it is, if so.
    pub(super) unrendered: Option<String>,
}

/// Keeps what records of a slice share, so that each document is parsed, and each policy applied to it, once.
pub(super) struct Desk<'s> {
    config: &'s RunConfig,
    start: Instant,
    sources: HashMap<DocumentHash, &'s SourceDocument>,
    opened: HashMap<DocumentHash, Result<Arc<Opened>, Problem>>,
    treated: HashMap<(DocumentHash, String), Arc<Treated>>,
}

impl<'s> Desk<'s> {
    pub(super) fn new(slice: &'s Slice, config: &'s RunConfig) -> Self {
        Self {
            config,
            start: Instant::now(),
            sources: slice.documents.iter().map(|source| (source.hash, source)).collect(),
            opened: HashMap::new(),
            treated: HashMap::new(),
        }
    }

    pub(super) fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1e3
    }

    pub(super) fn outcome(&mut self, record: &Record, context: &Context) -> Outcome {
        let queue_ms = self.now_ms();
        let started_at_us = unix_us();
        let policy = record.policy();
        let opened = self.open(record);
        let (identity, treated) = match opened {
            Ok(opened) => (opened.document.identity.clone(), self.treat(record, &policy, &opened)),
            Err(problem) => (Identity::default(), Arc::new(Treated::failed(problem))),
        };
        let total_ms = self.now_ms() - queue_ms;
        let timing = Timing {
            queue_ms: Some(queue_ms),
            propose_ms: Some(treated.propose_ms),
            llm_ms: None,
            verify_ms: Some(treated.verify_ms),
            schema_ms: Some(treated.gates.schema.ms),
            total_ms: Some(total_ms),
            started_at_us,
        };
        row(context, record, &policy, identity, &treated, timing)
    }

    /// The record's document, or what is wrong with the record.
    pub(super) fn open(&mut self, record: &Record) -> Result<Arc<Opened>, Problem> {
        if let Some(problem) = &record.problem {
            return Err(problem.clone());
        }
        if let Some(known) = self.opened.get(&record.document) {
            return known.clone();
        }
        let opened = match self.sources.get(&record.document) {
            Some(source) => self.read(source).map(Arc::new),
            None => Err(Problem {
                kind: ErrorKind::MissingDocument,
                message: "the record's document was not sent with its shard".to_owned(),
            }),
        };
        self.opened.insert(record.document, opened.clone());
        opened
    }

    fn read(&self, source: &SourceDocument) -> Result<Opened, Problem> {
        let config = self.config;
        contained("reading the document", || {
            let document = Document::parse(&source.text, &config.limits)
                .map_err(|error| Problem { kind: error.error_kind(), message: error.to_string() })?;
            let mut before = examine(&document, &source.neighbours, config, &|| self.now_ms());
            let unrendered = unrendered(&document);
            if let Some(reason) = &unrendered
                && before.schema.verdict != Verdict::NotRun
            {
                before.schema.verdict = Verdict::Failed;
                before.schema.errors.push(reason.clone());
            }
            Ok(Opened { document, before, unrendered })
        })
        .unwrap_or_else(Err)
    }

    fn treat(&mut self, record: &Record, policy: &PolicyName, opened: &Opened) -> Arc<Treated> {
        // The original's rules look at the scanner's own id too.
        let name = match self.config.guardrails {
            Guardrails::Paper => &record.raw_policy_id,
            _ => policy.as_str(),
        };
        let key = (record.document, name.to_owned());
        if let Some(known) = self.treated.get(&key) {
            return known.clone();
        }
        let neighbours = self.sources.get(&record.document).map(|source| &source.neighbours);
        let neighbours = neighbours.unwrap_or(&Neighbours::Unknown);
        let treated = contained("repairing the document", || self.repair(record, policy, opened, neighbours))
            .unwrap_or_else(Treated::failed);
        let treated = Arc::new(treated);
        self.treated.insert(key, treated.clone());
        treated
    }

    /// What a record comes to for which no model has to be asked.
    pub(super) fn stand_aside(
        &self,
        record: &Record,
        policy: &PolicyName,
        opened: &Opened,
    ) -> Option<Treated> {
        let start = self.now_ms();
        let neighbours = self.sources.get(&record.document).map(|source| &source.neighbours);
        let neighbours = neighbours.unwrap_or(&Neighbours::Unknown);
        let looked =
            contained("looking at the document", || stands_aside(opened, neighbours, policy, self.config));
        match looked {
            Ok(decision) => {
                let propose_ms = self.now_ms() - start;
                decision.map(|decision| Treated::without_proposal(decision, policy, opened, propose_ms))
            }
            Err(problem) => Some(Treated::failed(problem)),
        }
    }

    /// What the original saw of the record's document.
    fn source_of<'r>(&self, record: &'r Record) -> paper::Source<'r> {
        match self.config.documents {
            Documents::Record => paper::Source::Record { raw_policy_id: &record.raw_policy_id },
            Documents::Manifest => paper::Source::Manifest,
        }
    }

    fn repair(
        &self,
        record: &Record,
        policy: &PolicyName,
        opened: &Opened,
        neighbours: &Neighbours,
    ) -> Treated {
        let config = self.config;
        let start = self.now_ms();
        let decision = match (config.guardrails, &opened.unrendered) {
            (Guardrails::Paper, _) => paper::propose(&opened.document.value, policy, self.source_of(record)),
            (_, Some(reason)) => Decision::NeedsReview { reason: reason.clone() },
            (_, None) => rules::propose(&View::new(&opened.document, neighbours), policy, &config.rules),
        };
        let propose_ms = self.now_ms() - start;
        let proposal = match decision {
            Decision::Repair(proposal) => proposal,
            other => return Treated::without_proposal(other, policy, opened, propose_ms),
        };
        let candidate = Candidate {
            document: &opened.document,
            neighbours,
            before: &opened.before,
            policy,
            proposal: &proposal,
        };
        let start = self.now_ms();
        let verification = verify(candidate, config, &|| self.now_ms());
        let verify_ms = self.now_ms() - start;
        Treated::judged(proposal, verification, propose_ms, verify_ms)
    }
}

/// Microseconds since 1970.
pub(super) fn unix_us() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

/// The row of a record.
pub(super) fn row(
    context: &Context,
    record: &Record,
    policy: &PolicyName,
    identity: Identity,
    treated: &Treated,
    timing: Timing,
) -> Outcome {
    let config = &context.config;
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
        source: treated.source.as_str().to_owned(),
        mode: config.proposer.mode.as_str().to_owned(),
        model: config.model().map(|model| model.model.clone()),
        guardrails: config.guardrails.as_str().to_owned(),
        proposal: treated.proposal.clone(),
        attempts: treated.attempts,
        attempt_errors: treated.attempt_errors.clone(),
        status: treated.status,
        gates: treated.gates.clone(),
        fault: treated.fault,
        new_violations: treated.new_violations.clone(),
        errors: treated.errors.clone(),
        patched_yaml: treated.patched_yaml.clone(),
        usage: treated.usage.clone(),
        timing,
        worker: context.worker.to_string(),
        attempt: context.attempt,
        error_kind: treated.error_kind,
        published: None,
    }
}
