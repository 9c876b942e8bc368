//! The keys of the model proposer: provider, parameters of its calls, prices.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::batch::Delivery;
use super::error::InvalidConfig;
use super::parameters::{self, AnswerFormat, OnModelMismatch};
use crate::answer::{Api, MaxTokensName, ServiceTier, StickyCache};
use crate::budget::Price;

/// Who proposes, and how a model is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProposerConfig {
    /// The proposer's mode.
    pub mode: ProposerMode,
    /// The program that `mode: command` asks, by its name in the settings of the workers: no run says what is started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// How the first question about each record goes to the model.
    #[serde(skip_serializing_if = "Delivery::is_live")]
    pub delivery: Delivery,
    /// Longest one call may take, in seconds.
    pub timeout_seconds: u32,
    /// Longest a connection may take to be made, in seconds.
    pub connect_timeout_seconds: u32,
    /// Longest until the head of an answer arrives, in seconds.
    pub first_byte_timeout_seconds: u32,
    /// How often a call that failed on the way is made again.
    pub retries: u32,
    /// Longest a question may take with all its retries, in seconds. While no call at all succeeds it does not count.
    pub retry_seconds: u32,
    /// How long a run waits while no call succeeds, in minutes; then it stops, and can be resumed.
    pub outage_minutes: u32,
    /// Share of the questions that may fail, from 0 to 1: above it the run stops, and can be resumed. Counted from the 20th
    /// question on.
    pub max_failed_share: f64,
    /// The API of the provider that is called. Left out of a run's text where it is the default, as all keys below that came
    /// later.
    #[serde(skip_serializing_if = "Api::is_chat")]
    pub api: Api,
    /// Sampling temperature; `None`, written `auto`: it is not sent.
    #[serde(with = "temperature")]
    pub temperature: Option<f64>,
    /// Longest answer in tokens; 0 leaves it to the provider.
    pub max_tokens: u32,
    /// The name by which the longest answer is sent to chat completions.
    #[serde(skip_serializing_if = "MaxTokensName::is_older")]
    pub max_tokens_as: MaxTokensName,
    /// Seed of the model's draws, one more for each further sample; `None`: none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much the model is to reason, a word of the provider; empty: its default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning_effort: String,
    /// The tier that is asked for; `None`: the provider's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// How the provider is told which calls are about one document.
    #[serde(skip_serializing_if = "StickyCache::is_off")]
    pub sticky_cache: StickyCache,
    /// Further keys of the request's body, as they are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// How many answers are asked for; the first that passes every gate wins.
    pub samples: u32,
    /// The form that the provider is asked for.
    pub answer_form: AnswerFormat,
    /// What happens when another model answers than the one that was asked. Left out of a run's text where it is the default.
    #[serde(skip_serializing_if = "OnModelMismatch::is_stop")]
    pub on_model_mismatch: OnModelMismatch,
    /// Bytes of a document that a prompt may hold; of a longer one only the part that matters is sent.
    pub prompt_bytes: u32,
}

/// A temperature as it is written: a number, or `auto`.
mod temperature {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "the signature serde calls")]
    pub(super) fn serialize<S: Serializer>(
        temperature: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match temperature {
            None => serializer.serialize_str("auto"),
            Some(temperature) => serializer.serialize_f64(*temperature),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Option<f64>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or auto")
            }
            fn visit_f64<E: de::Error>(self, temperature: f64) -> Result<Option<f64>, E> {
                Ok(Some(temperature))
            }
            fn visit_u64<E: de::Error>(self, temperature: u64) -> Result<Option<f64>, E> {
                Ok(Some(temperature as f64))
            }
            fn visit_i64<E: de::Error>(self, temperature: i64) -> Result<Option<f64>, E> {
                Ok(Some(temperature as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<f64>, E> {
                if text == "auto" {
                    Ok(None)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The proposer's mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposerMode {
    /// Deterministic rules.
    #[default]
    Rules,
    /// The model of the `grok` keys, at the provider of this name.
    Grok,
    /// The model of the `vendor` keys, at the provider of this name.
    Vendor,
    /// The model of the `vllm` keys, at the provider of this name.
    Vllm,
    /// The program of this name in the settings of the worker.
    Command,
}

impl ProposerMode {
    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Grok => "grok",
            Self::Vendor => "vendor",
            Self::Vllm => "vllm",
            Self::Command => "command",
        }
    }
}

impl Default for ProposerConfig {
    fn default() -> Self {
        Self {
            mode: ProposerMode::default(),
            program: String::new(),
            delivery: Delivery::default(),
            timeout_seconds: 60,
            connect_timeout_seconds: 10,
            first_byte_timeout_seconds: 60,
            retries: 2,
            retry_seconds: 300,
            outage_minutes: 30,
            max_failed_share: 0.2,
            api: Api::default(),
            temperature: None,
            max_tokens: 0,
            max_tokens_as: MaxTokensName::default(),
            seed: None,
            reasoning_effort: String::new(),
            service_tier: None,
            sticky_cache: StickyCache::default(),
            extra_body: Map::new(),
            samples: 1,
            answer_form: AnswerFormat::default(),
            on_model_mismatch: OnModelMismatch::default(),
            prompt_bytes: 64 << 10,
        }
    }
}

impl ProposerConfig {
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let between = |key, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(InvalidConfig { key, reason: format!("must be from {least} to {most}") })
        };
        self.check_program()?;
        between("proposer.timeout_seconds", self.timeout_seconds, 1, 3600)?;
        between("proposer.connect_timeout_seconds", self.connect_timeout_seconds, 1, 3600)?;
        between("proposer.first_byte_timeout_seconds", self.first_byte_timeout_seconds, 1, 3600)?;
        between("proposer.retries", self.retries, 0, 100)?;
        between("proposer.retry_seconds", self.retry_seconds, 1, 86_400)?;
        between("proposer.samples", self.samples, 1, 100)?;
        between("proposer.prompt_bytes", self.prompt_bytes, 1 << 10, 16 << 20)?;
        between("proposer.outage_minutes", self.outage_minutes, 0, 10_080)?;
        if !(0.0..=1.0).contains(&self.max_failed_share) {
            return Err(InvalidConfig {
                key: "proposer.max_failed_share",
                reason: "must be from 0 to 1".to_owned(),
            });
        }
        parameters::check(self.api, self.seed, &self.reasoning_effort, &self.extra_body)?;
        if self.delivery == Delivery::Batch && !self.api.is_chat() {
            return Err(InvalidConfig {
                key: "proposer.api",
                reason: "must be chat where proposer.delivery is batch: batches are of chat completions"
                    .to_owned(),
            });
        }
        if self.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return Err(InvalidConfig {
                key: "proposer.temperature",
                reason: "must be from 0 to 2, or auto".to_owned(),
            });
        }
        Ok(())
    }
}

impl ProposerConfig {
    /// The keys that a run's text leaves out where they are the default, with their defaults: a tree of settings shows them.
    pub fn left_out() -> [(&'static str, Value); 8] {
        let default = Self::default();
        let text = |value: serde_json::Result<Value>| value.unwrap_or_default();
        [
            ("api", text(serde_json::to_value(default.api))),
            ("max_tokens_as", text(serde_json::to_value(default.max_tokens_as))),
            ("seed", Value::Null),
            ("reasoning_effort", Value::String(String::new())),
            ("service_tier", Value::Null),
            ("sticky_cache", text(serde_json::to_value(default.sticky_cache))),
            ("extra_body", Value::Object(Map::new())),
            ("on_model_mismatch", text(serde_json::to_value(default.on_model_mismatch))),
        ]
    }

    fn check_program(&self) -> Result<(), InvalidConfig> {
        let refuse = |key, reason: &str| Err(InvalidConfig { key, reason: reason.to_owned() });
        match (self.mode, self.program.is_empty()) {
            (ProposerMode::Command, true) => refuse(
                "proposer.program",
                "must name one of the programs that the workers have (programs.NAME)",
            ),
            (ProposerMode::Command, false) if !is_program_name(&self.program) => refuse(
                "proposer.program",
                "must be letters, digits, dots, dashes and underscores, at most 60, a letter or digit first",
            ),
            (ProposerMode::Command, false) if self.samples > 1 => {
                refuse("proposer.samples", "must be 1 where a program proposes")
            }
            _ => Ok(()),
        }
    }
}

/// Whether a program may have this name.
pub fn is_program_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.len() <= 60 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal)
}

/// The model of a provider, and what it costs. Where the provider is called, and with which key, is the configuration of
/// each worker and no part of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Its name; empty: a run that asks it has to name it.
    pub model: String,
    /// What it costs. Where it is not set, it is taken from the list of prices (`configs/prices.yaml`) when the settings are
    /// read; a model that is not listed has no price.
    pub price: Price,
}

impl ModelConfig {
    fn named(model: &str) -> Self {
        Self { model: model.to_owned(), price: Price::default() }
    }

    pub(super) fn grok() -> Self {
        Self::named("grok-4.3")
    }

    /// None: a name that is written here ends with its model.
    pub(super) fn vendor() -> Self {
        Self::default()
    }

    pub(super) fn vllm() -> Self {
        Self::named("meta-llama/Meta-Llama-3-8B-Instruct")
    }

    pub(super) fn check(&self, price: &'static str) -> Result<(), InvalidConfig> {
        match self.price.fault() {
            Some(fault) => Err(InvalidConfig { key: price, reason: fault.to_owned() }),
            None => Ok(()),
        }
    }

    /// Checks it as the model that a run asks, and that the run's bound on its cost can be kept.
    pub(super) fn check_asked(
        &self,
        keys: [&'static str; 2],
        max_cost_usd: f64,
    ) -> Result<(), InvalidConfig> {
        let [model, price] = keys;
        if self.model.trim().is_empty() {
            return Err(InvalidConfig { key: model, reason: "must name a model".to_owned() });
        }
        if max_cost_usd > 0.0 && !self.price.is_known() {
            let name = &self.model;
            let reason = format!(
                "no price of {name} is known, so that spend.max_cost_usd cannot be kept: set {price}.input and \
                 {price}.output (US dollars per million tokens; 0 for a server of your own), or bound the calls instead \
                 (spend.max_requests)"
            );
            return Err(InvalidConfig { key: price, reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_is_asked_has_a_name_and_for_a_bound_a_price() {
        let keys = ["grok.model", "grok.price"];
        let priced = ModelConfig { price: Price::flat(1.0, None, 2.0), ..ModelConfig::grok() };
        for (model, max_cost_usd, refused) in [
            (priced.clone(), 5.0, None),
            (priced.clone(), 0.0, None),
            (ModelConfig::grok(), 0.0, None),
            (ModelConfig::grok(), 5.0, Some("grok.price")),
            (ModelConfig { model: " ".to_owned(), ..priced }, 0.0, Some("grok.model")),
            (ModelConfig::vendor(), 0.0, Some("grok.model")),
        ] {
            let checked = model.check_asked(keys, max_cost_usd);
            assert_eq!(checked.clone().err().map(|error| error.key), refused, "{model:?}");
            if let Err(InvalidConfig { key: "grok.price", reason }) = checked {
                for needed in ["grok-4.3", "spend.max_cost_usd", "grok.price.input", "spend.max_requests"] {
                    assert!(reason.contains(needed), "{reason}");
                }
            }
        }
        let broken =
            ModelConfig { price: Price { input: Some(1.0), ..Price::default() }, ..ModelConfig::grok() };
        assert_eq!(broken.check("grok.price").unwrap_err().key, "grok.price");
        for shipped in [ModelConfig::grok(), ModelConfig::vendor(), ModelConfig::vllm()] {
            assert!(shipped.check("price").is_ok());
        }
    }

    #[test]
    fn a_price_of_an_older_release_is_read() {
        let old = r#"{"model": "m", "price": {"input": 0.2, "cached_input": 0.05, "output": 0.5}}"#;
        let read: ModelConfig = serde_json::from_str(old).unwrap();
        assert_eq!(read.price, Price::flat(0.2, Some(0.05), 0.5));
    }

    #[test]
    fn shares_and_temperatures_have_a_range() {
        let check = |change: fn(&mut ProposerConfig)| {
            let mut config = ProposerConfig::default();
            change(&mut config);
            config.check().map_err(|error| error.key)
        };
        for accepted in [Some(0.0), Some(2.0), None] {
            let config = ProposerConfig { temperature: accepted, ..ProposerConfig::default() };
            assert!(config.check().is_ok(), "{accepted:?}");
        }
        assert_eq!(check(|config| config.temperature = Some(2.1)), Err("proposer.temperature"));
        assert_eq!(check(|config| config.temperature = Some(f64::NAN)), Err("proposer.temperature"));
        assert_eq!(check(|config| config.max_failed_share = 1.0), Ok(()));
        assert_eq!(check(|config| config.max_failed_share = 1.1), Err("proposer.max_failed_share"));
        assert_eq!(check(|config| config.max_failed_share = f64::NAN), Err("proposer.max_failed_share"));
        assert_eq!(check(|config| config.outage_minutes = 10_081), Err("proposer.outage_minutes"));
        let left_out: ProposerConfig = serde_json::from_str(r#"{"temperature": "auto"}"#).unwrap();
        assert_eq!(left_out.temperature, None);
        assert_eq!(serde_json::to_value(&left_out).unwrap()["temperature"], "auto");
        for number in ["1", "0.5"] {
            let text = format!(r#"{{"temperature": {number}}}"#);
            let read: ProposerConfig = serde_json::from_str(&text).unwrap();
            assert_eq!(read.temperature, number.parse().ok(), "{text}");
        }
        for bad in ["null", "\"hot\"", "[]"] {
            let text = format!(r#"{{"temperature": {bad}}}"#);
            assert!(serde_json::from_str::<ProposerConfig>(&text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<ProposerConfig>("{}").unwrap().temperature, None);
    }

    #[test]
    fn what_we_send_ourselves_is_no_further_key_of_a_body() {
        let check = |text: &str| {
            let config: ProposerConfig = serde_json::from_str(text).unwrap();
            config.check().err().map(|error| error.key)
        };
        assert_eq!(check(r#"{"extra_body": {"top_k": 5, "search": {"mode": "off"}}}"#), None);
        for own in ["model", "temperature", "max_tokens", "stream", "store", "reasoning", "n"] {
            let text = format!(r#"{{"extra_body": {{"top_k": 5, "{own}": 1}}}}"#);
            assert_eq!(check(&text), Some("proposer.extra_body"), "{own}");
        }
        assert_eq!(check(r#"{"reasoning_effort": "low", "service_tier": "flex", "seed": 7}"#), None);
        assert_eq!(check(r#"{"reasoning_effort": "very low"}"#), Some("proposer.reasoning_effort"));
        assert_eq!(check(r#"{"api": "responses", "seed": 7}"#), Some("proposer.seed"));
        let text = serde_json::to_string(&ProposerConfig::default()).unwrap();
        for (key, _) in ProposerConfig::left_out() {
            assert!(!text.contains(&format!("\"{key}\"")), "{key} is left out of {text}");
        }
    }

    #[test]
    fn a_program_is_named_and_nothing_else() {
        let check = |text: &str| {
            let config: ProposerConfig = serde_json::from_str(text).unwrap();
            config.check().err().map(|error| error.key)
        };
        assert_eq!(check(r#"{"mode": "command", "program": "kyverno-1.19"}"#), None);
        assert_eq!(check(r#"{"mode": "command"}"#), Some("proposer.program"));
        for bad in ["../a", "a b", ".a", &"a".repeat(61), "a;b"] {
            let text = format!(r#"{{"mode": "command", "program": "{bad}"}}"#);
            assert_eq!(check(&text), Some("proposer.program"), "{bad}");
        }
        assert_eq!(check(r#"{"mode": "command", "program": "a", "samples": 2}"#), Some("proposer.samples"));
        let started = serde_json::from_str::<ProposerConfig>(r#"{"mode": "command", "command": ["sh"]}"#);
        assert!(started.unwrap_err().to_string().contains("unknown field `command`"));
        let sent = serde_json::to_string(&ProposerConfig::default()).unwrap();
        assert!(!sent.contains("program"), "runs of older releases keep their hash: {sent}");
    }

    #[test]
    fn the_keys_of_a_provider_are_no_keys_of_a_run() {
        for key in ["endpoint", "api_key_env", "auth_header", "auth_scheme"] {
            let text = format!(r#"{{"model": "m", "{key}": "x"}}"#);
            let error = serde_json::from_str::<ModelConfig>(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
        }
    }
}
