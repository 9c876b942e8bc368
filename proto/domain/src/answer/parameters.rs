//! Parameters of a request beside its messages. What is not set is not sent, and leaves the key of the response as it was before
//! there was such a parameter.

use serde::{Deserialize, Serialize};

/// The API of a provider that is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Chat completions.
    #[default]
    Chat,
    /// Responses, without storage at the provider.
    Responses,
}

impl Api {
    /// Whether it is that of chat completions.
    pub fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}

/// The name by which the longest answer is sent to chat completions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensName {
    /// The older name, which every server knows.
    #[default]
    MaxTokens,
    /// The newer name, which reasoning models of some providers demand.
    MaxCompletionTokens,
}

impl MaxTokensName {
    /// Whether it is the older one.
    pub fn is_older(&self) -> bool {
        *self == Self::MaxTokens
    }
}

/// The tier that a provider is asked to serve a call by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// As the account says.
    Auto,
    /// At the listed price.
    Default,
    /// When there is room, for less.
    Flex,
    /// Before others, for more.
    Priority,
}

impl ServiceTier {
    /// The word of the request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// Whether a reply that names no tier leaves open which price counts.
    pub const fn is_special(self) -> bool {
        matches!(self, Self::Flex | Self::Priority)
    }
}

/// How a provider is told which calls share a prompt, so that they reach the server that has it in its cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyCache {
    /// It is not told.
    #[default]
    #[serde(rename = "none")]
    Off,
    /// By `prompt_cache_key` in the body.
    PromptCacheKey,
    /// By the header `x-grok-conv-id`.
    XGrokConvId,
}

impl StickyCache {
    /// Whether it is not told.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// The name that the calls about one document share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheName {
    /// In `prompt_cache_key`.
    PromptCacheKey(String),
    /// In the header `x-grok-conv-id`.
    XGrokConvId(String),
}
