//! THE Arrow schema of the results: one row per record. Column names live here and nowhere else.
//!
//! A gate's verdict is a nullable boolean: true passed, false failed, null did not run.

use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use domain::scanner::Scanner;

/// Version of the schema, kept in the metadata of every part under [`FORMAT_KEY`].
pub const FORMAT_VERSION: u32 = 2;

/// Metadata key of the format version.
pub const FORMAT_KEY: &str = "k8s_auto_fix.outcomes";

macro_rules! columns {
    ($($(#[$doc:meta])* $constant:ident $name:literal $kind:ident $role:ident)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*

        /// Every column in order: name, type, whether it may be null, and whether it is part of the fingerprint.
        pub const COLUMNS: &[(&str, Kind, Role)] = &[$(($name, Kind::$kind, Role::$role),)*];
    };
}

/// Type and nullability of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Text,
    TextOrNull,
    TextList,
    TextListOrNull,
    Bool,
    BoolOrNull,
    U32,
    U64,
    U64OrNull,
    F64OrNull,
    TimestampOrNull,
}

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What happened to the record: the same for the same corpus, config and seed.
    Outcome,
    /// As `Outcome`, of a column that came later: where it is null, it is left out of the fingerprint, so that the
    /// fingerprints of rows without it stay what they were.
    LaterOutcome,
    /// When, where or how fast it happened: left out of the fingerprint.
    Execution,
}

columns! {
    /// The run.
    RUN_ID "run_id" Text Execution
    /// The record.
    RECORD_ID "record_id" Text Outcome
    /// 0-based place in the corpus.
    POSITION "position" U64 Outcome
    /// The shard that made the row.
    SHARD "shard" U32 Execution
    /// Where the manifest came from.
    MANIFEST_PATH "manifest_path" Text Outcome
    /// BLAKE3 of the document and its neighbours, in hex.
    DOCUMENT_HASH "document_hash" TextOrNull Outcome
    /// Kind of the object.
    KIND "kind" Text Outcome
    /// Namespace of the object.
    NAMESPACE "namespace" Text Outcome
    /// Name of the object.
    NAME "name" Text Outcome
    /// Canonical policy.
    POLICY_ID "policy_id" Text Outcome
    /// The scanner's id.
    RAW_POLICY_ID "raw_policy_id" Text Outcome
    /// Who wrote the patch: `rules`, or the model's mode.
    SOURCE "source" Text Outcome
    /// The proposer's mode.
    MODE "mode" Text Outcome
    /// The model.
    MODEL "model" TextOrNull Outcome
    /// `targeted`, `paper`, …
    GUARDRAILS "guardrails" Text Outcome
    /// RFC 6902 operations as JSON text; null when nothing was proposed.
    PATCH "patch" TextOrNull Outcome
    /// How many operations.
    PATCH_OPS "patch_ops" U32 Outcome
    /// How many the violation did not need.
    COLLATERAL_OPS "collateral_ops" U32 Outcome
    /// Objects that must exist beside the document, as a JSON list; null when none.
    COMPANIONS "companions" TextOrNull Outcome
    /// Codes of what a person should look at.
    CAUTIONS "cautions" TextList Outcome
    /// Whether guard operations were added.
    HARDENED "hardened" Bool Outcome
    /// How often the proposer tried.
    ATTEMPTS "attempts" U32 Outcome
    /// Why the failed tries failed.
    ATTEMPT_ERRORS "attempt_errors" TextList Outcome
    /// `accepted`, `rejected`, `needs_review`, `not_applicable`, `error`.
    STATUS "status" Text Outcome
    /// Whether the repair was accepted.
    ACCEPTED "accepted" Bool Outcome
    /// The patch applies.
    OK_APPLY "ok_apply" BoolOrNull Outcome
    /// The policy holds afterwards.
    OK_POLICY "ok_policy" BoolOrNull Outcome
    /// Nothing lost, no new privilege.
    OK_SAFETY "ok_safety" BoolOrNull Outcome
    /// The document was valid before the patch.
    SCHEMA_BEFORE "schema_before" BoolOrNull Outcome
    /// The patched document is valid.
    OK_SCHEMA "ok_schema" BoolOrNull Outcome
    /// Target cleared, nothing new.
    OK_RESCAN "ok_rescan" BoolOrNull Outcome
    /// `none`, `document`, `patch`, `environment`, `proposer`.
    FAULT "fault" Text Outcome
    /// Findings that the original document did not have.
    NEW_VIOLATIONS "new_violations" TextList Outcome
    /// Why the record was not accepted.
    ERRORS "errors" TextList Outcome
    /// Errors of the apply gate.
    APPLY_ERRORS "apply_errors" TextList Outcome
    /// Errors of the policy gate.
    POLICY_ERRORS "policy_errors" TextList Outcome
    /// Errors of the safety gate.
    SAFETY_ERRORS "safety_errors" TextList Outcome
    /// Schema errors of the document before the patch.
    SCHEMA_BEFORE_ERRORS "schema_before_errors" TextList Outcome
    /// Errors of the schema gate.
    SCHEMA_ERRORS "schema_errors" TextList Outcome
    /// Errors of the rescan.
    RESCAN_ERRORS "rescan_errors" TextList Outcome
    /// The patched document; null unless accepted.
    PATCHED_YAML "patched_yaml" TextOrNull Outcome
    /// Dialogues that a model was drawn into (`proposer.samples`); null without a model.
    SAMPLES "samples" U64OrNull Outcome
    /// Those whose own patch every gate accepted: the numerator of pass@k.
    SAMPLES_PASSED "samples_passed" U64OrNull Outcome
    /// Tokens of the prompt.
    PROMPT_TOKENS "prompt_tokens" U64OrNull Outcome
    /// Tokens of the answer.
    COMPLETION_TOKENS "completion_tokens" U64OrNull Outcome
    /// Tokens of the model's reasoning.
    REASONING_TOKENS "reasoning_tokens" U64OrNull Outcome
    /// All tokens of the answers that the record was given, as they are billed. A call without an answer (refused, cut off,
    /// empty, withheld) is not among them: what the provider counts of it is part of the usage of the run, and of what bounds
    /// its spending. Tokens and price of a program (`mode` command) are those that it reports.
    TOTAL_TOKENS "total_tokens" U64OrNull Outcome
    /// The part of `total_tokens` that the provider did not count: a token for four bytes of text. Null also in parts of
    /// releases that did not estimate.
    ESTIMATED_TOKENS "estimated_tokens" U64OrNull Execution
    /// Price in US dollars; null where the model has no price, or a program reports none.
    COST_USD "cost_usd" F64OrNull Outcome
    /// Where the price is known from: `billed` (the provider named it), `table` (by the prices of the configuration), `unknown`
    /// (then `cost_usd` is null); of several calls the least certain. Null where no model was asked, where a program reported the
    /// price, and in parts of releases that did not say.
    COST_SOURCE "cost_source" TextOrNull Execution
    /// The model that was asked; null where none was, and in parts of releases that did not say.
    MODEL_REQUESTED "model_requested" TextOrNull Execution
    /// The model that answered, as its provider names it in the replies; several are separated by commas. Null where it is not
    /// disclosed: the reply names none, or repeats the name that was asked for.
    MODEL_SERVED "model_served" TextOrNull Execution
    /// The form that the last answer was asked in (`strict_schema`, `json_schema`, `json_object`, `text`), after any fallback.
    ANSWER_FORM "answer_form" TextOrNull Execution
    /// Whether the answer came from the cache.
    CACHE_HIT "cache_hit" BoolOrNull Execution
    /// Waiting, ms: until the record's turn came (counted from the arrival of the whole slice at the worker), for CPU,
    /// for a permit to call the model, between tries, for another record whose conversation it shares.
    /// `queue_ms + propose_ms + llm_ms + verify_ms <= total_ms`.
    QUEUE_MS "queue_ms" F64OrNull Execution
    /// Computing a proposal, ms, the work of a program included; null where the record shares the repair of an earlier one of its slice.
    PROPOSE_MS "propose_ms" F64OrNull Execution
    /// Calls to the model under way, failed ones included, ms; null where none was made for this record.
    LLM_MS "llm_ms" F64OrNull Execution
    /// The gates on the patch that counts, the sum of their times, ms; null where none ran for this record.
    VERIFY_MS "verify_ms" F64OrNull Execution
    /// The apply gate, ms. As all gates: null where it did not run for this record.
    APPLY_MS "apply_ms" F64OrNull Execution
    /// The policy gate, ms.
    POLICY_MS "policy_ms" F64OrNull Execution
    /// The safety gate, ms.
    SAFETY_MS "safety_ms" F64OrNull Execution
    /// The schema gate on the document before the patch, ms; no part of `verify_ms`; at the first record of a document.
    SCHEMA_BEFORE_MS "schema_before_ms" F64OrNull Execution
    /// The schema gate, ms.
    SCHEMA_MS "schema_ms" F64OrNull Execution
    /// The rescan, ms.
    RESCAN_MS "rescan_ms" F64OrNull Execution
    /// From the arrival of the whole slice at the worker until the record's result was complete, ms.
    TOTAL_MS "total_ms" F64OrNull Execution
    /// When the record's turn began (UTC).
    STARTED_AT "started_at" TimestampOrNull Execution
    /// Which worker.
    WORKER "worker" Text Execution
    /// How many times the shard had been leased.
    ATTEMPT "attempt" U32 Execution
    /// Why the record could not be processed.
    ERROR_KIND "error_kind" TextOrNull Outcome
    /// Of an imported run: what the published records held beyond these columns, as a JSON object.
    PUBLISHED "published" TextOrNull Execution
    /// What decided the schema gate: `embedded`, `server`, or `both` (the embedded rules, and a server was asked too). Null
    /// where it is not known.
    SCHEMA_DEPTH "schema_depth" TextOrNull Execution
    /// Version of the API server. As all columns of a server: null where none was asked.
    SERVER_VERSION "server_version" TextOrNull Execution
    /// What the server answered about the patched document: `accepted`, `conflict`, `invalid`, `strict_decoding`, `decode`,
    /// `unparsable`, `unknown_kind`, `namespace`, `environment`, `other`.
    SERVER_CLASS "server_class" TextOrNull LaterOutcome
    /// The causes of its refusal as JSON text: `[[field, reason, message], …]`, sorted.
    SERVER_CAUSES "server_causes" TextOrNull LaterOutcome
    /// Its warnings about the patched document.
    SERVER_WARNINGS "server_warnings" TextListOrNull LaterOutcome
    /// As `server_class`, about the document before the patch.
    SERVER_BEFORE_CLASS "server_before_class" TextOrNull LaterOutcome
    /// As `server_causes`, about the document before the patch.
    SERVER_BEFORE_CAUSES "server_before_causes" TextOrNull LaterOutcome
    /// Of `both`: whether the server contradicts the embedded rules about either document; null where the two were not
    /// compared.
    SERVER_DISAGREES "server_disagrees" BoolOrNull LaterOutcome
    /// Whether kube-linter no longer finds the target in the accepted repair. As all columns of scanners: null where it was not
    /// asked (`verifier.rescan`) or could not judge the document; here also where it did not find the target before.
    KUBE_LINTER_CLEARED "kube_linter_cleared" BoolOrNull LaterOutcome
    /// Checks that kube-linter finds after the repair, and not, or less often, before.
    KUBE_LINTER_NEW "kube_linter_new" TextListOrNull LaterOutcome
    /// As `kube_linter_cleared`, of Kyverno with the policies of the worker.
    KYVERNO_CLEARED "kyverno_cleared" BoolOrNull LaterOutcome
    /// As `kube_linter_new`, of Kyverno: `policy/rule`.
    KYVERNO_NEW "kyverno_new" TextListOrNull LaterOutcome
    /// As `kube_linter_cleared`, of checkov.
    CHECKOV_CLEARED "checkov_cleared" BoolOrNull LaterOutcome
    /// As `kube_linter_new`, of checkov.
    CHECKOV_NEW "checkov_new" TextListOrNull LaterOutcome
}

/// The columns of each scanner: whether the target is cleared, and what is new.
pub const TOOL_RESCANS: [(Scanner, &str, &str); 3] = [
    (Scanner::KubeLinter, KUBE_LINTER_CLEARED, KUBE_LINTER_NEW),
    (Scanner::Kyverno, KYVERNO_CLEARED, KYVERNO_NEW),
    (Scanner::Checkov, CHECKOV_CLEARED, CHECKOV_NEW),
];

/// Columns that parts of earlier releases of this format do not have: missing, they are null.
pub const LATER: [&str; 19] = [
    ESTIMATED_TOKENS,
    COST_SOURCE,
    MODEL_REQUESTED,
    MODEL_SERVED,
    ANSWER_FORM,
    SCHEMA_DEPTH,
    SERVER_VERSION,
    SERVER_CLASS,
    SERVER_CAUSES,
    SERVER_WARNINGS,
    SERVER_BEFORE_CLASS,
    SERVER_BEFORE_CAUSES,
    SERVER_DISAGREES,
    KUBE_LINTER_CLEARED,
    KUBE_LINTER_NEW,
    KYVERNO_CLEARED,
    KYVERNO_NEW,
    CHECKOV_CLEARED,
    CHECKOV_NEW,
];

/// A batch of a part of an earlier release with the columns that came later, all null; any other batch as it is.
pub(crate) fn with_later_columns(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if LATER.iter().all(|name| batch.column_by_name(name).is_some()) {
        return Ok(batch);
    }
    let schema = outcomes();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
}

/// The schema of every part.
pub fn outcomes() -> SchemaRef {
    let fields: Vec<Field> = COLUMNS
        .iter()
        .map(|&(name, kind, _)| {
            let (data_type, nullable) = match kind {
                Kind::Text => (DataType::Utf8, false),
                Kind::TextOrNull => (DataType::Utf8, true),
                Kind::TextList | Kind::TextListOrNull => {
                    let item = Arc::new(Field::new("item", DataType::Utf8, false));
                    (DataType::List(item), kind == Kind::TextListOrNull)
                }
                Kind::Bool => (DataType::Boolean, false),
                Kind::BoolOrNull => (DataType::Boolean, true),
                Kind::U32 => (DataType::UInt32, false),
                Kind::U64 => (DataType::UInt64, false),
                Kind::U64OrNull => (DataType::UInt64, true),
                Kind::F64OrNull => (DataType::Float64, true),
                Kind::TimestampOrNull => {
                    (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
                }
            };
            Field::new(name, data_type, nullable)
        })
        .collect();
    let metadata: std::collections::HashMap<_, _> =
        [(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_string())].into();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}
