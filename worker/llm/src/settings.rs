//! What a user sets: the keys of a run, and the keys of this machine: its providers and its scanners. Files, variables and
//! flags hold both in one tree (`grok.model` is of the run, `grok.endpoint` is of the machine); here they are told apart.

use domain::config::{DetectorConfig, RunConfig};
use serde_json::{Map, Value};

use crate::providers::Providers;

/// The settings of a user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Goes wherever the run goes.
    pub run: RunConfig,
    /// Stays on this machine.
    pub providers: Providers,
    /// Stays on this machine: a run names scanners, and starts no program by its path.
    pub detector: DetectorConfig,
}

/// The section of the scanners.
const DETECTOR: &str = "detector";

/// The tree of all keys with their defaults.
///
/// # Errors
/// None for the types of this release: they hold texts, numbers and maps with keys of text.
pub fn defaults() -> serde_json::Result<Value> {
    let run = RunConfig::default();
    let mut tree = serde_json::to_value(&run)?;
    // A run's text leaves it out where it is the default.
    if let Some(verifier) = tree.get_mut("verifier").and_then(Value::as_object_mut) {
        verifier.insert("depth".to_owned(), serde_json::to_value(run.verifier.depth)?);
        verifier.insert("rescan".to_owned(), serde_json::to_value(&run.verifier.rescan)?);
    }
    if let Some(tree) = tree.as_object_mut() {
        tree.insert(DETECTOR.to_owned(), serde_json::to_value(DetectorConfig::default())?);
    }
    for (name, mut section) in providers()? {
        if let (Some(run), Some(section)) = (tree.get_mut(&name), section.as_object_mut()) {
            if let Some(keys) = run.as_object_mut() {
                section.append(keys);
            }
            *run = Value::Object(std::mem::take(section));
        }
    }
    Ok(tree)
}

impl Settings {
    /// Tells the keys of a whole tree apart.
    ///
    /// # Errors
    /// A value of the tree is not valid.
    pub fn from_tree(mut tree: Value) -> serde_json::Result<Self> {
        let mut own = Map::new();
        for (name, section) in providers()? {
            let given = tree.get_mut(&name).and_then(Value::as_object_mut);
            let (Some(given), Some(keys)) = (given, section.as_object()) else { continue };
            let kept: Map<String, Value> =
                keys.keys().filter_map(|key| Some((key.clone(), given.remove(key)?))).collect();
            own.insert(name, Value::Object(kept));
        }
        let detector = tree.as_object_mut().and_then(|tree| tree.remove(DETECTOR));
        Ok(Self {
            run: serde_json::from_value(tree)?,
            providers: serde_json::from_value(Value::Object(own))?,
            detector: detector.map(serde_json::from_value).transpose()?.unwrap_or_default(),
        })
    }
}

/// Whether a dotted key is one of this machine, of a provider or a scanner, and no part of a run.
pub fn is_of_machine(key: &str) -> bool {
    let Some((name, key)) = key.split_once('.') else { return false };
    if name == DETECTOR {
        return true;
    }
    providers().is_ok_and(|providers| providers.get(name).is_some_and(|section| section.get(key).is_some()))
}

fn providers() -> serde_json::Result<Map<String, Value>> {
    serde_json::from_value(serde_json::to_value(Providers::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_holds_the_keys_of_both() {
        let mut tree = defaults().unwrap();
        assert_eq!(Settings::from_tree(tree.clone()).unwrap(), Settings::default());
        tree["grok"]["endpoint"] = "http://127.0.0.1:1".into();
        tree["grok"]["model"] = "m".into();
        tree["detector"]["tools"]["kyverno"] = "/bin/kyverno".into();
        let settings = Settings::from_tree(tree).unwrap();
        assert_eq!(settings.providers.grok.endpoint, "http://127.0.0.1:1");
        assert_eq!(settings.run.grok.model, "m");
        assert_eq!(settings.detector.tools.kyverno, "/bin/kyverno");
        let sent = serde_json::to_string(&settings.run).unwrap();
        for key in
            ["endpoint", "api_key_env", "auth_header", "auth_scheme", "127.0.0.1", "XAI_API_KEY", "kyverno"]
        {
            assert!(!sent.contains(key), "a run holds {key}: {sent}");
        }
    }

    #[test]
    fn a_key_belongs_to_the_run_or_to_the_machine() {
        for key in [
            "grok.endpoint",
            "vendor.api_key_env",
            "vllm.auth_header",
            "vllm.auth_scheme",
            "detector.policies_dir",
        ] {
            assert!(is_of_machine(key), "{key}");
        }
        for key in ["grok.model", "grok.price.input", "seed", "grok", "no.endpoint", ""] {
            assert!(!is_of_machine(key), "{key}");
        }
    }
}
