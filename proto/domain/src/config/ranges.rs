//! Ranges of the numbers in a configuration. They bound the memory and the computing time that a submitted run can demand of a
//! worker.

use super::error::InvalidConfig;

/// Checks that each number lies between the least and the most that its key allows.
pub(super) fn check(numbers: &[(&'static str, u64, (u64, u64))]) -> Result<(), InvalidConfig> {
    for &(key, value, (least, most)) in numbers {
        if !(least..=most).contains(&value) {
            return Err(InvalidConfig { key, reason: format!("must be from {least} to {most}") });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::RunConfig;

    /// Numbers that may be as large as their type allows.
    const HARMLESS: [(&str, u64); 2] = [
        // An order of runs, never a size.
        ("spend.priority", i32::MAX as u64),
        // The largest number that Kubernetes accepts.
        ("rules.job_ttl_seconds", i32::MAX as u64),
    ];

    /// Keys whose numbers may go beyond 32 bits: rates and counts, which are compared and never allocated.
    const WIDE: [&str; 3] = ["limits.tokens_per_minute", "limits.record_steps", "spend.max_requests"];

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
                let wide = WIDE.contains(&key.as_str()) && number <= u32::MAX.into();
                let harmless = key == "seed" || wide || HARMLESS.contains(&(key.as_str(), number));
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
            let negative = serde_json::from_value::<RunConfig>(config).ok();
            assert!(negative.is_none_or(|config| config.check().is_err()), "{key} is negative");
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
