//! A configuration at rest, which an older release may have written.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::RunConfig;
use crate::ids::ConfigHash;

/// Sections of the configuration that name a provider.
const SECTIONS: [&str; 3] = ["grok", "vendor", "vllm"];

/// Keys of these sections that releases before version 5 of the protocol kept in a run. They belong to the worker now.
const RETIRED: [&str; 4] = ["endpoint", "api_key_env", "auth_header", "auth_scheme"];

/// A configuration read from a ledger or a `run.json`. On the wire the retired keys are refused; here they are dropped, so
/// that runs of older releases can be shown, compared and removed.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConfig {
    /// The configuration without the retired keys.
    pub config: RunConfig,
    /// Whether there were any: its recorded hash is another than that of `config`.
    pub is_retired: bool,
    /// The endpoint that the provider of the run had then; `None` where the rules propose.
    pub former_endpoint: Option<String>,
}

impl StoredConfig {
    /// The hash of the configuration: `recorded`, unless keys that counted in it were dropped.
    pub fn hash_or(&self, recorded: ConfigHash) -> ConfigHash {
        if self.is_retired { self.config.hash() } else { recorded }
    }
}

impl<'de> Deserialize<'de> for StoredConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tree = Value::deserialize(deserializer)?;
        let (mut is_retired, mut endpoints) = (false, Vec::new());
        for name in SECTIONS {
            let Some(section) = tree.get_mut(name).and_then(Value::as_object_mut) else { continue };
            for key in RETIRED {
                let Some(value) = section.remove(key) else { continue };
                is_retired = true;
                if let ("endpoint", Value::String(endpoint)) = (key, value) {
                    endpoints.push((name, endpoint));
                }
            }
        }
        let config: RunConfig = serde_json::from_value(tree).map_err(de::Error::custom)?;
        let mode = config.proposer.mode.as_str();
        let former_endpoint = endpoints.into_iter().find(|(name, _)| *name == mode).map(|(_, url)| url);
        Ok(Self { config, is_retired, former_endpoint })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_of_an_older_release_is_read_without_its_endpoints() {
        let mut old = serde_json::to_value(RunConfig::default()).unwrap();
        for (section, url) in [("grok", "https://a.example"), ("vendor", "https://b.example")] {
            old[section]["endpoint"] = json!(url);
            old[section]["api_key_env"] = json!("KEY");
        }
        let read = |old: &Value| serde_json::from_value::<StoredConfig>(old.clone()).unwrap();
        let rules = read(&old);
        assert_eq!((&rules.config, rules.is_retired), (&RunConfig::default(), true));
        assert_eq!(rules.former_endpoint, None, "the rules call no provider");
        old["proposer"]["mode"] = json!("vendor");
        assert_eq!(read(&old).former_endpoint.as_deref(), Some("https://b.example"));
        let current = read(&serde_json::to_value(RunConfig::default()).unwrap());
        assert!(!current.is_retired && current.config == RunConfig::default());
        old["grok"]["no_such_key"] = json!(1);
        assert!(serde_json::from_value::<StoredConfig>(old).is_err());
    }
}
