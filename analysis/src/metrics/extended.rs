//! Metrics that the paper does not have: faults, intervals, effectiveness, times.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use domain::api_server::SchemaDepth;
use domain::config::ProposerMode;
use domain::outcome::{ErrorKind, Fault, Status, UNRENDERED};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use results::paper_files::IMPORT;
use results::schema::{self, COLUMNS, Kind};
use serde::Serialize;

use super::pass::{PassAtK, pass_at_k};
use super::served::ByModel;
use super::tool_rescan::{self, ToolRescan};
use crate::load::AnalysisError;
use crate::load::Results;
use crate::load::cases::label;
use crate::load::rows::{Gates, Later, NotFinite, Present, Texts, rows};
use crate::stats::{Counts, Median, Proportion, Sample, count};

/// Columns of tokens.
const TOKENS: [&str; 4] =
    [schema::PROMPT_TOKENS, schema::COMPLETION_TOKENS, schema::REASONING_TOKENS, schema::TOTAL_TOKENS];

/// Timing columns, in processing order.
const TIMES: [&str; 10] = [
    schema::QUEUE_MS,
    schema::PROPOSE_MS,
    schema::LLM_MS,
    schema::VERIFY_MS,
    schema::APPLY_MS,
    schema::POLICY_MS,
    schema::SAFETY_MS,
    schema::SCHEMA_MS,
    schema::RESCAN_MS,
    schema::TOTAL_MS,
];

/// Our metrics. Proportions carry a Wilson interval at 95 %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Extended {
    /// The runs that the rows belong to.
    pub(crate) runs: Vec<String>,
    pub(crate) records: u64,
    /// Distinct documents.
    pub(crate) documents: u64,
    /// Distinct documents with placeholders of a template that was never rendered. The schema gate fails them, unless it did
    /// not run or does not know their kind.
    pub(crate) unrendered_documents: u64,
    /// Rows by status; every status has a key.
    pub(crate) status: BTreeMap<&'static str, u64>,
    /// Accepted, of the rows whose document was valid before: both by the rules of an API server, whose judge
    /// `judged_by` names.
    pub(crate) accepted_of_valid: Proportion,
    /// What decided whether these documents are valid, by rows: the embedded rules, a server with its version, or
    /// `not recorded` in runs of earlier releases and of others.
    pub(crate) judged_by: BTreeMap<String, u64>,
    /// Of `both`: rows whose server contradicts the embedded rules; null where the two were not compared.
    pub(crate) server_disagrees: Option<Proportion>,
    /// Accepted, of all rows.
    pub(crate) accepted_of_all: Proportion,
    /// Accepted rows by the source of the repair: `rules`, or the model of a provider.
    pub(crate) accepted_by_source: BTreeMap<String, u64>,
    /// What a model that was asked contributed; null where none was.
    pub(crate) model: Option<ModelShare>,
    /// Effective, of the accepted rows that were verified here: the rescan passed without new violations, and no
    /// operation was collateral. Imported rows do not have this information.
    pub(crate) effective_of_accepted: Proportion,
    /// What each scanner of `verifier.rescan` finds in the accepted repairs; empty where none was asked.
    pub(crate) rescanned_by: BTreeMap<&'static str, ToolRescan>,
    pub(crate) needs_review: Proportion,
    /// Rows with a fault, by fault; every fault has a key.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Verdicts by gate, in the order they run.
    pub(crate) gates: Vec<GateTally>,
    /// Rows that could not be processed, by kind of error.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Accepted rows by caution; a row may have several.
    pub(crate) cautions: BTreeMap<String, u64>,
    /// Median operations of the accepted patches.
    pub(crate) median_patch_ops: Option<Median>,
    /// 95th percentile (linear) of the same.
    pub(crate) p95_patch_ops: Option<f64>,
    pub(crate) max_patch_ops: Option<u64>,
    /// Operations that the violations did not require, over all rows.
    pub(crate) collateral_ops: u64,
    /// Accepted rows whose repair requires companion objects.
    pub(crate) with_companions: u64,
    /// Times by column, without columns that were not measured.
    pub(crate) latency_ms: BTreeMap<&'static str, Latency>,
    /// Tokens of all rows, whatever their source.
    pub(crate) tokens: BTreeMap<&'static str, u64>,
    /// Cost of all rows in US dollars; null when no row has one.
    pub(crate) cost_usd: Option<f64>,
    /// Rows about which a model was asked, by the one that answered.
    pub(crate) by_model: ByModel,
    /// pass@k for each `k`; empty without a model.
    pub(crate) pass_at_k: Vec<PassAtK>,
    /// Non-finite timings and prices; they count as not measured.
    pub(crate) not_finite: u64,
}

/// Rows about which a model was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ModelShare {
    /// Those rows.
    pub(crate) asked: u64,
    /// Of them, the rows to which no call gave an answer.
    pub(crate) unanswered: u64,
    /// Of them, the rows whose repair is that of the rules.
    pub(crate) by_rules: u64,
    /// Of these repairs, the accepted ones.
    pub(crate) by_rules_accepted: u64,
}

/// Verdicts of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GateTally {
    /// `schema_before` is the schema gate on the original document.
    pub(crate) gate: &'static str,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) not_run: u64,
}

/// The distribution of a time, in ms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// Rows with a measured time, i.e. more than 0 ms.
    pub(crate) n: u64,
    pub(crate) mean: f64,
    pub(crate) median: f64,
    /// 95th percentile, linear.
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

rows! {
    struct Row<'a> {
        run: &'a str = [schema::RUN_ID],
        document: Option<&'a str> = [schema::DOCUMENT_HASH],
        status: &'a str = [schema::STATUS],
        accepted: bool = [schema::ACCEPTED],
        gates: Gates = Gates::COLUMNS,
        fault: &'a str = [schema::FAULT],
        error: Option<&'a str> = [schema::ERROR_KIND],
        errors: Texts<'a> = [schema::ERRORS],
        errors_before: Texts<'a> = [schema::SCHEMA_BEFORE_ERRORS],
        worker: &'a str = [schema::WORKER],
        new_violations: Texts<'a> = [schema::NEW_VIOLATIONS],
        cautions: Texts<'a> = [schema::CAUTIONS],
        patch: Present = [schema::PATCH],
        patch_ops: u32 = [schema::PATCH_OPS],
        collateral_ops: u32 = [schema::COLLATERAL_OPS],
        companions: Present = [schema::COMPANIONS],
        tokens: [u64; 4] = TOKENS,
        cost_usd: Option<f64> = [schema::COST_USD],
        times: [Option<f64>; 10] = TIMES,
        not_finite: NotFinite = reals(),
        source: &'a str = [schema::SOURCE],
        total_tokens: Option<u64> = [schema::TOTAL_TOKENS],
        cost_source: Later<Option<&'a str>> = [schema::COST_SOURCE],
        requested: Later<Option<&'a str>> = [schema::MODEL_REQUESTED],
        served: Later<Option<&'a str>> = [schema::MODEL_SERVED],
        samples: u64 = [schema::SAMPLES],
        samples_passed: u64 = [schema::SAMPLES_PASSED],
        depth: Later<Option<&'a str>> = [schema::SCHEMA_DEPTH],
        server: Later<Option<&'a str>> = [schema::SERVER_VERSION],
        disagrees: Later<Option<bool>> = [schema::SERVER_DISAGREES],
        cleared: Later<[Option<bool>; tool_rescan::TOOLS]> = tool_rescan::CLEARED,
        new: Later<[Option<Texts<'a>>; tool_rescan::TOOLS]> = tool_rescan::NEW,
    }
}

impl Row<'_> {
    fn is_unrendered(&self) -> bool {
        let said = |text: &str| text.starts_with(UNRENDERED);
        self.error == Some(ErrorKind::UnrenderedTemplate.as_str())
            || self.errors.iter().any(said)
            || self.errors_before.iter().any(said)
    }

    /// What decided the schema gate.
    fn judge(&self) -> Cow<'static, str> {
        match (self.depth.0.and_then(SchemaDepth::parse), self.server.0) {
            (None, _) => "not recorded".into(),
            (Some(SchemaDepth::Server), Some(version)) => format!("server {version}").into(),
            (Some(SchemaDepth::Server), None) => "a server of unknown version".into(),
            (Some(SchemaDepth::Embedded | SchemaDepth::Both), _) => "embedded rules".into(),
        }
    }
}

/// Sums over all rows.
#[derive(Debug, Default)]
struct Sums {
    records: u64,
    runs: BTreeMap<String, u64>,
    /// A hash of each row's document: 128 bits, so that two documents do not share one.
    documents: Vec<u128>,
    /// Those of documents with unrendered placeholders.
    unrendered: Vec<u128>,
    status: BTreeMap<String, u64>,
    accepted: u64,
    valid: u64,
    accepted_valid: u64,
    judged_by: BTreeMap<String, u64>,
    /// Rows in which a server contradicts the embedded rules, of those compared.
    disagrees: (u64, u64),
    by_source: BTreeMap<String, u64>,
    model: ModelShare,
    /// Accepted, and verified here.
    accepted_here: u64,
    effective: u64,
    rescanned: tool_rescan::Sums,
    faults: BTreeMap<String, u64>,
    /// Passed and failed verdicts by gate.
    gates: [(u64, u64); 6],
    errors: BTreeMap<String, u64>,
    cautions: BTreeMap<String, u64>,
    ops: Counts,
    collateral_ops: u64,
    with_companions: u64,
    tokens: [u64; 4],
    costs: Vec<f64>,
    by_model: ByModel,
    times: [Vec<f64>; 10],
    not_finite: u64,
    /// Rows by samples drawn and passed.
    samples: BTreeMap<(u64, u64), u64>,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>) {
        self.records += 1;
        count(&mut self.runs, row.run);
        self.documents.extend(row.document.map(hash));
        if row.is_unrendered() {
            self.unrendered.extend(row.document.map(hash));
        }
        count(&mut self.status, row.status);
        count(&mut self.faults, row.fault);
        if let Some(kind) = row.error {
            count(&mut self.errors, kind);
        }
        let valid = row.gates.schema_before == Some(true);
        self.valid += u64::from(valid);
        if valid {
            count(&mut self.judged_by, &row.judge());
        }
        if let Some(disagrees) = row.disagrees.0 {
            self.disagrees.0 += u64::from(disagrees);
            self.disagrees.1 += 1;
        }
        if row.accepted {
            self.add_accepted(row, valid);
        }
        for ((passed, failed), (_, verdict)) in self.gates.iter_mut().zip(row.gates.each()) {
            *passed += u64::from(verdict == Some(true));
            *failed += u64::from(verdict == Some(false));
        }
        self.collateral_ops += u64::from(row.collateral_ops);
        self.tokens.iter_mut().zip(row.tokens).for_each(|(sum, tokens)| *sum += tokens);
        self.costs.extend(row.cost_usd);
        let model = label(row.requested.0, row.served.0);
        self.by_model.add(model, row.accepted, (row.cost_usd, row.cost_source.0));
        for (times, time) in self.times.iter_mut().zip(row.times) {
            // Every stage that ran took some time: exactly 0 means that it did not run, or was not timed.
            times.extend(time.filter(|time| *time > 0.0));
        }
        self.not_finite += row.not_finite.0;
        if row.samples > 0 {
            *self.samples.entry((row.samples, row.samples_passed)).or_default() += 1;
            let by_rules = row.source == ProposerMode::Rules.as_str() && row.patch.0;
            self.model.asked += 1;
            self.model.unanswered += u64::from(row.total_tokens.is_none());
            self.model.by_rules += u64::from(by_rules);
            self.model.by_rules_accepted += u64::from(by_rules && row.accepted);
        }
    }

    fn add_accepted(&mut self, row: &Row<'_>, valid: bool) {
        self.accepted += 1;
        self.accepted_valid += u64::from(valid);
        count(&mut self.by_source, row.source);
        if row.worker != IMPORT {
            let clean = row.gates.rescan == Some(true) && row.new_violations.is_empty();
            self.accepted_here += 1;
            self.effective += u64::from(clean && row.collateral_ops == 0);
        }
        self.rescanned.add(row.cleared.0, &row.new.0);
        row.cautions.iter().for_each(|caution| count(&mut self.cautions, caution));
        if row.patch.0 {
            self.ops.add(row.patch_ops.into(), 1);
        }
        self.with_companions += u64::from(row.companions.0);
    }
}

impl Extended {
    /// By whose rules repairs were accepted, for people.
    pub(crate) fn rules(&self) -> &'static str {
        let is_server = |judge: &String| judge.starts_with("server ") || judge.starts_with("a server ");
        if self.judged_by.keys().any(is_server) { "a server's rules" } else { "the embedded rules" }
    }

    /// What judged the valid documents, in words.
    pub(crate) fn judges(&self) -> String {
        let judges: Vec<&str> = self.judged_by.keys().map(String::as_str).collect();
        if judges.is_empty() { "not recorded".to_owned() } else { judges.join(", ") }
    }

    pub(crate) fn compute(results: &Results) -> Result<Self, AnalysisError> {
        let mut sums = Sums::default();
        results.each::<Row>(|row| sums.add(&row))?;
        let (records, accepted) = (sums.records, sums.accepted);
        let needs_review = sums.status.get(Status::NeedsReview.as_str()).copied().unwrap_or_default();
        let costs: Sample = sums.costs.into_iter().collect();
        for documents in [&mut sums.documents, &mut sums.unrendered] {
            documents.sort_unstable();
            documents.dedup();
        }
        Ok(Self {
            runs: sums.runs.into_keys().collect(),
            records,
            documents: sums.documents.len() as u64,
            unrendered_documents: sums.unrendered.len() as u64,
            status: Status::ALL.iter().map(|word| every(word.as_str(), &mut sums.status)).collect(),
            accepted_of_valid: Proportion::new(sums.accepted_valid, sums.valid),
            judged_by: sums.judged_by,
            server_disagrees: (sums.disagrees.1 > 0)
                .then(|| Proportion::new(sums.disagrees.0, sums.disagrees.1)),
            accepted_of_all: Proportion::new(accepted, records),
            accepted_by_source: sums.by_source,
            model: (sums.model.asked > 0).then_some(sums.model),
            effective_of_accepted: Proportion::new(sums.effective, sums.accepted_here),
            rescanned_by: sums.rescanned.finish(),
            needs_review: Proportion::new(needs_review, records),
            faults: Fault::ALL
                .iter()
                .filter(|fault| **fault != Fault::None)
                .map(|word| every(word.as_str(), &mut sums.faults))
                .collect(),
            gates: gates(&sums.gates, records),
            errors: sums.errors,
            cautions: sums.cautions,
            median_patch_ops: sums.ops.median(),
            p95_patch_ops: sums.ops.percentile(95.0),
            max_patch_ops: sums.ops.max(),
            collateral_ops: sums.collateral_ops,
            with_companions: sums.with_companions,
            latency_ms: latencies(sums.times),
            tokens: TOKENS.into_iter().zip(sums.tokens).collect(),
            cost_usd: (!costs.is_empty()).then(|| costs.sum()),
            by_model: sums.by_model,
            pass_at_k: pass_at_k(&sums.samples),
            not_finite: sums.not_finite,
        })
    }
}

/// The columns of timings and prices.
fn reals() -> Vec<&'static str> {
    let reals = COLUMNS.iter().filter(|(_, kind, _)| *kind == Kind::F64OrNull);
    reals.map(|(name, _, _)| *name).collect()
}

fn gates(verdicts: &[(u64, u64); 6], records: u64) -> Vec<GateTally> {
    let tally = |((gate, _), &(passed, failed)): ((&'static str, _), &(u64, u64))| GateTally {
        gate,
        passed,
        failed,
        not_run: records.saturating_sub(passed + failed),
    };
    Gates::NOT_RUN.each().into_iter().zip(verdicts).map(tally).collect()
}

fn latencies(times: [Vec<f64>; 10]) -> BTreeMap<&'static str, Latency> {
    let latency = |(column, times): (&'static str, Vec<f64>)| {
        let times: Sample = times.into_iter().collect();
        let latency = Latency {
            n: times.len() as u64,
            mean: times.mean()?,
            median: times.linear(50.0)?,
            p95: times.linear(95.0)?,
            max: times.max()?,
        };
        Some((column, latency))
    };
    TIMES.into_par_iter().zip(times).filter_map(latency).collect()
}

fn hash(document: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, document).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

fn every(word: &'static str, counts: &mut BTreeMap<String, u64>) -> (&'static str, u64) {
    (word, counts.remove(word).unwrap_or_default())
}
