//! How the simulated provider departs from one that serves what it is asked for: the model that it names, parameters that it
//! refuses, what it bills, the models that it lists.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::chat::{ChatRequest, Tokens, completion};

/// The name of the model in replies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Served {
    /// The requested name again.
    #[default]
    Echo,
    /// No name.
    Nothing,
    /// This name, in which `{model}` stands for the requested one.
    Named(String),
}

impl FromStr for Served {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.trim() {
            "echo" => Self::Echo,
            "" | "nothing" => Self::Nothing,
            name => Self::Named(name.to_owned()),
        })
    }
}

impl Served {
    /// The name in the reply to a request for `model`.
    pub fn name(&self, model: &str) -> Option<String> {
        match self {
            Self::Echo => Some(model.to_owned()),
            Self::Nothing => None,
            Self::Named(name) => Some(name.replace("{model}", model)),
        }
    }
}

/// What a provider may refuse in every request that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// A temperature.
    Temperature,
    /// The older name of the longest answer.
    MaxTokens,
    /// Its newer name.
    MaxCompletionTokens,
    /// A seed.
    Seed,
    /// An effort of reasoning.
    ReasoningEffort,
    /// A tier.
    ServiceTier,
    /// A JSON schema that is kept strictly.
    Strict,
    /// Any JSON schema.
    JsonSchema,
    /// Any form but text.
    JsonObject,
}

impl Refused {
    /// Every one with its word.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Temperature, "temperature"),
        (Self::MaxTokens, "max_tokens"),
        (Self::MaxCompletionTokens, "max_completion_tokens"),
        (Self::Seed, "seed"),
        (Self::ReasoningEffort, "reasoning_effort"),
        (Self::ServiceTier, "service_tier"),
        (Self::Strict, "strict"),
        (Self::JsonSchema, "json_schema"),
        (Self::JsonObject, "json_object"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(refused, _)| *refused == self).map_or("", |(_, word)| word)
    }

    /// Whether a request has it.
    fn is_in(self, request: &Value) -> bool {
        let format = request.get("response_format").or_else(|| request.pointer("/text/format"));
        let kind = format.and_then(|format| format.get("type")?.as_str());
        let is_strict = |format: &Value| {
            let strict = format.pointer("/json_schema/strict").or_else(|| format.get("strict"));
            strict.and_then(Value::as_bool).unwrap_or(false)
        };
        match self {
            Self::Strict => kind == Some("json_schema") && format.is_some_and(is_strict),
            Self::JsonSchema => kind == Some("json_schema"),
            Self::JsonObject => matches!(kind, Some("json_schema" | "json_object")),
            Self::ReasoningEffort => {
                request.get("reasoning_effort").or_else(|| request.pointer("/reasoning/effort")).is_some()
            }
            _ => request.get(self.as_str()).is_some(),
        }
    }

    /// Code and words of the refusal, as OpenAI spells them.
    fn words(self) -> (&'static str, String) {
        let unsupported = |what: &str| {
            (
                "unsupported_parameter",
                format!("Unsupported parameter: {what} is not supported with this model."),
            )
        };
        match self {
            Self::Temperature => (
                "unsupported_value",
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
                    .to_owned(),
            ),
            Self::MaxTokens => (
                "unsupported_parameter",
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
                    .to_owned(),
            ),
            Self::Strict => unsupported("'response_format.json_schema.strict'"),
            Self::JsonSchema => (
                "invalid_request_error",
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.".to_owned(),
            ),
            Self::JsonObject => (
                "invalid_request_error",
                "This response_format type is unavailable now".to_owned(),
            ),
            other => unsupported(&format!("'{}'", other.as_str())),
        }
    }
}

/// A list of what is refused that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of: {words}", words = Refused::ALL.map(|(_, word)| word).join(", "))]
pub struct BadRefused(String);

/// What is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(BTreeSet<Refused>);

impl FromStr for Refusals {
    type Err = BadRefused;

    fn from_str(text: &str) -> Result<Self, BadRefused> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let named = |word: &str| {
            let found = Refused::ALL.iter().find(|(_, known)| *known == word).map(|(refused, _)| *refused);
            found.ok_or_else(|| BadRefused(word.chars().take(40).collect()))
        };
        words.map(named).collect::<Result<_, _>>().map(Self)
    }
}

impl Refusals {
    /// Code and words of the first thing that a request has and may not have.
    pub(crate) fn first_in(&self, request: &Value) -> Option<(&'static str, String)> {
        self.0.iter().find(|refused| refused.is_in(request)).map(|refused| refused.words())
    }
}

/// What replies bill, for a token of the prompt and one of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bill {
    /// In ticks of 10⁻¹⁰ US dollars, as `usage.cost_in_usd_ticks`.
    Ticks(u64, u64),
    /// The same ticks, as US dollars in `usage.cost`.
    Usd(u64, u64),
}

/// A bill that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither ticks:IN:OUT nor usd:IN:OUT, with whole ticks (10^-10 USD) for a token")]
pub struct BadBill(String);

impl FromStr for Bill {
    type Err = BadBill;

    fn from_str(text: &str) -> Result<Self, BadBill> {
        let bad = || BadBill(text.chars().take(40).collect());
        let mut parts = text.split(':');
        let (Some(unit), Some(input), Some(output), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let ticks = |text: &str| text.parse::<u32>().map(u64::from).map_err(|_| bad());
        match unit {
            "ticks" => Ok(Self::Ticks(ticks(input)?, ticks(output)?)),
            "usd" => Ok(Self::Usd(ticks(input)?, ticks(output)?)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, input, output) = match self {
            Self::Ticks(input, output) => ("ticks", input, output),
            Self::Usd(input, output) => ("usd", input, output),
        };
        write!(f, "{unit}:{input}:{output}")
    }
}

/// A model that is listed, and the day after which it is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// `YYYY-MM-DD`, as the provider writes it.
    pub shutdown: Option<String>,
}

impl FromStr for Listed {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((name, day)) => Self { name: name.to_owned(), shutdown: Some(day.to_owned()) },
            None => Self { name: text.to_owned(), shutdown: None },
        })
    }
}

/// How the provider departs from one that serves what it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// The name of the model in replies.
    pub served: Served,
    /// What it refuses in every request.
    pub refuses: Refusals,
    /// What it bills in replies; `None`: it says nothing of costs.
    pub bill: Option<Bill>,
    /// The tier that replies name.
    pub tier: Option<String>,
    /// Whether replies count no tokens.
    pub uncounted: bool,
    /// The models that it has; empty: every one, and `mock` is listed.
    pub models: Vec<Listed>,
}

impl Manner {
    /// Whether a model is served.
    pub(crate) fn has(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|listed| listed.name == model)
    }

    /// The body of `/v1/models`.
    pub(crate) fn list(&self) -> Value {
        let default = [Listed { name: "mock".to_owned(), shutdown: None }];
        let models = if self.models.is_empty() { &default[..] } else { &self.models };
        let entry = |listed: &Listed| {
            let mut entry = json!({"id": listed.name, "object": "model", "owned_by": "mock"});
            if let Some(day) = &listed.shutdown {
                entry["shutdown_date"] = json!(day);
            }
            entry
        };
        json!({"object": "list", "data": models.iter().map(entry).collect::<Vec<_>>()})
    }

    /// The body of a reply with this text.
    pub(crate) fn reply(&self, request: &ChatRequest, text: &str, tokens: Tokens) -> Value {
        let mut reply = completion(request, text, tokens);
        self.sign(&mut reply, &request.model, tokens.counted());
        reply
    }

    /// Adds to a reply what it says of model, tier and price. `tokens` are those of prompt and answer.
    fn sign(&self, reply: &mut Value, model: &str, tokens: (u64, u64)) {
        let Some(fields) = reply.as_object_mut() else { return };
        if let Some(name) = self.served.name(model) {
            fields.insert("model".to_owned(), json!(name));
        }
        if let Some(tier) = &self.tier {
            fields.insert("service_tier".to_owned(), json!(tier));
        }
        if self.uncounted {
            fields.remove("usage");
        }
        let Some(bill) = self.bill else { return };
        let usage = fields.entry("usage").or_insert_with(|| json!({}));
        match bill {
            Bill::Ticks(input, output) => {
                usage["cost_in_usd_ticks"] = json!(tokens.0 * input + tokens.1 * output);
            }
            Bill::Usd(input, output) => {
                usage["cost"] = json!((tokens.0 * input + tokens.1 * output) as f64 / 1e10);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_has_is_refused_and_nothing_else() {
        let chat = json!({"model": "m", "temperature": 0, "response_format": {"type": "json_schema",
            "json_schema": {"strict": true}}});
        let responses = json!({"model": "m", "reasoning": {"effort": "low"}, "max_output_tokens": 5,
            "text": {"format": {"type": "json_schema", "strict": true}}});
        let refused =
            |words: &str, request: &Value| words.parse::<Refusals>().unwrap().first_in(request).is_some();
        for (words, in_chat, in_responses) in [
            ("temperature", true, false),
            ("max_tokens", false, false),
            ("seed, service_tier", false, false),
            ("reasoning_effort", false, true),
            ("strict", true, true),
            ("json_schema", true, true),
            ("json_object", true, true),
            ("", false, false),
        ] {
            assert_eq!(
                (refused(words, &chat), refused(words, &responses)),
                (in_chat, in_responses),
                "{words}"
            );
        }
        let loose = json!({"response_format": {"type": "json_schema", "json_schema": {"strict": false}}});
        assert!(!refused("strict", &loose) && refused("json_schema", &loose));
        assert!("heat".parse::<Refusals>().is_err());
    }

    #[test]
    fn replies_are_signed_and_billed() {
        let manner = Manner {
            served: "openai/{model}".parse().unwrap(),
            bill: Some("ticks:12500:25000".parse().unwrap()),
            tier: Some("flex".to_owned()),
            ..Manner::default()
        };
        let mut reply = json!({"usage": {"total_tokens": 3}});
        manner.sign(&mut reply, "m", (2, 1));
        assert_eq!(
            reply,
            json!({"model": "openai/m", "service_tier": "flex",
                "usage": {"total_tokens": 3, "cost_in_usd_ticks": 50_000}})
        );
        let silent = Manner { served: Served::Nothing, uncounted: true, ..Manner::default() };
        let mut reply = json!({"usage": {}});
        silent.sign(&mut reply, "m", (2, 1));
        assert_eq!(reply, json!({}));
        for bad in ["ticks", "ticks:1", "ticks:1:x", "eur:1:2", "usd:1:2:3"] {
            assert!(bad.parse::<Bill>().is_err(), "{bad}");
        }
        let list = Manner { models: vec!["a=2027-01-14".parse().unwrap()], ..Manner::default() };
        assert_eq!(list.list()["data"][0]["shutdown_date"], "2027-01-14");
        assert!(list.has("a") && !list.has("b") && Manner::default().has("b"));
    }
}
