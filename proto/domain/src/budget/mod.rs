//! Limits, usage and prices of calls to a provider.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod money;
mod price;

pub use money::{Charge, Cost, CostSource, Tier, Usd};
pub use price::Price;

/// A limit of a provider: a number, or `auto` when it is to be learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Limit {
    /// Not known; the controller finds it.
    #[default]
    Auto,
    /// As the provider or the user says.
    At(NonZeroU64),
}

impl Limit {
    /// The number, where there is one.
    pub const fn known(self) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::At(limit) => Some(limit.get()),
        }
    }

    /// A known limit; 0 would allow no calls and is read as `auto`.
    pub const fn at(limit: u64) -> Self {
        match NonZeroU64::new(limit) {
            Some(limit) => Self::At(limit),
            None => Self::Auto,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::At(limit) => limit.fmt(f),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::At(limit) => serializer.serialize_u64(limit.get()),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Limit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 1 or auto")
            }
            fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Limit, E> {
                NonZeroU64::new(limit)
                    .map(Limit::At)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(limit), &self))
            }
            fn visit_i64<E: de::Error>(self, limit: i64) -> Result<Limit, E> {
                u64::try_from(limit)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(limit), &self))
                    .and_then(|limit| self.visit_u64(limit))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                match text {
                    "auto" => Ok(Limit::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What one account may use of one model, over all workers and runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLimits {
    /// Calls a minute.
    pub requests_per_minute: Limit,
    /// Calls a second: a limit that leaves no burst of a minute's calls.
    pub requests_per_second: Limit,
    /// Tokens a minute, prompts and answers together.
    pub tokens_per_minute: Limit,
    /// Whether tokens of a prompt that the provider had in its cache use the limit of tokens.
    pub cached_tokens: CachedTokens,
    /// Calls in flight.
    pub concurrency: Limit,
}

/// Whether tokens of a prompt that the provider had in its cache use the limit of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachedTokens {
    /// They do, as most accounts have it.
    #[default]
    Counted,
    /// They do not.
    Free,
}

impl BudgetLimits {
    /// The known limit in calls a second: the lower one of a minute's and a second's.
    pub fn requests_a_second(&self) -> Option<f64> {
        let minute = self.requests_per_minute.known().map(|limit| limit as f64 / 60.0);
        let second = self.requests_per_second.known().map(|limit| limit as f64);
        minute.into_iter().chain(second).reduce(f64::min)
    }

    /// Whether the known limit is that of a second.
    pub fn is_by_second(&self) -> bool {
        let second = self.requests_per_second.known().map(|limit| limit as f64);
        second.is_some() && second == self.requests_a_second()
    }

    /// Tokens of a call that use the limit of tokens.
    pub const fn metered(&self, usage: &Usage) -> u64 {
        match self.cached_tokens {
            CachedTokens::Counted => usage.total,
            CachedTokens::Free => usage.total.saturating_sub(usage.cached),
        }
    }
}

/// Whose budget a call uses: a tight model must not throttle a loose one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// The account: the name of the provider. The workers of a coordinator call a provider with keys of one account.
    pub account: String,
    /// The model.
    pub model: String,
}

/// Tokens of one call, as the provider counted them; where it did not, as they were estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the messages.
    pub prompt: u64,
    /// Tokens of the answer. Some providers count reasoning in, some do not.
    pub completion: u64,
    /// Tokens of reasoning that is not shown.
    pub reasoning: u64,
    /// Tokens of the prompt that the provider had in its cache.
    pub cached: u64,
    /// All that is billed and metered.
    pub total: u64,
    /// The part of `total` that the provider did not count, and that is estimated from the texts: a token for four bytes.
    #[serde(default)]
    pub estimated: u64,
}

impl Usage {
    /// Most tokens of one call that are believed: some hundred times the longest context that a provider offers. With it,
    /// sums over any number of calls that a run can make stay far below the range of their types.
    pub const MOST: u64 = 1_000_000_000;

    /// The usage of one call as it enters: a count above [`Usage::MOST`] says nothing, and becomes 0, which means not known.
    /// A total that is not known is the sum of prompt and answer.
    #[must_use]
    pub fn of_one_call(self) -> Self {
        let believed = |count: u64| if count <= Self::MOST { count } else { 0 };
        let (prompt, completion) = (believed(self.prompt), believed(self.completion));
        let total = match believed(self.total) {
            0 => prompt.saturating_add(completion),
            total => total,
        };
        Self {
            prompt,
            completion,
            reasoning: believed(self.reasoning),
            cached: believed(self.cached),
            total,
            estimated: believed(self.estimated).min(total),
        }
    }

    /// What is billed as output: the total without the prompt. Where a provider leaves reasoning out of `completion`,
    /// the total still has it.
    pub const fn output(&self) -> u64 {
        let rest = self.total.saturating_sub(self.prompt);
        if rest > self.completion { rest } else { self.completion }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt = self.prompt.saturating_add(other.prompt);
        self.completion = self.completion.saturating_add(other.completion);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cached = self.cached.saturating_add(other.cached);
        self.total = self.total.saturating_add(other.total);
        self.estimated = self.estimated.saturating_add(other.estimated);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_auto() {
        let read = serde_json::from_str::<Limit>;
        assert_eq!(read("480").unwrap(), Limit::at(480));
        assert_eq!(read("\"auto\"").unwrap(), Limit::Auto);
        for bad in ["0", "-1", "1.5", "\"480\"", "\"automatic\"", "null"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&[Limit::Auto, Limit::at(7)]).unwrap(), r#"["auto",7]"#);
    }

    #[test]
    fn a_count_that_no_call_can_have_is_not_known() {
        let absurd = Usage {
            prompt: u64::MAX,
            completion: 7,
            reasoning: 1 << 40,
            cached: 3,
            total: i64::MAX as u64,
            estimated: 9,
        };
        assert_eq!(
            absurd.of_one_call(),
            Usage { completion: 7, cached: 3, total: 7, estimated: 7, ..Usage::default() }
        );
        let all = Usage { prompt: u64::MAX, completion: u64::MAX, total: u64::MAX, ..Usage::default() };
        assert_eq!(all.of_one_call(), Usage::default());
        let usual =
            Usage { prompt: 407, completion: 148, reasoning: 1345, cached: 7, total: 1900, estimated: 0 };
        assert_eq!(usual.of_one_call(), usual);
    }
}
