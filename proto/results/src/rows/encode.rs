//! Outcomes → one record batch with the columns of [`crate::schema`].

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    UInt64Array,
};
use arrow_schema::ArrowError;
use domain::api_server::SchemaDepth;
use domain::api_server::ServerAnswer;
use domain::budget::CostSource;
use domain::ids::RunId;
use domain::outcome::{GateResult, Outcome, Proposal, Verdict};

use super::cells::item;
use super::rescan;
use crate::schema as col;

/// One row per outcome, in the order given.
pub(crate) fn encode(run_id: &RunId, rows: &[Outcome]) -> Result<RecordBatch, ArrowError> {
    let columns = col::COLUMNS
        .iter()
        .map(|&(name, ..)| {
            identity(name, run_id, rows)
                .or_else(|| proposal(name, rows))
                .or_else(|| verdict(name, rows))
                .or_else(|| reasons(name, rows))
                .or_else(|| usage(name, rows))
                .or_else(|| timing(name, rows))
                .or_else(|| execution(name, rows))
                .or_else(|| server(name, rows))
                .or_else(|| rescan::column(name, rows))
                .ok_or_else(|| ArrowError::SchemaError(format!("column {name} has no encoder")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(col::outcomes(), columns)
}

fn identity(name: &str, run_id: &RunId, rows: &[Outcome]) -> Option<ArrayRef> {
    Some(match name {
        col::RUN_ID => text(rows, |_| run_id.as_str()),
        col::RECORD_ID => text(rows, |row| row.record_id.as_str()),
        col::POSITION => Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.position))),
        col::SHARD => u32s(rows, |row| row.shard.0),
        col::MANIFEST_PATH => text(rows, |row| &row.manifest_path),
        col::DOCUMENT_HASH => Arc::new(
            rows.iter().map(|row| row.document.map(|hash| hash.to_string())).collect::<StringArray>(),
        ),
        col::KIND => text(rows, |row| &row.kind),
        col::NAMESPACE => text(rows, |row| &row.namespace),
        col::NAME => text(rows, |row| &row.name),
        col::POLICY_ID => text(rows, |row| &row.policy_id),
        col::RAW_POLICY_ID => text(rows, |row| &row.raw_policy_id),
        _ => return None,
    })
}

fn proposal(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    Some(match name {
        col::SOURCE => text(rows, |row| &row.source),
        col::MODE => text(rows, |row| &row.mode),
        col::MODEL => text_or_null(rows, |row| row.model.as_deref()),
        col::GUARDRAILS => text(rows, |row| &row.guardrails),
        col::PATCH => json_of_proposals(rows, |proposal, out| serde_json::to_writer(out, &proposal.patch)),
        col::PATCH_OPS => u32s(rows, |row| {
            row.proposal.as_ref().map_or(0, |p| u32::try_from(p.patch.len()).unwrap_or(u32::MAX))
        }),
        col::COLLATERAL_OPS => u32s(rows, |row| row.proposal.as_ref().map_or(0, |p| p.collateral_ops)),
        col::COMPANIONS => json_of_proposals(rows, |proposal, out| {
            if proposal.companions.is_empty() {
                return Ok(());
            }
            serde_json::to_writer(out, &proposal.companions)
        }),
        col::CAUTIONS => lists(rows, |row, push| {
            for caution in row.proposal.iter().flat_map(|p| &p.cautions) {
                push(caution.as_str());
            }
        }),
        col::HARDENED => flags(rows, |row| row.proposal.as_ref().is_some_and(|p| p.hardened)),
        col::ATTEMPTS => u32s(rows, |row| row.attempts),
        col::ATTEMPT_ERRORS => texts(rows, |row| &row.attempt_errors),
        _ => return None,
    })
}

fn verdict(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    Some(match name {
        col::STATUS => text(rows, |row| row.status.as_str()),
        col::ACCEPTED => flags(rows, Outcome::accepted),
        col::OK_APPLY => gates(rows, |row| &row.gates.apply),
        col::OK_POLICY => gates(rows, |row| &row.gates.policy),
        col::OK_SAFETY => gates(rows, |row| &row.gates.safety),
        col::SCHEMA_BEFORE => gates(rows, |row| &row.gates.schema_before),
        col::OK_SCHEMA => gates(rows, |row| &row.gates.schema),
        col::OK_RESCAN => gates(rows, |row| &row.gates.rescan),
        col::FAULT => text(rows, |row| row.fault.as_str()),
        col::PATCHED_YAML => text_or_null(rows, |row| row.patched_yaml.as_deref()),
        _ => return None,
    })
}

fn reasons(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    Some(match name {
        col::NEW_VIOLATIONS => texts(rows, |row| &row.new_violations),
        col::ERRORS => texts(rows, |row| &row.errors),
        col::APPLY_ERRORS => texts(rows, |row| &row.gates.apply.errors),
        col::POLICY_ERRORS => texts(rows, |row| &row.gates.policy.errors),
        col::SAFETY_ERRORS => texts(rows, |row| &row.gates.safety.errors),
        col::SCHEMA_BEFORE_ERRORS => texts(rows, |row| &row.gates.schema_before.errors),
        col::SCHEMA_ERRORS => texts(rows, |row| &row.gates.schema.errors),
        col::RESCAN_ERRORS => texts(rows, |row| &row.gates.rescan.errors),
        _ => return None,
    })
}

fn usage(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    let u64s = |get: fn(&Outcome) -> Option<u64>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<UInt64Array>())
    };
    Some(match name {
        col::SAMPLES => u64s(|row| row.usage.samples),
        col::SAMPLES_PASSED => u64s(|row| row.usage.samples_passed),
        col::PROMPT_TOKENS => u64s(|row| row.usage.prompt_tokens),
        col::COMPLETION_TOKENS => u64s(|row| row.usage.completion_tokens),
        col::REASONING_TOKENS => u64s(|row| row.usage.reasoning_tokens),
        col::TOTAL_TOKENS => u64s(|row| row.usage.total_tokens),
        col::ESTIMATED_TOKENS => u64s(|row| row.usage.estimated_tokens),
        col::COST_USD => f64s(rows, |row| row.usage.cost_usd),
        col::COST_SOURCE => text_or_null(rows, |row| row.usage.cost_source.map(CostSource::as_str)),
        col::MODEL_REQUESTED => text_or_null(rows, |row| row.usage.model_requested.as_deref()),
        col::MODEL_SERVED => text_or_null(rows, |row| row.usage.model_served.as_deref()),
        col::ANSWER_FORM => text_or_null(rows, |row| row.usage.answer_form.as_deref()),
        col::CACHE_HIT => Arc::new(rows.iter().map(|row| row.usage.cache_hit).collect::<BooleanArray>()),
        _ => return None,
    })
}

fn timing(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    let ran = |gate: &GateResult| (gate.verdict != Verdict::NotRun).then_some(gate.ms).flatten();
    Some(match name {
        col::QUEUE_MS => f64s(rows, |row| row.timing.queue_ms),
        col::PROPOSE_MS => f64s(rows, |row| row.timing.propose_ms),
        col::LLM_MS => f64s(rows, |row| row.timing.llm_ms),
        col::VERIFY_MS => f64s(rows, |row| row.timing.verify_ms),
        col::APPLY_MS => f64s(rows, |row| ran(&row.gates.apply)),
        col::POLICY_MS => f64s(rows, |row| ran(&row.gates.policy)),
        col::SAFETY_MS => f64s(rows, |row| ran(&row.gates.safety)),
        col::SCHEMA_BEFORE_MS => f64s(rows, |row| ran(&row.gates.schema_before)),
        col::SCHEMA_MS => f64s(rows, |row| row.timing.schema_ms),
        col::RESCAN_MS => f64s(rows, |row| ran(&row.gates.rescan)),
        col::TOTAL_MS => f64s(rows, |row| row.timing.total_ms),
        col::STARTED_AT => Arc::new(
            rows.iter()
                .map(|row| row.timing.started_at_us)
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        _ => return None,
    })
}

fn execution(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    Some(match name {
        col::WORKER => text(rows, |row| &row.worker),
        col::ATTEMPT => u32s(rows, |row| row.attempt),
        col::ERROR_KIND => text_or_null(rows, |row| row.error_kind.map(domain::outcome::ErrorKind::as_str)),
        col::PUBLISHED => text_or_null(rows, |row| row.published.as_deref()),
        _ => return None,
    })
}

fn server(name: &str, rows: &[Outcome]) -> Option<ArrayRef> {
    let class = |answer: Option<&ServerAnswer>| answer.map(|answer| answer.class.as_str());
    Some(match name {
        col::SCHEMA_DEPTH => text_or_null(rows, |row| row.schema_depth.map(SchemaDepth::as_str)),
        col::SERVER_VERSION => text_or_null(rows, |row| row.server.as_ref().map(|it| it.version.as_str())),
        col::SERVER_CLASS => text_or_null(rows, |row| class(after(row))),
        col::SERVER_CAUSES => causes(rows, after),
        col::SERVER_WARNINGS => {
            let mut column = ListBuilder::new(StringBuilder::new()).with_field(item());
            for row in rows {
                let warnings = row.server.iter().flat_map(|server| &server.warnings);
                warnings.for_each(|warning| column.values().append_value(warning));
                column.append(row.server.is_some());
            }
            Arc::new(column.finish())
        }
        col::SERVER_BEFORE_CLASS => text_or_null(rows, |row| class(before(row))),
        col::SERVER_BEFORE_CAUSES => causes(rows, before),
        col::SERVER_DISAGREES => {
            Arc::new(rows.iter().map(|row| row.server.as_ref()?.disagrees).collect::<BooleanArray>())
        }
        _ => return None,
    })
}

fn before(row: &Outcome) -> Option<&ServerAnswer> {
    row.server.as_ref()?.before.as_ref()
}

fn after(row: &Outcome) -> Option<&ServerAnswer> {
    row.server.as_ref()?.after.as_ref()
}

/// The causes of an answer as JSON text.
fn causes(rows: &[Outcome], answer: fn(&Outcome) -> Option<&ServerAnswer>) -> ArrayRef {
    let text = |answer: &ServerAnswer| {
        let causes = answer.causes.iter().map(|cause| [&cause.field, &cause.reason, &cause.message]);
        serde_json::to_string(&causes.collect::<Vec<_>>()).unwrap_or_default()
    };
    Arc::new(rows.iter().map(|row| answer(row).map(text)).collect::<StringArray>())
}

fn text<'a>(rows: &'a [Outcome], get: impl Fn(&'a Outcome) -> &'a str) -> ArrayRef {
    let bytes = rows.iter().map(|row| get(row).len()).sum();
    let mut column = StringBuilder::with_capacity(rows.len(), bytes);
    for row in rows {
        column.append_value(get(row));
    }
    Arc::new(column.finish())
}

fn text_or_null<'a>(rows: &'a [Outcome], get: impl Fn(&'a Outcome) -> Option<&'a str>) -> ArrayRef {
    let bytes = rows.iter().filter_map(|row| get(row).map(str::len)).sum();
    let mut column = StringBuilder::with_capacity(rows.len(), bytes);
    for row in rows {
        column.append_option(get(row));
    }
    Arc::new(column.finish())
}

/// JSON text of a part of each proposal; null where there is no proposal or `write` wrote nothing. Rows that share a
/// proposal share the work.
fn json_of_proposals(
    rows: &[Outcome],
    write: impl Fn(&Proposal, &mut Vec<u8>) -> serde_json::Result<()>,
) -> ArrayRef {
    let mut column = StringBuilder::with_capacity(rows.len(), rows.len() * 64);
    let mut buffer = Vec::new();
    let mut last: Option<&Arc<Proposal>> = None;
    for row in rows {
        let Some(proposal) = &row.proposal else {
            column.append_null();
            continue;
        };
        if !last.is_some_and(|last| Arc::ptr_eq(last, proposal)) {
            buffer.clear();
            // Strings and JSON values into a vector: there is nothing that could fail.
            if write(proposal, &mut buffer).is_err() {
                buffer.clear();
            }
            last = Some(proposal);
        }
        column.append_option(std::str::from_utf8(&buffer).ok().filter(|text| !text.is_empty()));
    }
    Arc::new(column.finish())
}

fn texts<'a>(rows: &'a [Outcome], get: impl Fn(&'a Outcome) -> &'a [String]) -> ArrayRef {
    lists(rows, |row, push| get(row).iter().for_each(|text| push(text)))
}

fn lists<'a>(rows: &'a [Outcome], fill: impl Fn(&'a Outcome, &mut dyn FnMut(&str))) -> ArrayRef {
    let mut column = ListBuilder::new(StringBuilder::new()).with_field(item());
    for row in rows {
        fill(row, &mut |text| column.values().append_value(text));
        column.append(true);
    }
    Arc::new(column.finish())
}

fn flags(rows: &[Outcome], get: impl Fn(&Outcome) -> bool) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(get(row))).collect::<BooleanArray>())
}

fn gates(rows: &[Outcome], get: impl Fn(&Outcome) -> &GateResult) -> ArrayRef {
    let passed = |row| match get(row).verdict {
        Verdict::Passed => Some(true),
        Verdict::Failed => Some(false),
        Verdict::NotRun => None,
    };
    Arc::new(rows.iter().map(passed).collect::<BooleanArray>())
}

fn u32s(rows: &[Outcome], get: impl Fn(&Outcome) -> u32) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(rows.iter().map(get)))
}

fn f64s(rows: &[Outcome], get: impl Fn(&Outcome) -> Option<f64>) -> ArrayRef {
    Arc::new(rows.iter().map(get).collect::<Float64Array>())
}
