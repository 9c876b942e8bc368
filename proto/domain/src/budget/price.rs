//! What a model costs, by a table.

use serde::{Deserialize, Serialize};

use super::money::rounded;
use super::{Charge, Cost, Tier, Usage, Usd};

/// Tokens that a price is for.
const TOKENS: u128 = 1_000_000;

/// Parts of a factor that are told apart.
const FACTOR_PARTS: u64 = 1_000_000;

/// What a model costs, in US dollars per million tokens. Without `input` and `output` the model has no price: what it costs is
/// not known, which is something else than nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// Tokens of prompts.
    pub input: Option<f64>,
    /// Tokens of prompts that the provider had cached; not known: they count as others, so that a cost is at most too high.
    pub cached_input: Option<f64>,
    /// Tokens of answers, reasoning among them.
    pub output: Option<f64>,
    /// A call whose prompt has so many tokens, or more, is long; `None`: none is.
    pub long_from_tokens: Option<u64>,
    /// How many times the prices a long call costs; `None`: what a long call costs is not known.
    pub long_factor: Option<f64>,
    /// How many times the prices a call costs that is served in a batch; `None`: it is not known. Left out of a run's text
    /// where it is not known, here and below, so that runs of older releases keep their hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_factor: Option<f64>,
    /// The same of a call that the provider serves when it has room (`service_tier` flex).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex_factor: Option<f64>,
    /// The same of a call that is served before others (`service_tier` priority).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_factor: Option<f64>,
}

impl Price {
    /// Most US dollars that the cost of one row is believed to be.
    pub const MOST_USD: f64 = 1e9;

    /// Keys that the text of a run leaves out where they are not set.
    pub const LEFT_OUT: [&'static str; 3] = ["batch_factor", "flex_factor", "priority_factor"];

    /// A price that is the same for calls of any length.
    pub const fn flat(input: f64, cached_input: Option<f64>, output: f64) -> Self {
        Self {
            input: Some(input),
            cached_input,
            output: Some(output),
            long_from_tokens: None,
            long_factor: None,
            batch_factor: None,
            flex_factor: None,
            priority_factor: None,
        }
    }

    /// Whether no key of it is set.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is known what a usual call costs.
    pub const fn is_known(&self) -> bool {
        self.input.is_some() && self.output.is_some()
    }

    /// What is wrong with it; `None`: every price is a number that can be paid, from 0 to 1,000,000, and none lacks another.
    pub fn fault(&self) -> Option<&'static str> {
        let prices = [
            self.input,
            self.cached_input,
            self.output,
            self.long_factor,
            self.batch_factor,
            self.flex_factor,
            self.priority_factor,
        ];
        if !prices.iter().flatten().all(|price| (0.0..=1e6).contains(price)) {
            Some("must be numbers from 0 to 1000000")
        } else if self.input.is_some() != self.output.is_some() {
            Some("must have both input and output, or neither (the model has no price then)")
        } else if !self.is_known() && !self.is_unset() {
            Some("must have input and output where it has anything")
        } else if self.long_factor.is_some() && self.long_from_tokens.is_none() {
            Some("must have long_from_tokens where it has long_factor")
        } else {
            None
        }
    }

    /// The cost of one call: what the provider bills, else what the table says of its tokens and its tier.
    pub fn of(&self, call: &Usage, charge: &Charge) -> Cost {
        match charge.billed {
            Some(usd) => Cost::billed(usd),
            None => Cost::by_table(self.by_table(call, charge.tier)),
        }
    }

    /// The cost of one call by the table alone; `None`: it is not known.
    pub fn by_table(&self, call: &Usage, tier: Tier) -> Option<Usd> {
        let (input, output) = (self.input?, self.output?);
        let cached = call.cached.min(call.prompt);
        let fresh = call.prompt - cached;
        let parts = [(fresh, input), (cached, self.cached_input.unwrap_or(input)), (call.output(), output)];
        self.scaled(parts.into_iter(), call.prompt, tier)
    }

    /// The highest cost of a call of `tokens` tokens: all of them at the higher price. `None`: it is not known.
    pub fn at_most(&self, tokens: u64) -> Option<Usd> {
        let highest = self.input?.max(self.output?);
        self.scaled([(tokens, highest)].into_iter(), tokens, Tier::Standard)
    }

    /// The sum of tokens by prices, times the factors of a call whose prompt is so long; rounded once, half up, to a tick.
    fn scaled(&self, parts: impl Iterator<Item = (u64, f64)>, prompt: u64, tier: Tier) -> Option<Usd> {
        let long =
            if self.long_from_tokens.is_some_and(|from| prompt >= from) { self.long_factor? } else { 1.0 };
        let factors = [long, self.tier_factor(tier)?];
        // Ticks for a million tokens.
        let ticks =
            |(tokens, price): (u64, f64)| u128::from(tokens) * u128::from(Usd::from_f64(price).ticks());
        let sum: u128 = parts.map(ticks).sum();
        let scaled = factors.into_iter().try_fold(sum, |sum, factor| sum.checked_mul(parts_of(factor)));
        let Some(scaled) = scaled else { return Some(Usd::MOST) };
        let divisor = TOKENS * u128::from(FACTOR_PARTS).pow(2);
        Some(Usd::from_ticks(u64::try_from(rounded(scaled, divisor)).unwrap_or(u64::MAX)))
    }

    /// How many times the prices a call of this tier costs; `None`: it is not known.
    const fn tier_factor(&self, tier: Tier) -> Option<f64> {
        match tier {
            Tier::Standard => Some(1.0),
            Tier::Flex => self.flex_factor,
            Tier::Priority => self.priority_factor,
            Tier::Batch => self.batch_factor,
            Tier::Unknown => None,
        }
    }
}

/// A factor in whole parts.
fn parts_of(factor: f64) -> u128 {
    u128::from(Usd::from_f64(factor).ticks() / (Usd::ONE / FACTOR_PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cost by the table, at the usual tier.
    fn ticks(price: &Price, call: &Usage) -> Option<u64> {
        price.by_table(call, Tier::Standard).map(Usd::ticks)
    }

    #[test]
    fn reasoning_is_billed_whether_or_not_completion_counts_it() {
        let price = Price::flat(0.2, Some(0.05), 0.5);
        // 407 + 148 + 1345 = 1900: reasoning beside the completion.
        let apart =
            Usage { prompt: 407, completion: 148, reasoning: 1345, cached: 7, total: 1900, estimated: 0 };
        assert_eq!(apart.output(), 1493);
        let within =
            Usage { prompt: 407, completion: 1493, reasoning: 1345, cached: 7, total: 1900, estimated: 0 };
        // 2,000, 500 and 5,000 ticks a token.
        let expected = 400 * 2_000 + 7 * 500 + 1493 * 5_000;
        assert_eq!((ticks(&price, &apart), ticks(&price, &within)), (Some(expected), Some(expected)));
        let no_total = Usage { prompt: 10, completion: 5, ..Usage::default() };
        assert_eq!(no_total.output(), 5);
    }

    #[test]
    fn what_is_not_known_costs_not_nothing() {
        let usd = |price: &Price, call: &Usage| price.by_table(call, Tier::Standard).map(Usd::as_f64);
        let call =
            Usage { prompt: 1_000_000, completion: 0, cached: 500_000, total: 1_000_000, ..Usage::default() };
        assert_eq!(Price::default().of(&call, &Charge::default()), Cost::UNKNOWN);
        assert_eq!(usd(&Price::flat(0.0, None, 0.0), &call), Some(0.0), "a server of one's own");
        assert_eq!(usd(&Price::flat(2.0, Some(0.5), 6.0), &call), Some(1.25));
        assert_eq!(usd(&Price::flat(2.0, None, 6.0), &call), Some(2.0), "cached tokens count as others");
        let stepped = Price { long_from_tokens: Some(200_000), ..Price::flat(2.0, Some(0.5), 6.0) };
        let short = Usage { prompt: 199_999, total: 199_999, ..Usage::default() };
        assert_eq!((usd(&stepped, &call), stepped.at_most(200_000)), (None, None));
        assert_eq!(usd(&stepped, &short), Some(0.399_998));
        let doubled = Price { long_factor: Some(2.0), ..stepped };
        assert_eq!(usd(&doubled, &call), Some(2.5));
        let most = |tokens| doubled.at_most(tokens).map(Usd::as_f64);
        assert_eq!((most(100_000), most(1_000_000)), (Some(0.6), Some(12.0)));
    }

    #[test]
    fn what_is_billed_counts_before_the_table_and_the_tier_decides_the_table() {
        let price = Price {
            batch_factor: Some(0.5),
            flex_factor: Some(0.55),
            long_from_tokens: Some(1000),
            long_factor: Some(2.0),
            ..Price::flat(1.25, Some(0.31), 2.5)
        };
        let call = Usage { prompt: 999, completion: 101, cached: 33, total: 1100, ..Usage::default() };
        let at = |tier| price.of(&call, &Charge { billed: None, tier });
        // 12,500, 3,100 and 25,000 ticks a token.
        let standard = 966 * 12_500 + 33 * 3_100 + 101 * 25_000;
        assert_eq!(at(Tier::Standard), Cost::by_table(Some(Usd::from_ticks(standard))));
        assert_eq!(at(Tier::Batch).usd(), Some(Usd::from_ticks(standard / 2)));
        assert_eq!(at(Tier::Flex).usd(), Some(Usd::from_ticks((standard * 55 + 50) / 100)));
        assert_eq!((at(Tier::Priority), at(Tier::Unknown)), (Cost::UNKNOWN, Cost::UNKNOWN));
        let long = Usage { prompt: 1000, total: 1101, ..call };
        let expected = 2 * (967 * 12_500 + 33 * 3_100 + 101 * 25_000);
        assert_eq!(price.by_table(&long, Tier::Standard), Some(Usd::from_ticks(expected)));
        assert_eq!(price.by_table(&long, Tier::Batch), Some(Usd::from_ticks(expected / 2)));
        let billed = Charge { billed: Some(Usd::from_ticks(37_756_000)), tier: Tier::Unknown };
        assert_eq!(price.of(&call, &billed), Cost::billed(Usd::from_ticks(37_756_000)));
        assert_eq!(Price::default().of(&call, &billed).usd(), billed.billed);
    }

    #[test]
    fn a_part_of_a_tick_is_rounded_once() {
        // One tick a token.
        let price = Price::flat(0.000_1, Some(0.000_1), 0.000_1);
        let call =
            |prompt, completion| Usage { prompt, completion, total: prompt + completion, ..Usage::default() };
        assert_eq!(ticks(&price, &call(1, 0)), Some(1));
        let odd = Price { batch_factor: Some(0.5), ..price };
        assert_eq!(odd.by_table(&call(1, 0), Tier::Batch), Some(Usd::from_ticks(1)), "half up");
        assert_eq!(odd.by_table(&call(1, 1), Tier::Batch), Some(Usd::from_ticks(1)), "not 1 + 1");
        let most = Price {
            long_from_tokens: Some(0),
            long_factor: Some(1e6),
            batch_factor: Some(1e6),
            ..Price::flat(1e6, None, 1e6)
        };
        assert_eq!(most.by_table(&call(Usage::MOST, Usage::MOST), Tier::Batch), Some(Usd::MOST));
    }

    #[test]
    fn a_price_is_whole_or_none() {
        let flat = Price::flat(1.0, None, 2.0);
        let price = |change: fn(&mut Price)| {
            let mut price = flat;
            change(&mut price);
            price.fault().is_none()
        };
        assert!(Price::default().fault().is_none() && price(|_| {}));
        assert!(price(|price| (price.long_from_tokens, price.long_factor) = (Some(7), Some(2.0))));
        assert!(price(|price| price.long_from_tokens = Some(7)));
        for broken in [
            |price: &mut Price| price.input = None,
            |price: &mut Price| price.output = None,
            |price: &mut Price| price.input = Some(-1.0),
            |price: &mut Price| price.cached_input = Some(f64::NAN),
            |price: &mut Price| price.output = Some(1e7),
            |price: &mut Price| price.long_factor = Some(2.0),
            |price: &mut Price| price.batch_factor = Some(-0.5),
            |price: &mut Price| *price = Price { flex_factor: Some(0.5), ..Price::default() },
            |price: &mut Price| *price = Price { cached_input: Some(1.0), ..Price::default() },
            |price: &mut Price| *price = Price { long_from_tokens: Some(1), ..Price::default() },
        ] {
            assert!(!price(broken));
        }
        let text = serde_json::to_string(&flat).unwrap();
        assert!(Price::LEFT_OUT.iter().all(|key| !text.contains(key)), "{text}");
    }
}
