//! What a user sets: the keys of a run, and the keys of this machine's providers. Files, variables and flags hold both in
//! one tree (`grok.model` is of the run, `grok.endpoint` is of the machine); here they are told apart.

use domain::config::RunConfig;
use serde_json::{Map, Value};

use crate::providers::Providers;

/// The settings of a user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Goes wherever the run goes.
    pub run: RunConfig,
    /// Stays on this machine.
    pub providers: Providers,
}

/// The tree of all keys with their defaults.
///
/// # Errors
/// None for the types of this release: they hold texts, numbers and maps with keys of text.
pub fn defaults() -> serde_json::Result<Value> {
    let run = RunConfig::default();
    let mut tree = serde_json::to_value(&run)?;
    // A run's text leaves these out where they are the default.
    if let Some(verifier) = tree.get_mut("verifier").and_then(Value::as_object_mut) {
        verifier.insert("depth".to_owned(), serde_json::to_value(run.verifier.depth)?);
    }
    if let Some(tree) = tree.as_object_mut() {
        tree.insert("detector".to_owned(), serde_json::to_value(run.detector)?);
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
        Ok(Self {
            run: serde_json::from_value(tree)?,
            providers: serde_json::from_value(Value::Object(own))?,
        })
    }
}

/// Whether a dotted key is one of a provider, and no part of a run.
pub fn is_of_provider(key: &str) -> bool {
    let Some((name, key)) = key.split_once('.') else { return false };
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
        let settings = Settings::from_tree(tree).unwrap();
        assert_eq!(settings.providers.grok.endpoint, "http://127.0.0.1:1");
        assert_eq!(settings.run.grok.model, "m");
        let sent = serde_json::to_string(&settings.run).unwrap();
        for key in ["endpoint", "api_key_env", "auth_header", "auth_scheme", "127.0.0.1", "XAI_API_KEY"] {
            assert!(!sent.contains(key), "a run holds {key}: {sent}");
        }
    }

    #[test]
    fn a_key_belongs_to_the_run_or_to_the_machine() {
        for key in ["grok.endpoint", "vendor.api_key_env", "vllm.auth_header", "vllm.auth_scheme"] {
            assert!(is_of_provider(key), "{key}");
        }
        for key in ["grok.model", "grok.price.input", "seed", "grok", "no.endpoint", ""] {
            assert!(!is_of_provider(key), "{key}");
        }
    }
}
