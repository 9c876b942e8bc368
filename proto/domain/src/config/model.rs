//! The keys of the model proposer: provider, parameters of its calls, prices.

use serde::{Deserialize, Serialize};

use super::error::InvalidConfig;
use crate::budget::Price;

/// Who proposes, and how a model is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProposerConfig {
    /// The proposer's mode.
    pub mode: ProposerMode,
    /// Longest one call may take, in seconds.
    pub timeout_seconds: u32,
    /// Longest a connection may take to be made, in seconds.
    pub connect_timeout_seconds: u32,
    /// Longest until the head of an answer arrives, in seconds.
    pub first_byte_timeout_seconds: u32,
    /// How often a call that failed on the way is made again.
    pub retries: u32,
    /// Longest a question may take with all its retries, in seconds.
    pub retry_seconds: u32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Longest answer in tokens; 0 leaves it to the provider.
    pub max_tokens: u32,
    /// How many answers are asked for; the first that passes every gate wins.
    pub samples: u32,
    /// The form that the provider is asked for.
    pub answer_form: AnswerFormat,
    /// Bytes of a document that a prompt may hold; of a longer one only the part that matters is sent.
    pub prompt_bytes: u32,
}

/// The proposer's mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposerMode {
    /// Deterministic rules.
    #[default]
    Rules,
    /// The model of the `grok` keys.
    Grok,
    /// The model of the `vendor` keys.
    Vendor,
    /// The model of the `vllm` keys.
    Vllm,
}

impl ProposerMode {
    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Grok => "grok",
            Self::Vendor => "vendor",
            Self::Vllm => "vllm",
        }
    }
}

/// The form that a provider is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// JSON of our schema; for providers with structured output.
    #[default]
    JsonSchema,
    /// Any JSON object.
    JsonObject,
    /// Plain text.
    Text,
}

impl Default for ProposerConfig {
    fn default() -> Self {
        Self {
            mode: ProposerMode::default(),
            timeout_seconds: 60,
            connect_timeout_seconds: 10,
            first_byte_timeout_seconds: 60,
            retries: 2,
            retry_seconds: 300,
            temperature: 0.0,
            max_tokens: 0,
            samples: 1,
            answer_form: AnswerFormat::default(),
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
        between("proposer.timeout_seconds", self.timeout_seconds, 1, 3600)?;
        between("proposer.connect_timeout_seconds", self.connect_timeout_seconds, 1, 3600)?;
        between("proposer.first_byte_timeout_seconds", self.first_byte_timeout_seconds, 1, 3600)?;
        between("proposer.retries", self.retries, 0, 100)?;
        between("proposer.retry_seconds", self.retry_seconds, 1, 86_400)?;
        between("proposer.samples", self.samples, 1, 100)?;
        between("proposer.prompt_bytes", self.prompt_bytes, 1 << 10, 16 << 20)?;
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(InvalidConfig {
                key: "proposer.temperature",
                reason: "must be from 0 to 2".to_owned(),
            });
        }
        Ok(())
    }
}

/// A model behind an OpenAI-compatible endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Where it is asked; `/v1/chat/completions` is appended where it is missing.
    pub endpoint: String,
    /// Its name.
    pub model: String,
    /// The environment variable that holds the API key; empty: no key is sent.
    pub api_key_env: String,
    /// The header that carries the key.
    pub auth_header: String,
    /// The word before the key; empty: the key alone.
    pub auth_scheme: String,
    /// What it costs.
    pub price: Price,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            model: String::new(),
            api_key_env: String::new(),
            auth_header: "Authorization".to_owned(),
            auth_scheme: "Bearer".to_owned(),
            price: Price::default(),
        }
    }
}

impl ModelConfig {
    pub(super) fn grok() -> Self {
        Self {
            endpoint: "https://api.x.ai/v1/chat/completions".to_owned(),
            model: "grok-4-fast-reasoning".to_owned(),
            api_key_env: "XAI_API_KEY".to_owned(),
            price: Price { input: 0.20, cached_input: 0.05, output: 0.50 },
            ..Self::default()
        }
    }

    pub(super) fn vendor() -> Self {
        Self {
            endpoint: "https://api.openai.com/v1/chat/completions".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            api_key_env: "OPENAI_API_KEY".to_owned(),
            price: Price { input: 0.15, cached_input: 0.075, output: 0.60 },
            ..Self::default()
        }
    }

    pub(super) fn vllm() -> Self {
        Self {
            endpoint: "http://localhost:8000/v1/chat/completions".to_owned(),
            model: "meta-llama/Meta-Llama-3-8B-Instruct".to_owned(),
            api_key_env: String::new(),
            ..Self::default()
        }
    }

    /// The address that is called.
    pub fn url(&self) -> String {
        let base = self.endpoint.trim().trim_end_matches('/');
        if base.ends_with("/v1/chat/completions") {
            base.to_owned()
        } else if base.ends_with("/v1") {
            format!("{base}/chat/completions")
        } else {
            format!("{base}/v1/chat/completions")
        }
    }

    pub(super) fn check(&self, keys: [&'static str; 4]) -> Result<(), InvalidConfig> {
        let refuse = |key, reason: &str| Err(InvalidConfig { key, reason: reason.to_owned() });
        let [endpoint, model, api_key_env, price] = keys;
        let address = self.endpoint.trim();
        let Some(rest) = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")) else {
            return refuse(endpoint, "must begin with http:// or https://");
        };
        if rest.split('/').next().unwrap_or_default().contains('@') {
            return refuse(endpoint, "must hold no user or password: keys come from the environment");
        }
        if rest.contains('?') {
            return refuse(endpoint, "must have no query: keys come from the environment");
        }
        if self.model.trim().is_empty() {
            return refuse(model, "must name a model");
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !self.api_key_env.chars().all(legal) {
            return refuse(api_key_env, "must be the name of an environment variable, not a key");
        }
        if !self.price.is_legal() {
            return refuse(price, "must be numbers from 0 to 1000000");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_be_short() {
        let url =
            |endpoint: &str| ModelConfig { endpoint: endpoint.to_owned(), ..ModelConfig::default() }.url();
        for short in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/chat/completions/"] {
            assert_eq!(url(short), "http://h:1/v1/chat/completions", "{short}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_refused() {
        let keys = ["grok.endpoint", "grok.model", "grok.api_key_env", "grok.price"];
        let refused = |change: fn(&mut ModelConfig)| {
            let mut config = ModelConfig::grok();
            change(&mut config);
            config.check(keys).unwrap_err().key
        };
        assert_eq!(refused(|config| config.api_key_env = "xai-abc".to_owned()), "grok.api_key_env");
        assert_eq!(refused(|config| config.endpoint = "https://a:b@c/v1".to_owned()), "grok.endpoint");
        assert_eq!(refused(|config| config.endpoint = "https://c/v1?key=1".to_owned()), "grok.endpoint");
        assert_eq!(refused(|config| config.endpoint = "c/v1".to_owned()), "grok.endpoint");
        assert_eq!(refused(|config| config.price.input = f64::NAN), "grok.price");
        assert!(ModelConfig::grok().check(keys).is_ok());
    }
}
