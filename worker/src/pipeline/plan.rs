//! Plans a slice for the LLM proposer: which records need a proposal, and which share one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::config::{Guardrails, RunConfig};
use domain::ids::DocumentHash;
use domain::policy::PolicyName;
use domain::record::{Neighbours, Record, Slice};
use engine::document::Identity;
use engine::k8s::View;
use engine::propose::dialogue::{Case, Dialogue, Step};
use engine::propose::{Decision, rules};
use engine::verify::Verifier;

use super::context::{ms_since, unix_us, within_bounds};
use super::documents::{DocumentCache, ParsedDocument};
use super::record::Computed;
use super::repair_result::RepairResult;
use crate::server_judge::LeaseJudge;

/// A slice that is ready for the LLM proposer.
pub(crate) struct SlicePlan {
    pub(super) records: Vec<PlannedRecord>,
    /// Distinct proposals to make.
    pub(crate) tasks: Vec<ProposalTask>,
}

/// What to do with a record, and when that was decided.
pub(super) struct PlannedRecord {
    pub(super) policy: PolicyName,
    pub(super) identity: Identity,
    pub(super) action: Action,
    /// Whether the document was parsed for this record.
    pub(super) parsed_document: bool,
    pub(super) started_at_us: Option<i64>,
    /// When its turn began, ms after the slice arrived.
    pub(super) turn_ms: f64,
    /// When its turn ended, ms after the slice arrived.
    pub(super) planned_ms: f64,
}

pub(super) enum Action {
    /// Skip the LLM: the result is known.
    Skip(Arc<RepairResult>),
    /// Make a proposal with the LLM.
    Ask {
        /// Its index in [`SlicePlan::tasks`].
        task: usize,
        /// Whether this record is the first of the task.
        first: bool,
    },
}

/// A proposal to make: records with equal document, policy and message share it.
pub(crate) struct ProposalTask {
    pub(super) number: usize,
    pub(super) parsed: Arc<ParsedDocument>,
    /// Index of the document in the slice.
    source: usize,
    pub(super) policy: PolicyName,
    violation: String,
    /// CPU time of the decision that the LLM is needed.
    pub(super) decided_ms: f64,
    /// When that was decided, ms after the slice arrived.
    pub(super) planned_ms: f64,
}

impl ProposalTask {
    /// The document of the task in its slice.
    pub(crate) fn document(&self, slice: &Slice) -> Option<DocumentHash> {
        slice.documents.get(self.source).map(|document| document.hash)
    }
}

/// Parses the documents of a slice, which arrived at `arrived`, asks `server` about them where the run needs one, and plans
/// the proposals. Blocks.
pub(crate) fn plan(
    slice: &Slice,
    config: &RunConfig,
    arrived: Instant,
    server: Option<&LeaseJudge>,
) -> SlicePlan {
    let mut planner = Planner {
        config,
        arrived,
        documents: DocumentCache::new(slice, config, server),
        sources: slice.documents.iter().enumerate().map(|(index, source)| (source.hash, index)).collect(),
        numbers: HashMap::new(),
        plan: SlicePlan { records: Vec::with_capacity(slice.records.len()), tasks: Vec::new() },
    };
    for record in &slice.records {
        planner.add(record);
    }
    planner.plan
}

struct Planner<'s> {
    config: &'s RunConfig,
    arrived: Instant,
    documents: DocumentCache<'s>,
    sources: HashMap<DocumentHash, usize>,
    numbers: HashMap<(DocumentHash, &'s str, String), usize>,
    plan: SlicePlan,
}

impl<'s> Planner<'s> {
    fn now_ms(&self) -> f64 {
        ms_since(self.arrived)
    }

    fn add(&mut self, record: &'s Record) {
        let (turn_ms, started_at_us) = (self.now_ms(), unix_us());
        let policy = record.policy();
        let arrived = self.arrived;
        let lookup = self.documents.look_up(record, &|| ms_since(arrived));
        let (identity, action) = match lookup.parsed {
            Err(problem) => (Identity::default(), Action::Skip(Arc::new(RepairResult::failed(problem)))),
            Ok(parsed) => (parsed.identity(self.config), self.action(record, &policy, parsed)),
        };
        let planned_ms = self.now_ms();
        if let Action::Ask { task, first: true } = action
            && let Some(task) = self.plan.tasks.get_mut(task)
        {
            task.planned_ms = planned_ms;
        }
        self.plan.records.push(PlannedRecord {
            policy,
            identity,
            action,
            parsed_document: lookup.first,
            started_at_us,
            turn_ms,
            planned_ms,
        });
    }

    fn action(&mut self, record: &'s Record, policy: &PolicyName, parsed: Arc<ParsedDocument>) -> Action {
        let key = (record.document, record.violation_text.as_str(), policy.as_str().to_owned());
        if let Some(task) = self.numbers.get(&key) {
            return Action::Ask { task: *task, first: false };
        }
        let start = self.now_ms();
        let neighbours = self.documents.neighbours(record);
        let reason = within_bounds("looking at the document", &self.config.limits, || {
            skip_reason(&parsed, neighbours, policy, self.config)
        });
        let decided_ms = self.now_ms() - start;
        let skipped = match reason {
            Ok(None) => None,
            Ok(Some(decision)) => {
                Some(RepairResult::without_proposal(decision, policy, &parsed, self.config))
            }
            Err(problem) => Some(RepairResult::failed(problem)),
        };
        if let Some(result) = skipped {
            return Action::Skip(Arc::new(RepairResult { propose_ms: Some(decided_ms), ..result }));
        }
        let number = self.plan.tasks.len();
        self.numbers.insert(key, number);
        self.plan.tasks.push(ProposalTask {
            number,
            parsed,
            source: self.sources.get(&record.document).copied().unwrap_or(usize::MAX),
            policy: policy.clone(),
            violation: record.violation_text.clone(),
            decided_ms,
            planned_ms: start + decided_ms,
        });
        Action::Ask { task: number, first: true }
    }
}

impl SlicePlan {
    /// How many records need a proposal of the LLM.
    pub(crate) fn llm_records(&self) -> u64 {
        self.records.iter().filter(|planned| matches!(planned.action, Action::Ask { .. })).count() as u64
    }
}

impl PlannedRecord {
    /// Which work was done for this record.
    pub(super) const fn computed(&self) -> Computed {
        let repair = matches!(self.action, Action::Skip(_) | Action::Ask { first: true, .. });
        Computed { document: self.parsed_document, repair }
    }
}

impl ProposalTask {
    pub(crate) fn case<'a>(
        &'a self,
        slice: &'a Slice,
        config: &'a RunConfig,
        clock: &'a dyn Fn() -> f64,
        verify: Verifier<'a>,
    ) -> Case<'a> {
        Case {
            document: &self.parsed.document,
            neighbours: slice
                .documents
                .get(self.source)
                .map_or(&Neighbours::Unknown, |source| &source.neighbours),
            before: &self.parsed.before,
            policy: &self.policy,
            violation: &self.violation,
            config,
            clock,
            verify,
        }
    }

    /// Begins the dialogue about this task, of which `case` is the case.
    pub(crate) fn begin(&self, case: &Case<'_>) -> (Dialogue, Step) {
        Dialogue::begin(case, self.parsed.masked(case.config))
    }
}

/// Why the LLM is skipped: an unrendered template, a repair that what stands around the document leaves to a person, or
/// nothing to fix. Without guardrails it is never skipped, because
/// its patches for such records are part of what is measured.
fn skip_reason(
    parsed: &ParsedDocument,
    neighbours: &Neighbours,
    policy: &PolicyName,
    config: &RunConfig,
) -> Option<Decision> {
    if config.guardrails == Guardrails::None {
        return None;
    }
    if let Some(reason) = &parsed.unrendered {
        return Some(Decision::NeedsReview { reason: reason.clone() });
    }
    let view = View::new(&parsed.document, neighbours);
    rules::decided_without_model(&view, policy, &config.rules)
}
