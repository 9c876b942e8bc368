//! Ranges of the numbers in a configuration: whoever submits a run decides neither how much memory a worker takes nor for how
//! long it computes.

use super::RunConfig;
use super::error::InvalidConfig;
use crate::budget::Limit;

/// Largest `limits.document_nodes`: some 100 bytes each while a document is worked on, in several copies.
const DOCUMENT_NODES: u64 = 2_000_000;

/// Largest number of seconds in a field of Kubernetes, which are signed 32-bit numbers.
const KUBERNETES_SECONDS: u64 = i32::MAX as u64;

/// Checks every number that has no check of its own.
pub(super) fn check(config: &RunConfig) -> Result<(), InvalidConfig> {
    let limits = &config.limits;
    let known = |limit: Limit| limit.known().unwrap_or(1);
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let ranges: [(&'static str, u64, (u64, u64)); 13] = [
        ("max_attempts", config.max_attempts.into(), (1, 100)),
        ("proposer.max_tokens", config.proposer.max_tokens.into(), (0, 10_000_000)),
        ("rules.job_ttl_seconds", config.rules.job_ttl_seconds.into(), (0, KUBERNETES_SECONDS)),
        ("limits.document_bytes", bytes(limits.document_bytes), (1, 256 << 20)),
        ("limits.document_nodes", bytes(limits.document_nodes), (1, DOCUMENT_NODES)),
        ("limits.document_aliases", bytes(limits.document_aliases), (0, 100_000)),
        ("limits.file_bytes", limits.file_bytes, (1, 4 << 30)),
        ("limits.record_bytes", bytes(limits.record_bytes), (1, 256 << 20)),
        ("limits.record_steps", limits.record_steps, (1_000, 1_000_000_000_000)),
        ("limits.requests_per_minute", known(limits.requests_per_minute), (1, 100_000_000)),
        ("limits.tokens_per_minute", known(limits.tokens_per_minute), (1, 1_000_000_000_000)),
        ("limits.concurrency", known(limits.concurrency), (1, 100_000)),
        ("spend.max_requests", config.spend.max_requests, (0, 1_000_000_000_000)),
    ];
    for (key, value, (least, most)) in ranges {
        if !(least..=most).contains(&value) {
            return Err(InvalidConfig { key, reason: format!("must be from {least} to {most}") });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Numbers that may be as large as their type allows.
    const HARMLESS: [(&str, u64); 2] = [
        // An order of runs, never a size.
        ("spend.priority", i32::MAX as u64),
        // The largest number that Kubernetes accepts.
        ("rules.job_ttl_seconds", i32::MAX as u64),
    ];

    /// The pointers of all whole numbers, limits that are `auto` included.
    fn numbers(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| numbers(value, &format!("{at}/{key}"), found));
            }
            Value::Number(number) if !number.is_f64() => found.push(at.to_owned()),
            Value::String(text) if text == "auto" => found.push(at.to_owned()),
            _ => {}
        }
    }

    #[test]
    fn every_number_has_a_range() {
        let default = serde_json::to_value(RunConfig::default()).unwrap();
        let mut found = Vec::new();
        numbers(&default, "", &mut found);
        assert!(found.len() > 20, "{found:?}");
        for pointer in found {
            let key = pointer.trim_start_matches('/').replace('/', ".");
            for number in [u64::MAX, i64::MAX as u64, 1 << 60, u32::MAX.into(), i32::MAX as u64] {
                let mut config = default.clone();
                *config.pointer_mut(&pointer).unwrap() = json!(number);
                let Ok(config) = serde_json::from_value::<RunConfig>(config) else { continue };
                // Any seed is as good as another.
                let harmless = key == "seed" || HARMLESS.contains(&(key.as_str(), number));
                match config.check() {
                    Ok(()) => assert!(harmless, "{key} = {number} is accepted"),
                    Err(error) => {
                        assert!(!harmless && error.key == key, "{key} = {number}: {error}");
                        assert!(error.reason.starts_with("must be "), "{error}");
                    }
                }
            }
            let mut config = default.clone();
            *config.pointer_mut(&pointer).unwrap() = json!(i64::MIN);
            assert!(serde_json::from_value::<RunConfig>(config).is_err(), "{key} is negative");
        }
        assert!(RunConfig::default().check().is_ok());
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        let mut config = RunConfig::default();
        config.limits.document_nodes = 1 << 60;
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "limits.document_nodes: must be from 1 to 2000000"
        );
    }
}
