//! The published JSON files, in and out, streamed.
//!
//! Mapping, one outcome ↔ an entry in each of the three files:
//!
//! | published | here |
//! | --- | --- |
//! | detection `id`, `manifest_path`, `policy_id`, `violation_text` | the record |
//! | detection `manifest_yaml` | the record's document |
//! | patch, verdict `policy_id` | `policy_id` (canonical) |
//! | patch `source` | `source` and `mode`; `guardrails` is `paper` for rules and `merge` for a model, as those runs were |
//! | patch `patch`, `hardened`, `attempt_errors` | the same; `attempts` = errors + 1 |
//! | patch `total_latency_ms` | `propose_ms` |
//! | patch `latency_ms` | `llm_ms` for a model, else part of `propose_ms` |
//! | patch `model_usage` | the token columns |
//! | verdict `accepted` | `status` `accepted` or `rejected`; no verdict: `rejected`, fault `proposer` |
//! | verdict `ok_policy`, `ok_schema`, `ok_safety`, `ok_rescan` | the same columns, as published; absent: did not run |
//! | verdict `patched_yaml`, `errors` | the same |
//! | verdict `latency_ms`, `kubectl_ms` | `verify_ms`, `schema_ms` |
//!
//! The paper's code writes policy, schema and safety as false when the patch does not apply, although they did not run.
//! These columns keep the published values, so that its metrics can be computed again; `ok_apply` is false where a rejected
//! entry has no gate that passed, true elsewhere.
//! `fault` of a rejected entry is `patch`, unless the message names the cluster (`environment`): the published verdicts
//! do not distinguish faults of the document.
//! `kind`, `namespace` and `name` are read off the lines of the document's first level, without a YAML parser.
//!
//! Content without a column (unknown keys, absent keys, patches that are not valid JSON Patch) goes to the column `published` as
//! the difference between what the columns give and what was read, per file: `{"patch": {"set": {…}, "drop": […]}}`, or
//! `null` for an entry that is not there. So an export gives back every key and value, and only those.

mod export;
mod import;
mod shape;
mod spool;
mod tally;
#[cfg(test)]
mod tests;

pub use export::{Export, ExportError, Exported, export};
pub use import::{Import, ImportReport, Imported};
pub use shape::IMPORT;
pub use tally::Tally;
