//! Plans a run from its configuration and corpus, or refuses it with the reason. No I/O.

use domain::config::RunConfig;
use domain::ids::{CorpusHash, RunId};
use domain::run::RunPlan;
use proto::channel::MAX_DOCUMENT_BYTES;
use proto::status::{ApiError, ErrorReason};

/// Checks the configuration before the corpus is read.
pub(crate) fn check(config: &RunConfig) -> Result<(), ApiError> {
    config.check().map_err(|error| ApiError::new(ErrorReason::BadMessage, error.to_string()))?;
    if config.limits.document_bytes > MAX_DOCUMENT_BYTES {
        let message =
            format!("limits.document_bytes: must be at most {MAX_DOCUMENT_BYTES}, the limit of a message");
        return Err(ApiError::new(ErrorReason::BadMessage, message));
    }
    Ok(())
}

/// The plan of a run over `records` records.
pub(crate) fn plan(
    run_id: RunId,
    config: RunConfig,
    records: u64,
    corpus_hash: CorpusHash,
) -> Result<RunPlan, ApiError> {
    if records == 0 {
        return Err(ApiError::new(
            ErrorReason::EmptyCorpus,
            "the corpus has no record: check the path; a folder needs .yaml, .yml or .json files in which the detector \
             finds something, a detections file a list of records",
        ));
    }
    let shard_size = config.fleet.shard_size;
    if records >= u64::from(u32::MAX) {
        let message = format!(
            "the corpus has {records} records, a run can hold fewer than {}: split the corpus",
            u32::MAX
        );
        return Err(ApiError::new(ErrorReason::TooLarge, message));
    }
    Ok(RunPlan {
        run_id,
        corpus_hash,
        config_hash: config.hash(),
        config,
        records,
        shard_size,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        former_endpoint: None,
    })
}

/// Checks that a resubmitted configuration is that of the known plan.
pub(crate) fn same_config(known: &RunPlan, config: &RunConfig) -> Result<(), ApiError> {
    if known.config_hash == config.hash() {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorReason::ConfigDiffers,
        format!(
            "run {} exists with another configuration{}: use the same configuration to resume it, or another run id",
            known.run_id,
            difference(&known.config, config)
        ),
    ))
}

/// Checks that a resubmitted corpus is that of the known plan.
pub(crate) fn same_corpus(known: &RunPlan, records: u64, corpus_hash: CorpusHash) -> Result<(), ApiError> {
    if known.corpus_hash == corpus_hash {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorReason::CorpusDiffers,
        format!(
            "run {} exists with another corpus ({} records then, {records} now): use the same corpus to resume it, or \
             another run id",
            known.run_id, known.records
        ),
    ))
}

/// Keys that do not affect outcomes: a difference in them is allowed.
const UNHASHED: [&str; 16] = [
    "fleet",
    "spend",
    "limits.requests_per_minute",
    "limits.requests_per_second",
    "limits.tokens_per_minute",
    "limits.cached_tokens_count",
    "limits.concurrency",
    "batch",
    "proposer.delivery",
    "proposer.timeout_seconds",
    "proposer.connect_timeout_seconds",
    "proposer.first_byte_timeout_seconds",
    "proposer.retries",
    "proposer.retry_seconds",
    "proposer.outage_minutes",
    "proposer.max_failed_share",
];

/// The first key in which two configurations differ, with both values.
fn difference(known: &RunConfig, now: &RunConfig) -> String {
    let (Ok(known), Ok(now)) = (serde_json::to_value(known), serde_json::to_value(now)) else {
        return String::new();
    };
    first_difference(&known, &now, String::new())
        .map(|(key, known, now)| format!(" ({key}: {known} then, {now} now)"))
        .unwrap_or_default()
}

fn first_difference(
    known: &serde_json::Value,
    now: &serde_json::Value,
    key: String,
) -> Option<(String, String, String)> {
    if known == now || UNHASHED.contains(&key.as_str()) {
        return None;
    }
    if let (Some(known), Some(now)) = (known.as_object(), now.as_object()) {
        let keys: std::collections::BTreeSet<&String> = known.keys().chain(now.keys()).collect();
        return keys.into_iter().find_map(|name| {
            let null = serde_json::Value::Null;
            let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            first_difference(known.get(name).unwrap_or(&null), now.get(name).unwrap_or(&null), below)
        });
    }
    Some((key, known.to_string(), now.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(config: RunConfig) -> RunPlan {
        plan(RunId::new("r").unwrap(), config, 501, CorpusHash::of(b"c")).unwrap()
    }

    #[test]
    fn a_plan_covers_the_corpus_and_an_empty_one_is_refused() {
        let planned = planned(RunConfig::default());
        assert_eq!(planned.cut().shards(), 3);
        let refusal =
            plan(RunId::new("r").unwrap(), RunConfig::default(), 0, CorpusHash::of(b"")).unwrap_err();
        assert_eq!(refusal.reason, ErrorReason::EmptyCorpus);
    }

    #[test]
    fn another_configuration_is_refused_by_its_key() {
        let mut config = RunConfig::default();
        let known = planned(config.clone());
        config.fleet.shard_size = 7;
        config.spend.max_requests = 7;
        config.limits.requests_per_minute = domain::budget::Limit::at(7);
        config.proposer.retries += 1;
        assert_eq!(same_config(&known, &config), Ok(()), "sharding does not affect outcomes");
        config.rules.default_tag = "v1".to_owned();
        let refusal = same_config(&known, &config).unwrap_err();
        assert_eq!(refusal.reason, ErrorReason::ConfigDiffers);
        assert!(refusal.message.contains("rules.default_tag: \"stable\" then, \"v1\" now"), "{refusal}");
    }

    #[test]
    fn documents_must_fit_into_a_message() {
        let mut config = RunConfig::default();
        config.limits.document_bytes = MAX_DOCUMENT_BYTES + 1;
        assert!(check(&config).unwrap_err().message.contains("limits.document_bytes"));
    }
}
