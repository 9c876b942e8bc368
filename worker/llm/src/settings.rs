//! What a user sets: the keys of a run, and the keys of this machine: its providers, programs and scanners. Files, variables
//! and flags hold both in one tree (`grok.model` is of the run, `grok.endpoint` is of the machine); here they are told apart.

use domain::budget::Price;
use domain::config::{ProposerConfig, RunConfig, ScannersConfig};
use serde_json::{Map, Value};

use crate::price::PRICES;
use crate::providers::Providers;

/// The key of this machine's programs, each under its name.
pub const PROGRAMS: &str = "programs";

/// Keys of mappings whose entries the user names: any entry is accepted below them.
pub const OPEN_MAPS: &[&str] = &[
    "rules.images",
    PROGRAMS,
    "proposer.extra_body",
    "grok.extra_headers",
    "vendor.extra_headers",
    "vllm.extra_headers",
];

/// The section with the keys of this machine's scanners, beside those of the run's detector.
const DETECTOR: &str = "detector";

/// The settings of a user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Goes wherever the run goes.
    pub run: RunConfig,
    /// Stays on this machine.
    pub providers: Providers,
    /// Stays on this machine: the programs that runs may name, as they were written.
    pub programs: Map<String, Value>,
    /// Stays on this machine: a run names scanners, and starts no program by its path.
    pub scanners: ScannersConfig,
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
        verifier.insert("kubernetes".to_owned(), serde_json::to_value(run.verifier.kubernetes)?);
        verifier.insert("rescan".to_owned(), serde_json::to_value(&run.verifier.rescan)?);
    }
    if let Some(proposer) = tree.get_mut("proposer").and_then(Value::as_object_mut) {
        proposer.insert("program".to_owned(), serde_json::to_value(&run.proposer.program)?);
        for (key, value) in ProposerConfig::left_out() {
            proposer.insert(key.to_owned(), value);
        }
        proposer.insert("delivery".to_owned(), serde_json::to_value(run.proposer.delivery)?);
    }
    if let Some(limits) = tree.get_mut("limits").and_then(Value::as_object_mut) {
        limits
            .insert("requests_per_second".to_owned(), serde_json::to_value(run.limits.requests_per_second)?);
        limits.insert("cached_tokens_count".to_owned(), Value::Bool(run.limits.cached_tokens_count));
    }
    if let Some(keys) = tree.as_object_mut() {
        keys.insert("batch".to_owned(), serde_json::to_value(run.batch)?);
        keys.insert(DETECTOR.to_owned(), serde_json::to_value(run.detector)?);
        keys.insert(PROGRAMS.to_owned(), Value::Object(Map::new()));
        keys.insert(PRICES.to_owned(), Value::String(String::new()));
    }
    for provider in ["grok", "vendor", "vllm"] {
        let price = tree.get_mut(provider).and_then(|section| section.get_mut("price"));
        if let Some(keys) = price.and_then(Value::as_object_mut) {
            keys.extend(Price::LEFT_OUT.map(|key| (key.to_owned(), Value::Null)));
        }
    }
    for (name, mut section) in machine_sections()? {
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
        let programs = tree.as_object_mut().and_then(|keys| keys.shift_remove(PROGRAMS));
        // Prices have been taken from the list by now.
        let _ = tree.as_object_mut().and_then(|keys| keys.shift_remove(PRICES));
        let mut own = Map::new();
        for (name, section) in machine_sections()? {
            let given = tree.get_mut(&name).and_then(Value::as_object_mut);
            let (Some(given), Some(keys)) = (given, section.as_object()) else { continue };
            let kept: Map<String, Value> =
                keys.keys().filter_map(|key| Some((key.clone(), given.remove(key)?))).collect();
            own.insert(name, Value::Object(kept));
        }
        let scanners = own.shift_remove(DETECTOR);
        Ok(Self {
            run: serde_json::from_value(tree)?,
            providers: serde_json::from_value(Value::Object(own))?,
            programs: programs.map_or_else(|| Ok(Map::new()), serde_json::from_value)?,
            scanners: scanners.map(serde_json::from_value).transpose()?.unwrap_or_default(),
        })
    }
}

/// Whether a dotted key is one of a provider, a program or a scanner, and no part of a run.
pub fn is_of_machine(key: &str) -> bool {
    let Some((name, key)) = key.split_once('.') else { return [PROGRAMS, PRICES].contains(&key) };
    let key = key.split('.').next().unwrap_or_default();
    name == PROGRAMS
        || machine_sections()
            .is_ok_and(|sections| sections.get(name).is_some_and(|section| section.get(key).is_some()))
}

/// The sections that hold keys of this machine, with these alone.
fn machine_sections() -> serde_json::Result<Map<String, Value>> {
    let mut sections: Map<String, Value> =
        serde_json::from_value(serde_json::to_value(Providers::default())?)?;
    sections.insert(DETECTOR.to_owned(), serde_json::to_value(ScannersConfig::default())?);
    Ok(sections)
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
        tree["programs"]["fixer"] = serde_json::json!({"command": ["/opt/fixer"]});
        tree["proposer"]["program"] = "fixer".into();
        tree["detector"]["tools"]["kyverno"] = "/bin/kyverno".into();
        tree["detector"]["catalogue"] = "full".into();
        let settings = Settings::from_tree(tree).unwrap();
        assert_eq!(settings.providers.grok.endpoint, "http://127.0.0.1:1");
        assert_eq!(settings.run.grok.model, "m");
        assert_eq!(settings.run.proposer.program, "fixer");
        assert_eq!(settings.programs["fixer"]["command"][0], "/opt/fixer");
        assert_eq!(settings.scanners.tools.kyverno, "/bin/kyverno");
        assert!(settings.run.detector.is_beyond_paper());
        let sent = serde_json::to_string(&settings.run).unwrap();
        for key in [
            "endpoint",
            "api_key_env",
            "auth_header",
            "auth_scheme",
            "127.0.0.1",
            "XAI_API_KEY",
            "programs",
            "/opt/fixer",
            "kyverno",
        ] {
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
            "programs.a",
            "detector.policies_dir",
            "detector.tools.kyverno",
        ] {
            assert!(is_of_machine(key), "{key}");
        }
        for key in [
            "grok.model",
            "grok.price.input",
            "seed",
            "grok",
            "no.endpoint",
            "proposer.program",
            "detector.catalogue",
            "",
        ] {
            assert!(!is_of_machine(key), "{key}");
        }
    }
}
