//! The repair of one policy's violation in one document, shared by the records that name both.

use std::sync::Arc;

use domain::api_server::ServerAnswers;
use domain::config::{ProposerMode, RunConfig};
use domain::outcome::{Caution, ErrorKind, Fault, Gate, Gates, ModelUsage, Proposal, Status};
use domain::policy::PolicyName;
use domain::record::Problem;
use engine::propose::Decision;
use engine::verify::{ServerResult, Verification};
use engine::yaml::to_yaml;

use super::documents::ParsedDocument;
use super::row_masks::RowMasks;
use super::tool_rescan::Repaired;

/// The repair of one policy's violation in one document, or why there is none.
#[derive(Clone)]
pub(super) struct RepairResult {
    /// The proposer of the chosen patch.
    pub(super) source: ProposerMode,
    pub(super) attempts: u32,
    pub(super) attempt_errors: Vec<String>,
    pub(super) usage: ModelUsage,
    pub(super) status: Status,
    pub(super) proposal: Option<Arc<Proposal>>,
    pub(super) gates: Arc<Gates>,
    pub(super) fault: Fault,
    pub(super) new_violations: Vec<String>,
    pub(super) errors: Vec<String>,
    pub(super) patched_yaml: Option<Arc<str>>,
    pub(super) error_kind: Option<ErrorKind>,
    /// What the API server answered; `None`: it was not asked.
    pub(super) server: Option<Arc<ServerAnswers>>,
    /// The accepted repair without masks, for other scanners; `None`: none is asked.
    pub(super) repaired: Option<Arc<Repaired>>,
    /// CPU time without the gates on the chosen patch; `None`: nothing was computed.
    pub(super) propose_ms: Option<f64>,
    /// Duration of LLM calls, failed ones included; `None`: there was none.
    pub(super) llm_ms: Option<f64>,
}

impl RepairResult {
    /// An error without a proposal, which the constructors below override.
    fn empty() -> Self {
        Self {
            source: ProposerMode::Rules,
            attempts: 1,
            attempt_errors: Vec::new(),
            usage: ModelUsage::default(),
            status: Status::Error,
            proposal: None,
            gates: Arc::new(Gates::NOT_RUN),
            fault: Fault::None,
            new_violations: Vec::new(),
            errors: Vec::new(),
            patched_yaml: None,
            error_kind: None,
            server: None,
            repaired: None,
            propose_ms: None,
            llm_ms: None,
        }
    }

    /// The record has a problem, or the program a bug. The message may quote a document that does not parse.
    pub(super) fn failed(problem: Problem) -> Self {
        let fault = match problem.kind {
            ErrorKind::NoRule | ErrorKind::NoAnswer => Fault::Proposer,
            ErrorKind::MissingDocument | ErrorKind::Internal => Fault::Environment,
            _ => Fault::Document,
        };
        let Problem { kind, message } = problem;
        let errors = vec![sensitive::mask_text(&message)];
        Self { fault, errors, error_kind: Some(kind), attempts: 0, ..Self::empty() }
    }

    /// There is no patch to verify.
    pub(super) fn without_proposal(
        decision: Decision,
        policy: &PolicyName,
        parsed: &ParsedDocument,
        config: &RunConfig,
    ) -> Self {
        let fault = if parsed.unrendered.is_some() { Fault::Document } else { Fault::None };
        let (status, reason, fault, error_kind) = match decision {
            Decision::NeedsReview { reason } => (Status::NeedsReview, reason, fault, None),
            Decision::NotApplicable { reason } => (Status::NotApplicable, reason, Fault::None, None),
            Decision::NoRule | Decision::Repair(_) => {
                let reason = format!("no rule exists for policy {:?}", policy.as_str());
                (Status::Error, reason, Fault::Proposer, Some(ErrorKind::NoRule))
            }
        };
        let (errors, attempts) = (vec![reason], u32::from(error_kind.is_none()));
        let masks = RowMasks::new(&parsed.document, &parsed.masks, config, ProposerMode::Rules, false);
        let errors = masks.texts(errors);
        Self { attempts, status, fault, errors, error_kind, ..Self::empty() }.examined(parsed, &masks)
    }

    /// The LLM gave no usable response, and there is no fallback.
    pub(super) fn no_answer(errors: &[String], parsed: Option<(&ParsedDocument, &RunConfig)>) -> Self {
        let message =
            if errors.is_empty() { "the model gave no answer".to_owned() } else { errors.join("; ") };
        let failed = Self::failed(Problem { kind: ErrorKind::NoAnswer, message });
        match parsed {
            Some((parsed, config)) => {
                let masks =
                    RowMasks::new(&parsed.document, &parsed.masks, config, ProposerMode::Rules, false);
                failed.examined(parsed, &masks)
            }
            None => failed,
        }
    }

    /// A proposal of `source` and its verification by the gates, which count its collateral whoever proposed it.
    pub(super) fn judged(
        source: ProposerMode,
        mut proposal: Proposal,
        verification: Verification,
        parsed: &ParsedDocument,
        config: &RunConfig,
    ) -> Self {
        proposal.collateral_ops = u32::try_from(verification.collateral.len()).unwrap_or(u32::MAX);
        if proposal.collateral_ops > 0 {
            proposal.cautions.push(Caution::Collateral);
        }
        let accepted = verification.accepted();
        let companions = !proposal.companions.is_empty();
        let mut masks = RowMasks::new(&parsed.document, &parsed.masks, config, source, companions);
        let errors = masks.texts(verification.errors());
        let is_rescanned = accepted && !config.verifier.rescan.is_builtin_alone();
        let repaired = verification.patched.as_ref().filter(|_| is_rescanned).map(|document| {
            Arc::new(Repaired { document: document.clone(), companions: proposal.companions.clone() })
        });
        // The document first: its masks have the lowest numbers.
        let patched = verification.patched.filter(|_| accepted).map(|patched| to_yaml(&masks.value(patched)));
        let proposal = masks.proposal(proposal);
        let server = server_answers(parsed.before.server.as_ref(), verification.server.as_ref(), &masks);
        Self {
            source,
            status: if accepted { Status::Accepted } else { Status::Rejected },
            proposal: Some(Arc::new(proposal)),
            fault: if accepted { Fault::None } else { verification.fault },
            new_violations: masks.texts(verification.new_violations),
            errors,
            patched_yaml: patched.map(Arc::from),
            gates: Arc::new(masks.gates(verification.gates)),
            server,
            repaired,
            ..Self::empty()
        }
    }

    /// Duration of the gates on the chosen patch; `None`: none ran.
    pub(super) fn verify_ms(&self) -> Option<f64> {
        Gate::ALL.iter().filter_map(|gate| self.gates.of(*gate).ms).reduce(|sum, ms| sum + ms)
    }

    /// Whether every gate accepted the LLM's own patch, not a fallback of the rules.
    pub(super) fn is_passed_sample(&self) -> bool {
        self.is_accepted() && self.source != ProposerMode::Rules
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.status == Status::Accepted
    }

    /// The usage for one of the records that share the result: for all but the first it is a cache hit.
    pub(super) fn usage_of(&self, first: bool) -> ModelUsage {
        let cache_hit = self.usage.cache_hit.map(|hit| hit || !first);
        ModelUsage { cache_hit, ..self.usage.clone() }
    }

    /// Sets the gate before any patch; no other gate ran.
    fn examined(mut self, parsed: &ParsedDocument, masks: &RowMasks<'_>) -> Self {
        let schema_before = parsed.before.schema.clone();
        self.gates = Arc::new(masks.gates(Gates { schema_before, ..Gates::NOT_RUN }));
        self.server = server_answers(parsed.before.server.as_ref(), None, masks);
        self
    }
}

/// What a row keeps of the server's answers.
fn server_answers(
    before: Option<&ServerResult>,
    after: Option<&ServerResult>,
    masks: &RowMasks<'_>,
) -> Option<Arc<ServerAnswers>> {
    let version = before.or(after)?.version.to_string();
    let answer = |result: &ServerResult| masks.answer(result.answer.clone());
    let compared = || before.into_iter().chain(after).filter_map(|result| result.disagrees);
    Some(Arc::new(ServerAnswers {
        version,
        before: before.map(answer),
        after: after.map(answer),
        warnings: masks.texts(after.map(|after| after.warnings.clone()).unwrap_or_default()),
        disagrees: compared().reduce(|one, other| one || other),
    }))
}
