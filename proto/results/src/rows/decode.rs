//! One record batch → outcomes. A column is found by its name; one that a row needs and the file lacks is an error.

use std::sync::Arc;

use arrow_array::{
    Array, BooleanArray, Float64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array,
};
use domain::budget::CostSource;
use domain::ids::{DocumentHash, RecordId, ShardIndex};
use domain::outcome::{
    Caution, ErrorKind, Fault, GateResult, Gates, ModelUsage, Outcome, Proposal, Status, Timing, Verdict,
};
use domain::patch::Patch;

use super::cells::{DecodeError, illegal, later, number, text, texts, typed, word};
use super::rescan::RescanColumns;
use super::server::ServerColumns;
use crate::schema as col;

macro_rules! columns {
    ($($field:ident: $array:ident = $name:ident,)*) => {
        /// The columns of one batch, typed.
        struct Columns<'a> {
            $($field: &'a $array,)*
            /// Parts of earlier releases do not have these.
            estimated_tokens: Option<&'a UInt64Array>,
            cost_source: Option<&'a StringArray>,
            model_requested: Option<&'a StringArray>,
            model_served: Option<&'a StringArray>,
            answer_form: Option<&'a StringArray>,
            server: ServerColumns<'a>,
            rescans: RescanColumns<'a>,
        }

        impl<'a> Columns<'a> {
            fn of(batch: &'a RecordBatch) -> Result<Self, DecodeError> {
                Ok(Self {
                    $($field: typed::<$array>(batch, col::$name)?,)*
                    estimated_tokens: later(batch, col::ESTIMATED_TOKENS)?,
                    cost_source: later(batch, col::COST_SOURCE)?,
                    model_requested: later(batch, col::MODEL_REQUESTED)?,
                    model_served: later(batch, col::MODEL_SERVED)?,
                    answer_form: later(batch, col::ANSWER_FORM)?,
                    server: ServerColumns::of(batch)?,
                    rescans: RescanColumns::of(batch)?,
                })
            }
        }
    };
}

columns! {
    record_id: StringArray = RECORD_ID,
    position: UInt64Array = POSITION,
    shard: UInt32Array = SHARD,
    manifest_path: StringArray = MANIFEST_PATH,
    document: StringArray = DOCUMENT_HASH,
    kind: StringArray = KIND,
    namespace: StringArray = NAMESPACE,
    name: StringArray = NAME,
    policy_id: StringArray = POLICY_ID,
    raw_policy_id: StringArray = RAW_POLICY_ID,
    source: StringArray = SOURCE,
    mode: StringArray = MODE,
    model: StringArray = MODEL,
    guardrails: StringArray = GUARDRAILS,
    patch: StringArray = PATCH,
    collateral_ops: UInt32Array = COLLATERAL_OPS,
    companions: StringArray = COMPANIONS,
    cautions: ListArray = CAUTIONS,
    hardened: BooleanArray = HARDENED,
    attempts: UInt32Array = ATTEMPTS,
    attempt_errors: ListArray = ATTEMPT_ERRORS,
    status: StringArray = STATUS,
    ok_apply: BooleanArray = OK_APPLY,
    ok_policy: BooleanArray = OK_POLICY,
    ok_safety: BooleanArray = OK_SAFETY,
    schema_before: BooleanArray = SCHEMA_BEFORE,
    ok_schema: BooleanArray = OK_SCHEMA,
    ok_rescan: BooleanArray = OK_RESCAN,
    fault: StringArray = FAULT,
    new_violations: ListArray = NEW_VIOLATIONS,
    errors: ListArray = ERRORS,
    apply_errors: ListArray = APPLY_ERRORS,
    policy_errors: ListArray = POLICY_ERRORS,
    safety_errors: ListArray = SAFETY_ERRORS,
    schema_before_errors: ListArray = SCHEMA_BEFORE_ERRORS,
    schema_errors: ListArray = SCHEMA_ERRORS,
    rescan_errors: ListArray = RESCAN_ERRORS,
    patched_yaml: StringArray = PATCHED_YAML,
    samples: UInt64Array = SAMPLES,
    samples_passed: UInt64Array = SAMPLES_PASSED,
    prompt_tokens: UInt64Array = PROMPT_TOKENS,
    completion_tokens: UInt64Array = COMPLETION_TOKENS,
    reasoning_tokens: UInt64Array = REASONING_TOKENS,
    total_tokens: UInt64Array = TOTAL_TOKENS,
    cost_usd: Float64Array = COST_USD,
    cache_hit: BooleanArray = CACHE_HIT,
    queue_ms: Float64Array = QUEUE_MS,
    propose_ms: Float64Array = PROPOSE_MS,
    llm_ms: Float64Array = LLM_MS,
    verify_ms: Float64Array = VERIFY_MS,
    apply_ms: Float64Array = APPLY_MS,
    policy_ms: Float64Array = POLICY_MS,
    safety_ms: Float64Array = SAFETY_MS,
    schema_before_ms: Float64Array = SCHEMA_BEFORE_MS,
    schema_ms: Float64Array = SCHEMA_MS,
    rescan_ms: Float64Array = RESCAN_MS,
    total_ms: Float64Array = TOTAL_MS,
    started_at: TimestampMicrosecondArray = STARTED_AT,
    worker: StringArray = WORKER,
    attempt: UInt32Array = ATTEMPT,
    error_kind: StringArray = ERROR_KIND,
    published: StringArray = PUBLISHED,
}

/// Every row of `batch` as an outcome, in order.
pub(crate) fn decode(batch: &RecordBatch) -> Result<Vec<Outcome>, DecodeError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows()).map(|row| columns.outcome(row)).collect()
}

impl Columns<'_> {
    fn outcome(&self, row: usize) -> Result<Outcome, DecodeError> {
        Ok(Outcome {
            record_id: RecordId::new(self.record_id.value(row))
                .map_err(|_| illegal(col::RECORD_ID, self.record_id.value(row)))?,
            position: self.position.value(row),
            shard: ShardIndex(self.shard.value(row)),
            manifest_path: self.manifest_path.value(row).to_owned(),
            document: self.document(row)?,
            kind: self.kind.value(row).to_owned(),
            namespace: self.namespace.value(row).to_owned(),
            name: self.name.value(row).to_owned(),
            policy_id: self.policy_id.value(row).to_owned(),
            raw_policy_id: self.raw_policy_id.value(row).to_owned(),
            source: self.source.value(row).to_owned(),
            mode: self.mode.value(row).to_owned(),
            model: text(self.model, row).map(str::to_owned),
            guardrails: self.guardrails.value(row).to_owned(),
            proposal: self.proposal(row)?,
            attempts: self.attempts.value(row),
            attempt_errors: texts(self.attempt_errors, row),
            status: word(col::STATUS, self.status.value(row), Status::parse)?,
            gates: Arc::new(self.gates(row)),
            fault: word(col::FAULT, self.fault.value(row), Fault::parse)?,
            new_violations: texts(self.new_violations, row),
            errors: texts(self.errors, row),
            patched_yaml: text(self.patched_yaml, row).map(Arc::from),
            usage: self.usage(row)?,
            timing: self.timing(row),
            worker: self.worker.value(row).to_owned(),
            attempt: self.attempt.value(row),
            error_kind: text(self.error_kind, row)
                .map(|kind| word(col::ERROR_KIND, kind, ErrorKind::parse))
                .transpose()?,
            schema_depth: self.server.depth(row)?,
            server: self.server.answers(row)?.map(Arc::new),
            published: text(self.published, row).map(str::to_owned),
            tool_rescans: self.rescans.of_row(row),
        })
    }

    fn document(&self, row: usize) -> Result<Option<DocumentHash>, DecodeError> {
        let hash = |text: &str| {
            DocumentHash::try_from(text.to_owned()).map_err(|_| illegal(col::DOCUMENT_HASH, text))
        };
        text(self.document, row).map(hash).transpose()
    }

    fn proposal(&self, row: usize) -> Result<Option<Arc<Proposal>>, DecodeError> {
        let Some(patch) = text(self.patch, row) else { return Ok(None) };
        let patch = Patch::from_json(patch).map_err(|_| illegal(col::PATCH, patch))?;
        let companions = match text(self.companions, row) {
            Some(list) => serde_json::from_str(list).map_err(|_| illegal(col::COMPANIONS, list))?,
            None => Vec::new(),
        };
        let cautions = texts(self.cautions, row)
            .iter()
            .map(|code| word(col::CAUTIONS, code, Caution::parse))
            .collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Proposal {
            patch,
            companions,
            cautions,
            collateral_ops: self.collateral_ops.value(row),
            hardened: self.hardened.value(row),
        })))
    }

    fn gates(&self, row: usize) -> Gates {
        let gate = |ok: &BooleanArray, errors: &ListArray, ms: &Float64Array| GateResult {
            verdict: match ok.is_valid(row).then(|| ok.value(row)) {
                Some(true) => Verdict::Passed,
                Some(false) => Verdict::Failed,
                None => Verdict::NotRun,
            },
            errors: texts(errors, row),
            ms: number(ms, row).filter(|_| ok.is_valid(row)),
        };
        Gates {
            apply: gate(self.ok_apply, self.apply_errors, self.apply_ms),
            policy: gate(self.ok_policy, self.policy_errors, self.policy_ms),
            safety: gate(self.ok_safety, self.safety_errors, self.safety_ms),
            schema_before: gate(self.schema_before, self.schema_before_errors, self.schema_before_ms),
            schema: gate(self.ok_schema, self.schema_errors, self.schema_ms),
            rescan: gate(self.ok_rescan, self.rescan_errors, self.rescan_ms),
        }
    }

    fn usage(&self, row: usize) -> Result<ModelUsage, DecodeError> {
        let count = |column: &UInt64Array| column.is_valid(row).then(|| column.value(row));
        let later = |column: Option<&StringArray>| text(column?, row).map(str::to_owned);
        let source = self.cost_source.and_then(|column| text(column, row));
        Ok(ModelUsage {
            samples: count(self.samples),
            samples_passed: count(self.samples_passed),
            prompt_tokens: count(self.prompt_tokens),
            completion_tokens: count(self.completion_tokens),
            reasoning_tokens: count(self.reasoning_tokens),
            total_tokens: count(self.total_tokens),
            estimated_tokens: self.estimated_tokens.and_then(count),
            cost_usd: number(self.cost_usd, row),
            cost_source: source.map(|it| word(col::COST_SOURCE, it, CostSource::parse)).transpose()?,
            model_requested: later(self.model_requested),
            model_served: later(self.model_served),
            answer_form: later(self.answer_form),
            cache_hit: self.cache_hit.is_valid(row).then(|| self.cache_hit.value(row)),
        })
    }

    fn timing(&self, row: usize) -> Timing {
        Timing {
            queue_ms: number(self.queue_ms, row),
            propose_ms: number(self.propose_ms, row),
            llm_ms: number(self.llm_ms, row),
            verify_ms: number(self.verify_ms, row),
            schema_ms: number(self.schema_ms, row),
            total_ms: number(self.total_ms, row),
            started_at_us: self.started_at.is_valid(row).then(|| self.started_at.value(row)),
        }
    }
}
