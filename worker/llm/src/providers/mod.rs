//! The providers of this machine: where each is called, and with which key.
//!
//! *Invariant*: a key goes to the host that it is bound to, and there over TLS, or to this machine. A run names a provider;
//! nothing that arrives from elsewhere names an address, a header or an environment variable.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::config::ProposerMode;
use domain::secret::Secret;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::mask::KeyMask;

mod endpoint;
mod key;

pub use key::KeyFault;

/// Where a provider is called, and with which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Its URL: that of chat completions, or a base to which it is completed. Empty: this machine does not have the provider.
    pub endpoint: String,
    /// The environment variable that holds the API key; empty: no key is sent.
    pub api_key_env: String,
    /// The header that carries the key.
    pub auth_header: String,
    /// The word before the key; empty: the key alone.
    pub auth_scheme: String,
    /// Further headers of each call, as they are; never a key.
    pub extra_headers: BTreeMap<String, String>,
}

/// Where the questions of a run go: a part of the key of each response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// The URL of chat completions.
    pub endpoint: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            api_key_env: String::new(),
            auth_header: "Authorization".to_owned(),
            auth_scheme: "Bearer".to_owned(),
            extra_headers: BTreeMap::new(),
        }
    }
}

/// The providers that a run may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Providers {
    /// Called under `proposer.mode: grok`.
    pub grok: ProviderConfig,
    /// Called under `proposer.mode: vendor`.
    pub vendor: ProviderConfig,
    /// Called under `proposer.mode: vllm`.
    pub vllm: ProviderConfig,
    /// Whether no provider is called: a question without a recorded answer gets none. Not a setting, but of a run that is
    /// replayed.
    #[serde(skip)]
    pub recorded_only: bool,
}

impl Default for Providers {
    fn default() -> Self {
        let provider = |endpoint: &str, api_key_env: &str| ProviderConfig {
            endpoint: endpoint.to_owned(),
            api_key_env: api_key_env.to_owned(),
            ..ProviderConfig::default()
        };
        Self {
            grok: provider("https://api.x.ai/v1/chat/completions", "XAI_API_KEY"),
            vendor: provider("https://api.openai.com/v1/chat/completions", "OPENAI_API_KEY"),
            vllm: provider("http://localhost:8000/v1/chat/completions", ""),
            recorded_only: false,
        }
    }
}

/// Why a provider cannot be called. The text names the setting and the remedy, and never a key or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum ProviderError {
    /// This machine does not have it.
    #[error(
        "there is no provider {provider} here: set {provider}.endpoint, and {provider}.api_key_env where it needs a key"
    )]
    Missing { provider: &'static str },
    /// A setting is not valid.
    #[error("{provider}.{key}: {reason}")]
    Invalid { provider: &'static str, key: &'static str, reason: String },
    /// The key would be readable on its way.
    #[error(
        "{provider}.endpoint: the key in {variable} would go to {host} in plain text: use https://, or send no key (set \
         {provider}.api_key_env to \"\")"
    )]
    PlainText { provider: &'static str, variable: String, host: String },
    /// The key belongs to another host.
    #[error(
        "{provider}.endpoint: {variable} holds the key of {bound}, and is not sent to {host}: put the key of {host} into a \
         variable of its own and name it in {provider}.api_key_env, or send no key (set {provider}.api_key_env to \"\")"
    )]
    Bound { provider: &'static str, variable: String, bound: String, host: String },
    /// The environment variable of the key is not set.
    #[error(
        "environment variable {variable} is not set: it must hold the API key of provider {provider} ({provider}.api_key_env \
         names the variable)"
    )]
    NoKey { provider: &'static str, variable: String },
    /// What the variable holds is not a key alone.
    #[error("environment variable {variable} {fault}: set it to the API key alone")]
    NotAKey { variable: String, fault: KeyFault },
}

impl Providers {
    /// Providers that are not called. The answers to a run of this mode are those that were recorded for `destination`.
    pub fn recorded(mode: ProposerMode, destination: &Destination) -> Self {
        let config = ProviderConfig {
            endpoint: destination.endpoint.clone(),
            extra_headers: destination.headers.clone(),
            ..ProviderConfig::default()
        };
        let mut providers = Self { recorded_only: true, ..Self::default() };
        match mode {
            ProposerMode::Rules | ProposerMode::Command => {}
            ProposerMode::Grok => providers.grok = config,
            ProposerMode::Vendor => providers.vendor = config,
            ProposerMode::Vllm => providers.vllm = config,
        }
        providers
    }

    /// Checks every provider that this machine has. Reads no key.
    pub fn check(&self) -> Result<(), ProviderError> {
        for (name, config) in self.all() {
            if !config.endpoint.trim().is_empty() {
                config.address(name)?;
            }
        }
        Ok(())
    }

    /// The environment variables that hold keys: those that are set, and those of the shipped providers.
    pub fn key_variables(&self) -> Vec<String> {
        let shipped = Self::default();
        let configs = self.all().into_iter().chain(shipped.all()).map(|(_, config)| &config.api_key_env);
        configs.filter(|variable| !variable.is_empty()).cloned().collect()
    }

    /// The URL of the provider of this mode; empty where the rules propose, or this machine does not have the provider.
    pub fn url(&self, mode: ProposerMode) -> String {
        self.get(mode).map(|(_, config)| config.url()).unwrap_or_default()
    }

    /// Where the questions of a run of this mode go.
    pub fn destination(&self, mode: ProposerMode) -> Destination {
        let headers = self.get(mode).map(|(_, config)| config.extra_headers.clone()).unwrap_or_default();
        Destination { endpoint: self.url(mode), headers }
    }

    /// The provider of this mode with its key; `env` reads the environment variable of the key.
    pub fn open(
        &self,
        mode: ProposerMode,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Provider, ProviderError> {
        match self.get(mode) {
            Some((name, config)) if !config.endpoint.trim().is_empty() => config.open(name, env),
            _ => Err(ProviderError::Missing { provider: mode.as_str() }),
        }
    }

    fn get(&self, mode: ProposerMode) -> Option<(&'static str, &ProviderConfig)> {
        self.all().into_iter().find(|(name, _)| *name == mode.as_str())
    }

    const fn all(&self) -> [(&'static str, &ProviderConfig); 3] {
        [("grok", &self.grok), ("vendor", &self.vendor), ("vllm", &self.vllm)]
    }

    /// The host that the key in `variable` is bound to: that of the shipped provider which names the variable.
    fn bound_host(variable: &str) -> Option<String> {
        let shipped = Self::default();
        let (name, config) = shipped.all().into_iter().find(|(_, config)| config.api_key_env == variable)?;
        config.parse(name).ok()?.host_str().map(str::to_owned)
    }
}

impl ProviderConfig {
    /// The URL that is called; empty without an endpoint.
    fn url(&self) -> String {
        endpoint::completed(&self.endpoint)
    }

    /// The parsed URL, without user and password, and without a query but that of a version.
    fn parse(&self, provider: &'static str) -> Result<Url, ProviderError> {
        let refuse = |reason: &str| {
            Err(ProviderError::Invalid { provider, key: "endpoint", reason: reason.to_owned() })
        };
        let (Ok(given), Ok(url)) = (Url::parse(self.endpoint.trim()), Url::parse(&self.url())) else {
            return refuse("must be a URL that begins with http:// or https://");
        };
        // What is appended must not become the host, as it would where there is none.
        if !matches!(url.scheme(), "http" | "https") || given.host_str() != url.host_str() {
            return refuse("must begin with http:// or https://, and name a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must hold no user or password: keys come from the environment");
        }
        if url.query().is_some_and(|query| !endpoint::is_version(query)) || url.fragment().is_some() {
            return refuse("must have no query but api-version: keys come from the environment");
        }
        if let Some(other) = endpoint::other_api(&given) {
            let reason = format!(
                "must be the address of chat completions, or a base such as https://host/v1, not that of {other}"
            );
            return refuse(&reason);
        }
        Ok(url)
    }

    /// The parsed URL, after a check that the key may go there.
    fn address(&self, provider: &'static str) -> Result<Url, ProviderError> {
        let invalid =
            |key, reason: &str| Err(ProviderError::Invalid { provider, key, reason: reason.to_owned() });
        let url = self.parse(provider)?;
        if HeaderName::from_bytes(self.auth_header.as_bytes()).is_err() {
            return invalid("auth_header", "must be the name of a header, such as Authorization");
        }
        if HeaderValue::from_str(&self.auth_scheme).is_err() {
            return invalid("auth_scheme", "must be a word such as Bearer");
        }
        for (name, value) in &self.extra_headers {
            if let Some(fault) = header_fault(name, value, &self.auth_header) {
                let reason = format!("{name:?} {fault}");
                return Err(ProviderError::Invalid { provider, key: "extra_headers", reason });
            }
        }
        let variable = &self.api_key_env;
        if !variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return invalid("api_key_env", "must be the name of an environment variable, not a key");
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        if variable.is_empty() || is_loopback(&host) {
            return Ok(url);
        }
        if url.scheme() != "https" {
            return Err(ProviderError::PlainText { provider, variable: variable.clone(), host });
        }
        match Providers::bound_host(variable) {
            Some(bound) if !is_within(&host, &bound) => {
                Err(ProviderError::Bound { provider, variable: variable.clone(), bound, host })
            }
            _ => Ok(url),
        }
    }

    fn open(
        &self,
        provider: &'static str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Provider, ProviderError> {
        let url = self.address(provider)?;
        let variable = &self.api_key_env;
        if variable.is_empty() {
            return Ok(Provider { url, auth: None, mask: KeyMask::default() });
        }
        let key = env(variable).map(|key| Secret::new(key.trim().to_owned()));
        let key = key
            .filter(|key| !key.expose().is_empty())
            .ok_or_else(|| ProviderError::NoKey { provider, variable: variable.clone() })?;
        let refuse = |fault| ProviderError::NotAKey { variable: variable.clone(), fault };
        key::fault(key.expose(), variable, &self.auth_scheme).map_or(Ok(()), |fault| Err(refuse(fault)))?;
        let illegal = || refuse(KeyFault::Character);
        let scheme =
            if self.auth_scheme.is_empty() { String::new() } else { format!("{} ", self.auth_scheme) };
        let mut value = HeaderValue::from_str(&format!("{scheme}{}", key.expose())).map_err(|_| illegal())?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(self.auth_header.as_bytes()).map_err(|_| illegal())?;
        Ok(Provider { url, auth: Some((name, Secret::new(value))), mask: KeyMask::new(key.expose()) })
    }
}

/// Headers that a call has anyway, or that carry keys.
const OWN_HEADERS: [&str; 14] = [
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "accept-encoding",
    "connection",
    "x-grok-conv-id",
];

/// What is wrong with a further header.
fn header_fault(name: &str, value: &str, auth_header: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
        Some("must be the name of a header with a value of visible characters")
    } else if OWN_HEADERS.contains(&lower.as_str()) || lower == auth_header.to_ascii_lowercase() {
        Some("is a header that calls have anyway, or that carries a key: keys come from the environment")
    } else {
        None
    }
}

/// A provider that may be called: its URL, and its key, which may go there.
#[derive(Debug, Clone)]
pub struct Provider {
    pub(crate) url: Url,
    /// The header with the key; `None`: no key is sent.
    pub(crate) auth: Option<(HeaderName, Secret<HeaderValue>)>,
    /// Finds the key where the provider repeats it.
    pub(crate) mask: KeyMask,
}

impl Provider {
    /// Whether its key would be readable on the way. Only to this machine is that allowed, so no proxy may be between.
    pub(crate) fn sends_key_in_plain_text(&self) -> bool {
        self.auth.is_some() && self.url.scheme() == "http"
    }
}

/// Whether a host of a parsed URL is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a host of a parsed URL is `bound`, or a name below it.
fn is_within(host: &str, bound: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_suffix(bound).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
