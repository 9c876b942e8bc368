//! From a slice of the corpus to its outcomes: one row a record, whatever the record holds.
//!
//! *Owns* the way of a record: parse → propose → verify → row. *Invariant*: total. A bad record, or a bug in a policy,
//! is a row with an `error_kind`; it never ends a run or harms a neighbour.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::config::{Documents, Guardrails, RunConfig};
use domain::ids::{DocumentHash, ShardIndex, WorkerName};
use domain::outcome::{
    ErrorKind, Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, Verdict,
};
use domain::policy::PolicyName;
use domain::record::{Problem, Record, Slice, SourceDocument};
use engine::document::{Document, Identity};
use engine::k8s::View;
use engine::propose::{Decision, paper, rules};
use engine::template;
use engine::verify::{Before, Candidate, Verification, examine, verify};
use engine::yaml::to_yaml;

/// What every record of a slice shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// The run's configuration.
    pub config: RunConfig,
    /// The shard.
    pub shard: ShardIndex,
    /// How many times the shard has been leased, this time included.
    pub attempt: u32,
    /// Who works.
    pub worker: WorkerName,
}

/// Makes one outcome for every record, in the order of the slice. Blocks: run it off the async runtime.
pub fn run_slice(slice: &Slice, context: &Context) -> Vec<Outcome> {
    run_slice_while(slice, context, || true).unwrap_or_default()
}

/// Like [`run_slice`], but asks before each record whether to go on; `None` when the answer was no.
pub fn run_slice_while(slice: &Slice, context: &Context, go_on: impl Fn() -> bool) -> Option<Vec<Outcome>> {
    let start = Instant::now();
    let mut desk = Desk {
        context,
        start,
        sources: slice.documents.iter().map(|source| (source.hash, source)).collect(),
        opened: HashMap::new(),
        treated: HashMap::new(),
    };
    slice.records.iter().map(|record| go_on().then(|| desk.outcome(record))).collect()
}

/// A document that was read, and what was found in it.
struct Opened {
    document: Document,
    before: Before,
    /// Why it cannot be repaired as it is, if so.
    unrendered: Option<String>,
}

/// The result for one policy on one document: the same for every record that names both.
struct Treated {
    status: Status,
    proposal: Option<Arc<Proposal>>,
    gates: Arc<Gates>,
    fault: Fault,
    new_violations: Vec<String>,
    errors: Vec<String>,
    patched_yaml: Option<Arc<str>>,
    error_kind: Option<ErrorKind>,
    propose_ms: f64,
    verify_ms: f64,
}

/// Keeps what records of a slice share, so that each document is parsed, and each policy applied to it, once.
struct Desk<'s> {
    context: &'s Context,
    start: Instant,
    sources: HashMap<DocumentHash, &'s SourceDocument>,
    opened: HashMap<DocumentHash, Result<Arc<Opened>, Problem>>,
    treated: HashMap<(DocumentHash, String), Arc<Treated>>,
}

impl Desk<'_> {
    fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1e3
    }

    fn outcome(&mut self, record: &Record) -> Outcome {
        let queue_ms = self.now_ms();
        let started_at_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_micros()).ok());
        let policy = record.policy();
        let opened = match &record.problem {
            Some(problem) => Err(problem.clone()),
            None => self.open(record),
        };
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
        self.row(record, &policy, identity, &treated, timing)
    }

    fn row(
        &self,
        record: &Record,
        policy: &PolicyName,
        identity: Identity,
        treated: &Treated,
        timing: Timing,
    ) -> Outcome {
        let attempts = u32::from(treated.error_kind.is_none());
        Outcome {
            record_id: record.id.clone(),
            position: record.position,
            shard: self.context.shard,
            manifest_path: record.manifest_path.clone(),
            document: record.problem.is_none().then_some(record.document),
            kind: identity.kind,
            namespace: identity.namespace,
            name: identity.name,
            policy_id: policy.as_str().to_owned(),
            raw_policy_id: record.raw_policy_id.clone(),
            source: "rules".to_owned(),
            mode: "rules".to_owned(),
            model: None,
            guardrails: self.context.config.guardrails.as_str().to_owned(),
            proposal: treated.proposal.clone(),
            attempts,
            attempt_errors: Vec::new(),
            status: treated.status,
            gates: treated.gates.clone(),
            fault: treated.fault,
            new_violations: treated.new_violations.clone(),
            errors: treated.errors.clone(),
            patched_yaml: treated.patched_yaml.clone(),
            usage: ModelUsage::default(),
            timing,
            worker: self.context.worker.to_string(),
            attempt: self.context.attempt,
            error_kind: treated.error_kind,
            published: None,
        }
    }

    fn open(&mut self, record: &Record) -> Result<Arc<Opened>, Problem> {
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
        let config = &self.context.config;
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
        let name = match self.context.config.guardrails {
            Guardrails::Paper => &record.raw_policy_id,
            _ => policy.as_str(),
        };
        let key = (record.document, name.to_owned());
        if let Some(known) = self.treated.get(&key) {
            return known.clone();
        }
        let neighbours = self.sources.get(&record.document).map(|source| &source.neighbours);
        let default = domain::record::Neighbours::Unknown;
        let neighbours = neighbours.unwrap_or(&default);
        let treated = contained("repairing the document", || self.repair(record, policy, opened, neighbours))
            .unwrap_or_else(Treated::failed);
        let treated = Arc::new(treated);
        self.treated.insert(key, treated.clone());
        treated
    }

    /// What the original saw of the record's document.
    fn source_of<'r>(&self, record: &'r Record) -> paper::Source<'r> {
        match self.context.config.documents {
            Documents::Record => paper::Source::Record { raw_policy_id: &record.raw_policy_id },
            Documents::Manifest => paper::Source::Manifest,
        }
    }

    fn repair(
        &self,
        record: &Record,
        policy: &PolicyName,
        opened: &Opened,
        neighbours: &domain::record::Neighbours,
    ) -> Treated {
        let config = &self.context.config;
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

/// The first placeholder of a template that was never rendered, as a reason that a person can act on.
pub(crate) fn unrendered(document: &Document) -> Option<String> {
    let found = template::unrendered(document);
    let (pointer, text) = found.first()?;
    let text: String = text.chars().take(80).collect();
    let more = if found.len() > 1 { format!(" and {} more places", found.len() - 1) } else { String::new() };
    Some(format!("unrendered template: {pointer} is {text:?}{more}; render the template and detect again"))
}

/// Runs `work`; a panic becomes a problem of the record.
fn contained<T>(doing: &str, work: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Problem {
        kind: ErrorKind::Internal,
        message: format!("a bug of the harness while {doing}; please report the record"),
    })
}

impl Treated {
    fn failed(problem: Problem) -> Self {
        let fault = match problem.kind {
            ErrorKind::NoRule => Fault::Proposer,
            ErrorKind::MissingDocument | ErrorKind::Internal => Fault::Environment,
            _ => Fault::Document,
        };
        Self {
            status: Status::Error,
            proposal: None,
            gates: Arc::new(Gates::NOT_RUN),
            fault,
            new_violations: Vec::new(),
            errors: vec![problem.message],
            patched_yaml: None,
            error_kind: Some(problem.kind),
            propose_ms: 0.0,
            verify_ms: 0.0,
        }
    }

    fn without_proposal(decision: Decision, policy: &PolicyName, opened: &Opened, propose_ms: f64) -> Self {
        let schema_before: GateResult = opened.before.schema.clone();
        let gates = Arc::new(Gates { schema_before, ..Gates::NOT_RUN });
        let fault = if opened.unrendered.is_some() { Fault::Document } else { Fault::None };
        let (status, reason, fault, error_kind) = match decision {
            Decision::NeedsReview { reason } => (Status::NeedsReview, reason, fault, None),
            Decision::NotApplicable { reason } => (Status::NotApplicable, reason, Fault::None, None),
            Decision::NoRule | Decision::Repair(_) => {
                let reason = format!("no rule exists for policy {:?}", policy.as_str());
                (Status::Error, reason, Fault::Proposer, Some(ErrorKind::NoRule))
            }
        };
        Self {
            status,
            gates,
            fault,
            errors: vec![reason],
            error_kind,
            propose_ms,
            proposal: None,
            new_violations: Vec::new(),
            patched_yaml: None,
            verify_ms: 0.0,
        }
    }

    fn judged(proposal: Proposal, verification: Verification, propose_ms: f64, verify_ms: f64) -> Self {
        let accepted = verification.accepted();
        let errors = verification.errors();
        let patched = verification.patched.as_ref().filter(|_| accepted);
        Self {
            status: if accepted { Status::Accepted } else { Status::Rejected },
            proposal: Some(Arc::new(proposal)),
            fault: if accepted { Fault::None } else { verification.fault },
            new_violations: verification.new_violations,
            errors,
            patched_yaml: patched.map(|value| Arc::from(to_yaml(value))),
            gates: Arc::new(verification.gates),
            error_kind: None,
            propose_ms,
            verify_ms,
        }
    }
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;
