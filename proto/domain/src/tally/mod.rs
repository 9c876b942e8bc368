//! Counts over the outcomes of a run, small enough to be sent with every commit, and additive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ProposerMode;
use crate::ids::RecordId;
use crate::outcome::{Caution, Fault, Outcome, Status, Verdict};
use crate::policy::PolicyId;

mod models;

pub use models::ModelTally;

/// Counts over outcomes, and why records were not accepted.
///
/// *Invariant*: adding up the tallies of any partition of a run, in any order, gives the tally of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tally {
    /// Outcomes counted.
    pub records: u64,
    /// Accepted repairs.
    pub accepted: u64,
    /// Refused by a gate, or broken before anyone touched them.
    pub rejected: u64,
    /// Waiting for a person's knowledge.
    pub needs_review: u64,
    /// Nothing to fix.
    pub not_applicable: u64,
    /// Not processable.
    pub errors: u64,
    /// Records whose document was valid before the patch.
    pub valid: u64,
    /// Of those, the accepted ones.
    pub valid_accepted: u64,
    /// Why records were not accepted: reason to its count and first example.
    pub reasons: BTreeMap<String, Reason>,
    /// How often each caution stands on an accepted repair.
    pub cautions: BTreeMap<Caution, u64>,
    /// Records about which a model was asked.
    #[serde(skip_serializing_if = "is_zero")]
    pub asked: u64,
    /// Of those, the ones to which no call gave an answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub unanswered: u64,
    /// Of those asked about, the ones whose repair is that of the rules.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_rules: u64,
    /// Of the repairs of the rules, the accepted ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_rules_accepted: u64,
    /// Accepted repairs of a program.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_program_accepted: u64,
    /// Records about whose document an API server contradicts the embedded rules, before or after the patch.
    #[serde(skip_serializing_if = "is_zero")]
    pub disagreements: u64,
    /// The first of them in the corpus, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disagreeing: Vec<Disagreement>,
    /// Which models were asked, and which answered.
    #[serde(skip_serializing_if = "ModelTally::is_empty")]
    pub models: ModelTally,
}

/// A record about whose document an API server contradicts the embedded rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {
    /// Place in the corpus.
    pub position: u64,
    /// The record.
    pub record: RecordId,
    /// What one says and the other does not, cut to a readable length.
    pub message: String,
}

/// Disagreements that a tally names.
const DISAGREEING: usize = 5;

/// A release that does not know a count refuses it; runs without a model have none of them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One reason why records were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// `rejected`, `needs_review` or `error`.
    pub status: Status,
    /// The gate that refused, the policy that needs review, or the kind of error.
    pub cause: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// How many records.
    pub count: u64,
    /// Place of the example in the corpus.
    pub position: u64,
    /// The example: the first record of the corpus with this reason.
    pub example: RecordId,
    /// Its first error, cut to a readable length.
    pub message: String,
}

/// Longest example message that is kept, in characters.
const MESSAGE_CHARS: usize = 200;

impl Tally {
    /// Counts `outcomes`.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            tally.count(outcome);
        }
        tally
    }

    /// Counts one more outcome.
    pub fn count(&mut self, outcome: &Outcome) {
        self.records += 1;
        let valid = outcome.gates.schema_before.verdict == Verdict::Passed;
        self.valid += u64::from(valid);
        match outcome.status {
            Status::Accepted => {
                self.accepted += 1;
                self.valid_accepted += u64::from(valid);
                for caution in outcome.proposal.iter().flat_map(|proposal| &proposal.cautions) {
                    *self.cautions.entry(*caution).or_default() += 1;
                }
            }
            Status::Rejected => self.rejected += 1,
            Status::NeedsReview => self.needs_review += 1,
            Status::NotApplicable => self.not_applicable += 1,
            Status::Error => self.errors += 1,
        }
        if outcome.usage.samples.is_some() {
            self.asked += 1;
            self.unanswered += u64::from(outcome.usage.total_tokens.is_none());
            let by_rules = outcome.source == ProposerMode::Rules.as_str() && outcome.proposal.is_some();
            self.by_rules += u64::from(by_rules);
            self.by_rules_accepted += u64::from(by_rules && outcome.status == Status::Accepted);
        }
        self.models.count(&outcome.usage);
        let by_program = outcome.source == ProposerMode::Command.as_str();
        self.by_program_accepted += u64::from(by_program && outcome.status == Status::Accepted);
        if let Some(message) = disagreement(outcome) {
            self.disagreements += 1;
            let (position, record) = (outcome.position, outcome.record_id.clone());
            self.add_disagreeing(&[Disagreement { position, record, message }]);
        }
        if let Some(cause) = cause(outcome) {
            let reason = Reason {
                status: outcome.status,
                cause,
                fault: outcome.fault,
                count: 1,
                position: outcome.position,
                example: outcome.record_id.clone(),
                message: first_error(outcome),
            };
            self.add_reason(&reason);
        }
    }

    /// Adds the counts of `other`. A sum beyond the range of a count stays at its end: counts may come from anywhere.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.records, other.records),
            (&mut self.accepted, other.accepted),
            (&mut self.rejected, other.rejected),
            (&mut self.needs_review, other.needs_review),
            (&mut self.not_applicable, other.not_applicable),
            (&mut self.errors, other.errors),
            (&mut self.valid, other.valid),
            (&mut self.valid_accepted, other.valid_accepted),
            (&mut self.asked, other.asked),
            (&mut self.unanswered, other.unanswered),
            (&mut self.by_rules, other.by_rules),
            (&mut self.by_rules_accepted, other.by_rules_accepted),
            (&mut self.by_program_accepted, other.by_program_accepted),
            (&mut self.disagreements, other.disagreements),
        ] {
            *sum = sum.saturating_add(count);
        }
        self.models.add(&other.models);
        self.add_disagreeing(&other.disagreeing);
        for reason in other.reasons.values() {
            self.add_reason(reason);
        }
        for (caution, count) in &other.cautions {
            let sum = self.cautions.entry(*caution).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// The reasons of `status`, most frequent first.
    pub fn top_reasons(&self, status: Status) -> Vec<&Reason> {
        let mut reasons: Vec<&Reason> =
            self.reasons.values().filter(|reason| reason.status == status).collect();
        reasons.sort_by_key(|reason| (std::cmp::Reverse(reason.count), reason.position));
        reasons
    }

    fn add_disagreeing(&mut self, others: &[Disagreement]) {
        self.disagreeing.extend(others.iter().take(DISAGREEING).cloned());
        self.disagreeing.sort_by_key(|one| one.position);
        self.disagreeing.truncate(DISAGREEING);
    }

    fn add_reason(&mut self, reason: &Reason) {
        let key = format!("{} {} {}", reason.status, reason.cause, reason.fault);
        match self.reasons.get_mut(&key) {
            None => {
                self.reasons.insert(key, reason.clone());
            }
            Some(known) => {
                let count = known.count.saturating_add(reason.count);
                if reason.position < known.position {
                    *known = reason.clone();
                }
                known.count = count;
            }
        }
    }
}

/// A word from a bounded set: the number of reasons must not grow with the corpus.
fn cause(outcome: &Outcome) -> Option<String> {
    let cause = match outcome.status {
        Status::Accepted | Status::NotApplicable => return None,
        Status::Rejected => outcome.gates.first_failed().map_or_else(
            || {
                let before = outcome.gates.schema_before.verdict == Verdict::Failed;
                if before { "schema_before" } else { "other" }
            },
            |gate| gate.as_str(),
        ),
        Status::NeedsReview => PolicyId::find(&outcome.policy_id).map_or("other", PolicyId::as_str),
        Status::Error => outcome.error_kind.map_or("other", |kind| kind.as_str()),
    };
    Some(cause.to_owned())
}

/// What an API server answered that the embedded rules do not say, or the other way round; `None`: they agree, or are not
/// compared.
fn disagreement(outcome: &Outcome) -> Option<String> {
    let server = outcome.server.as_ref().filter(|server| server.disagrees == Some(true))?;
    let gates = &outcome.gates;
    let compared = [
        ("the patched document", &gates.schema, &server.after),
        ("the document", &gates.schema_before, &server.before),
    ];
    for (what, embedded, answer) in compared {
        let Some(answer) = answer else { continue };
        let errors = answer.errors();
        let refusal = match (embedded.verdict, answer.class.accepts()) {
            (Verdict::Passed, false) => format!("the server refuses {what}: {}", first(&errors)),
            (Verdict::Failed, true) => {
                format!("the embedded rules alone refuse {what}: {}", first(&embedded.errors))
            }
            _ => continue,
        };
        return Some(readable(&refusal));
    }
    // Of a companion of the repair.
    Some("the server contradicts the embedded rules about a companion".to_owned())
}

fn first(errors: &[String]) -> &str {
    errors.first().map_or("", String::as_str)
}

fn first_error(outcome: &Outcome) -> String {
    readable(first(&outcome.errors))
}

fn readable(text: &str) -> String {
    let mut cut: String = text.chars().take(MESSAGE_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

impl Tally {
    /// How many records ended with which status; a status that none ended with is left out.
    pub fn counts(&self) -> BTreeMap<Status, u64> {
        [
            (Status::Accepted, self.accepted),
            (Status::Rejected, self.rejected),
            (Status::NeedsReview, self.needs_review),
            (Status::NotApplicable, self.not_applicable),
            (Status::Error, self.errors),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::api_server::SchemaDepth;
    use crate::api_server::{ServerAnswer, ServerAnswers, ServerClass};
    use crate::ids::ShardIndex;
    use crate::outcome::{ErrorKind, Gate, GateResult, Gates, ModelUsage, Proposal, Timing};

    fn outcome(position: u64, status: Status, variant: usize) -> Outcome {
        let mut gates = Gates::NOT_RUN;
        gates.schema_before = GateResult::from_errors(vec!["bad".to_owned(); variant % 2]);
        if status == Status::Rejected && variant > 1 {
            let gate = Gate::ALL[variant % Gate::ALL.len()];
            let failed = GateResult::from_errors(vec!["no".to_owned()]);
            match gate {
                Gate::Apply => gates.apply = failed,
                Gate::Policy => gates.policy = failed,
                Gate::Safety => gates.safety = failed,
                Gate::Schema => gates.schema = failed,
                Gate::Rescan => gates.rescan = failed,
            }
        }
        let proposal = Proposal { cautions: vec![Caution::ALL[variant]], ..Proposal::default() };
        Outcome {
            record_id: RecordId::new(format!("r{position}")).unwrap(),
            position,
            shard: ShardIndex(0),
            manifest_path: String::new(),
            document: None,
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            policy_id: "dangling_service".to_owned(),
            raw_policy_id: String::new(),
            source: "rules".to_owned(),
            mode: "rules".to_owned(),
            model: None,
            guardrails: "targeted".to_owned(),
            proposal: Some(Arc::new(proposal)),
            attempts: 1,
            attempt_errors: vec![],
            status,
            gates: Arc::new(gates),
            fault: Fault::None,
            new_violations: vec![],
            errors: vec![format!("message {position}")],
            patched_yaml: None,
            usage: ModelUsage {
                samples: (variant > 2).then_some(1),
                total_tokens: (variant > 4).then_some(9),
                ..ModelUsage::default()
            },
            timing: Timing::default(),
            worker: String::new(),
            attempt: 1,
            error_kind: (status == Status::Error).then_some(ErrorKind::NoRule),
            schema_depth: Some(SchemaDepth::Embedded),
            server: None,
            published: None,
            tool_rescans: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn disagreements_are_counted_and_the_first_are_named() {
        let disagreeing = |position| {
            let mut row = outcome(position, Status::Accepted, 0);
            let answer = ServerAnswer { class: ServerClass::Invalid, causes: Vec::new() };
            row.server = Some(Arc::new(ServerAnswers {
                version: "v1.37.2".to_owned(),
                before: None,
                after: Some(answer),
                warnings: Vec::new(),
                disagrees: Some(true),
            }));
            let mut gates = Gates::NOT_RUN;
            gates.schema = GateResult::from_errors(Vec::new());
            row.gates = Arc::new(gates);
            row
        };
        let rows: Vec<Outcome> = (0..20).map(disagreeing).collect();
        let (one, other) = rows.split_at(3);
        let mut tally = Tally::of(other);
        tally.add(&Tally::of(one));
        assert_eq!(tally, Tally::of(&rows));
        assert_eq!((tally.disagreements, tally.disagreeing.len()), (20, DISAGREEING));
        assert_eq!(tally.disagreeing[0].record.as_str(), "r0");
        assert_eq!(tally.disagreeing[0].message, "the server refuses the patched document: invalid");
        let text = serde_json::to_string(&Tally::of(&[outcome(0, Status::Accepted, 0)])).unwrap();
        assert!(!text.contains("disagree"), "a release that does not know them refuses them: {text}");
    }

    #[test]
    fn counts_what_people_ask_for() {
        let outcomes = [
            outcome(0, Status::Accepted, 0),
            outcome(1, Status::Rejected, 1),
            outcome(2, Status::NeedsReview, 0),
            outcome(3, Status::Error, 0),
            outcome(4, Status::Error, 0),
        ];
        let tally = Tally::of(&outcomes);
        assert_eq!((tally.records, tally.accepted, tally.errors, tally.valid), (5, 1, 2, 4));
        let errors = tally.top_reasons(Status::Error);
        assert_eq!(errors[0].cause, "no_rule");
        assert_eq!((errors[0].count, errors[0].example.as_str()), (2, "r3"));
        assert_eq!(tally.top_reasons(Status::Rejected)[0].cause, "schema_before");
        assert_eq!(tally.top_reasons(Status::NeedsReview)[0].cause, "dangling_service");
    }

    #[test]
    fn what_the_rules_did_for_a_model_is_told_apart() {
        // Of the rules alone, without an answer, and with one that the rules stood in for.
        let mut outcomes = [0, 3, 5, 6].map(|variant| outcome(variant as u64, Status::Accepted, variant));
        outcomes[3].source = "grok".to_owned();
        let tally = Tally::of(&outcomes);
        assert_eq!((tally.accepted, tally.asked, tally.unanswered), (4, 3, 1));
        assert_eq!((tally.by_rules, tally.by_rules_accepted), (2, 2));
        let rejected = Tally::of(&[outcome(0, Status::Rejected, 5)]);
        assert_eq!((rejected.by_rules, rejected.by_rules_accepted), (1, 0));
        let without = serde_json::to_string(&Tally::of(&outcomes[..1])).unwrap();
        assert!(!without.contains("asked"), "a run without a model has none of these counts: {without}");
        assert_eq!(serde_json::from_str::<Tally>(&without).unwrap().asked, 0);
    }

    proptest! {
        #[test]
        fn parts_in_any_order_add_up_to_the_whole(
            rows in prop::collection::vec((0usize..5, 0usize..8, 0usize..3), 0..40),
        ) {
            let outcomes: Vec<Outcome> = rows
                .iter()
                .enumerate()
                .map(|(at, (status, variant, _))| outcome(at as u64, Status::ALL[*status], *variant))
                .collect();
            let mut parts = vec![Tally::default(); 3];
            for (row, outcome) in rows.iter().zip(&outcomes) {
                parts[row.2].count(outcome);
            }
            let mut sum = Tally::default();
            for part in parts.iter().rev() {
                sum.add(part);
            }
            prop_assert_eq!(sum, Tally::of(&outcomes));
        }
    }
}
