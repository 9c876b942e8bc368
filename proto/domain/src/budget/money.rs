//! Money in whole ticks, so that sums and comparisons are exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// US dollars, counted in ticks of 10⁻¹⁰ USD, the unit in which providers bill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Usd(u64);

/// Digits after the decimal point of a tick.
const DIGITS: i32 = 10;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Most that is counted: some 461 million US dollars. Two of it fit into a signed number of 64 bits.
    pub const MOST: Self = Self(1 << 62);

    /// Ticks of one US dollar.
    pub const ONE: u64 = 10_000_000_000;

    /// So many ticks; more than [`Usd::MOST`] are that.
    pub const fn from_ticks(ticks: u64) -> Self {
        if ticks > Self::MOST.0 { Self::MOST } else { Self(ticks) }
    }

    /// The ticks.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// The nearest number of US dollars; below 900,000 USD its decimal text is exact to the tick.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Self::ONE as f64
    }

    /// The amount of a number of US dollars, to the nearest tick, at most [`Usd::MOST`]. What is not a number from 0 is 0.
    pub fn from_f64(usd: f64) -> Self {
        // The shortest decimal text that stands for the number is what was written.
        let read = Self::parse(&usd.to_string());
        read.unwrap_or(if usd > 0.0 { Self::MOST } else { Self::ZERO })
    }

    /// Reads US dollars from decimal text such as `0.0042` or `4.2e-3`; a part of a tick is rounded half up. `None`: it is not a
    /// number from 0, or more than can be counted.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits: u128 = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            digits = digits.checked_mul(10)?.checked_add(digit.to_digit(10)?.into())?;
        }
        let shift = exponent.checked_add(DIGITS)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let power = 10_u128.checked_pow(shift.unsigned_abs());
        let ticks = match (digits, power) {
            (0, _) => 0,
            (_, Some(power)) if shift >= 0 => digits.checked_mul(power)?,
            (_, Some(power)) => rounded(digits, power),
            // Far below a tick, or far beyond what can be counted.
            (_, None) if shift < 0 => 0,
            (_, None) => return None,
        };
        u64::try_from(ticks).ok().filter(|ticks| *ticks <= Self::MOST.0).map(Self)
    }

    /// The sum, or [`Usd::MOST`] where it is more.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_ticks(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing where `other` is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A quotient, rounded half up.
pub(super) const fn rounded(dividend: u128, divisor: u128) -> u128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    if rest >= divisor - rest { quotient + 1 } else { quotient }
}

impl From<u64> for Usd {
    fn from(ticks: u64) -> Self {
        Self::from_ticks(ticks)
    }
}

impl From<Usd> for u64 {
    fn from(usd: Usd) -> Self {
        usd.0
    }
}

impl std::ops::AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Self::ONE, self.0 % Self::ONE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:010}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

/// How a provider served a call, as its reply says: it decides the price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// At once, at the listed price; also where the reply does not say and no other was asked for.
    #[default]
    Standard,
    /// When the provider has room.
    Flex,
    /// Before others.
    Priority,
    /// In a batch.
    Batch,
    /// One that is not known, or not said where another than the usual one was asked for.
    Unknown,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 5] = [Self::Standard, Self::Flex, Self::Priority, Self::Batch, Self::Unknown];

    /// The word for the wire and the response cache.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Batch => "batch",
            Self::Unknown => "unknown",
        }
    }

    /// The tier of our own word, or of one that providers use.
    pub fn read(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "" | "standard" | "default" | "auto" | "on_demand" => Self::Standard,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            "batch" => Self::Batch,
            _ => Self::Unknown,
        }
    }
}

/// What a provider says of the price of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Charge {
    /// What it bills; `None`: it does not say.
    pub billed: Option<Usd>,
    /// How it served the call.
    pub tier: Tier,
}

impl Charge {
    /// Most that one call is believed to cost: 10,000 US dollars, some thousand times the dearest call that a provider offers.
    const MOST: Usd = Usd(10_000 * Usd::ONE);

    /// The charge of one call as it enters: an amount above what a call can cost says nothing.
    #[must_use]
    pub fn of_one_call(self) -> Self {
        Self { billed: self.billed.filter(|billed| *billed <= Self::MOST), ..self }
    }

    /// Whether the provider says nothing but what is usual.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a cost is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The provider named it in its reply.
    Billed,
    /// The price of the configuration, or of the list of prices.
    Table,
    /// It is not known.
    Unknown,
}

impl CostSource {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Billed, Self::Table, Self::Unknown];

    /// The word used in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Billed => "billed",
            Self::Table => "table",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}

/// What one call cost, or several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    usd: Option<Usd>,
    source: CostSource,
}

impl Cost {
    /// No cost, before any call.
    pub const NOTHING: Self = Self::billed(Usd::ZERO);

    /// A cost that is not known.
    pub const UNKNOWN: Self = Self { usd: None, source: CostSource::Unknown };

    /// A cost that the provider named.
    pub const fn billed(usd: Usd) -> Self {
        Self { usd: Some(usd), source: CostSource::Billed }
    }

    /// A cost by a table of prices; `None`: the table does not have it.
    pub const fn by_table(usd: Option<Usd>) -> Self {
        match usd {
            Some(usd) => Self { usd: Some(usd), source: CostSource::Table },
            None => Self::UNKNOWN,
        }
    }

    /// US dollars; `None`: they are not known.
    pub const fn usd(self) -> Option<Usd> {
        self.usd
    }

    /// Where it is known from: of several calls the least certain source.
    pub const fn source(self) -> CostSource {
        self.source
    }

    /// The cost of both together: not known where one is not.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let usd = self.usd.zip(other.usd).map(|(one, other)| one.plus(other));
        Self { usd, source: self.source.max(other.source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_to_the_tick() {
        for (text, ticks) in [
            ("0", 0),
            ("1", Usd::ONE),
            ("0.0000000001", 1),
            ("1e-10", 1),
            ("4.2E-3", 42_000_000),
            ("0.00000000005", 1),
            ("0.000000000049999", 0),
            ("12.345678901", 123_456_789_010),
            ("1e-400", 0),
            (".5", Usd::ONE / 2),
            ("2.", 2 * Usd::ONE),
        ] {
            assert_eq!(Usd::parse(text).map(Usd::ticks), Some(ticks), "{text}");
        }
        for bad in ["", ".", "-1", "+1", "NaN", "inf", "1e9", "1e400", "1,5", "1e", "0x1", "1 2"] {
            assert_eq!(Usd::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_texts_name_the_same_amount() {
        for (number, text) in
            [(0.1, "0.1"), (0.0042, "0.0042"), (1e-10, "0.0000000001"), (3.0, "3"), (0.0, "0")]
        {
            let usd = Usd::from_f64(number);
            assert_eq!(usd.to_string(), text);
            assert_eq!(Usd::parse(text), Some(usd));
            assert_eq!(usd.as_f64().to_bits(), number.to_bits());
        }
        assert_eq!(Usd::from_f64(0.1).plus(Usd::from_f64(0.2)), Usd::from_f64(0.3), "as no float does");
        assert_eq!([-1.0, f64::NAN, f64::NEG_INFINITY].map(Usd::from_f64), [Usd::ZERO; 3]);
        assert_eq!([f64::INFINITY, 1e9, 1e308].map(Usd::from_f64), [Usd::MOST; 3]);
        assert_eq!(Usd::MOST.plus(Usd::MOST), Usd::MOST);
        assert_eq!(Usd::ZERO.minus(Usd::from_ticks(1)), Usd::ZERO);
    }

    #[test]
    fn several_calls_are_as_certain_as_the_least_certain_of_them() {
        let (billed, table) = (Cost::billed(Usd::from_ticks(3)), Cost::by_table(Some(Usd::from_ticks(4))));
        assert_eq!(
            (billed.plus(billed).source(), billed.plus(billed).usd()),
            (CostSource::Billed, Some(Usd::from_ticks(6)))
        );
        assert_eq!(billed.plus(table), Cost { usd: Some(Usd::from_ticks(7)), source: CostSource::Table });
        assert_eq!(table.plus(Cost::UNKNOWN), Cost::UNKNOWN);
        assert_eq!(Cost::by_table(None), Cost::UNKNOWN);
    }

    #[test]
    fn tiers_have_our_words_and_those_of_providers() {
        for tier in Tier::ALL {
            assert_eq!(Tier::read(tier.as_str()), tier);
        }
        assert_eq!(
            ["", "default", "Flex ", "scale"].map(Tier::read),
            [Tier::Standard, Tier::Standard, Tier::Flex, Tier::Unknown]
        );
    }
}
