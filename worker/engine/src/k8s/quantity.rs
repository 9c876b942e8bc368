//! Resource quantities as the API server decodes them: `500m`, `1.5Gi`, `2e3` (Kubernetes documentation, *Quantity*).

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// An amount in units of 10⁻⁹, rounded away from zero; what is too large to tell apart is as large as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    nano: i128,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAQuantity {
    /// It is not a number with letters behind it.
    Format,
    /// The letters mean nothing.
    Suffix,
}

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;

/// Above this, sums of two do not overflow.
const MOST: i128 = i128::MAX / 4;

impl Quantity {
    pub(crate) const ZERO: Self = Self { nano: 0 };

    /// Reads a quantity as the server decodes it.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let (number, suffix) = split(text)?;
        let (base, exponent) = scale(suffix).ok_or(NotAQuantity::Suffix)?;
        let (is_negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let nano = magnitude(whole, fraction, base, exponent);
        Ok(Self { nano: if is_negative { -nano } else { nano } })
    }

    /// The quantity of a document's value: a text or a number; none for what decoding refuses.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text.trim()).ok(),
            Value::Number(number) => Self::parse(&number.to_string()).ok(),
            _ => None,
        }
    }

    /// Rounded up to thousandths, as in the resources of containers.
    pub(crate) fn rounded_to_milli(self) -> Self {
        Self { nano: round_up(self.nano, MILLI).saturating_mul(MILLI) }
    }

    /// The integer above.
    pub(crate) fn value(self) -> i128 {
        round_up(self.nano, NANO)
    }

    /// Whether it is a whole number, to the thousandth.
    pub(crate) fn is_whole(self) -> bool {
        round_up(self.nano, MILLI) % 1_000 == 0
    }

    pub(crate) fn is_negative(self) -> bool {
        self.nano < 0
    }

    pub(crate) fn is_positive(self) -> bool {
        self.nano > 0
    }

    /// As a number, for ratios.
    pub(crate) fn as_f64(self) -> f64 {
        self.nano as f64 / 1e9
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_add(other.nano).clamp(-MOST, MOST) }
    }
}

/// As the server writes what it has computed: whole, in thousandths, or in billionths.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano % NANO == 0 {
            write!(f, "{}", self.nano / NANO)
        } else if self.nano % MILLI == 0 {
            write!(f, "{}m", self.nano / MILLI)
        } else {
            write!(f, "{}n", self.nano)
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// Away from zero.
fn round_up(amount: i128, unit: i128) -> i128 {
    let whole = amount / unit;
    if amount % unit == 0 { whole } else { whole + amount.signum() }
}

/// The number and the suffix behind it.
fn split(text: &str) -> Result<(&str, &str), NotAQuantity> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = |from: usize| {
        text.get(from..).map_or(from, |rest| from + rest.bytes().take_while(u8::is_ascii_digit).count())
    };
    let mut end = digits(sign);
    let mut has_digits = end > sign;
    if text.get(end..).is_some_and(|rest| rest.starts_with('.')) {
        let fraction = digits(end + 1);
        has_digits |= fraction > end + 1;
        end = fraction;
    }
    let (number, suffix) = text.split_at_checked(end).ok_or(NotAQuantity::Format)?;
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let rest = suffix.get(letters..).unwrap_or_default();
    let exponent = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if text.is_empty() || !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAQuantity::Format);
    }
    // The server takes a sign or nothing at all before a suffix as zero, but not a text without a number.
    if has_digits || (suffix.is_empty() && number.len() == sign && sign == 1) {
        Ok((number, suffix))
    } else {
        Err(NotAQuantity::Format)
    }
}

/// The base and the exponent that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (
                10,
                exponent
                    .parse::<i64>()
                    .ok()
                    .map(|exponent| exponent.clamp(-1_000, 1_000))?
                    .try_into()
                    .ok()?,
            )
        }
    })
}

/// `whole.fraction × base ^ exponent` in units of 10⁻⁹, rounded up and saturated.
fn magnitude(whole: &str, fraction: &str, base: u32, exponent: i32) -> i128 {
    let binary = if base == 2 { 1_i128.checked_shl(exponent.unsigned_abs()).unwrap_or(MOST) } else { 1 };
    let decimal = if base == 10 { exponent } else { 0 };
    // The power of ten of the digit behind the one that was read.
    let mut power = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(9 + i64::from(decimal));
    let mut sum = 0_i128;
    let mut is_rest = false;
    for digit in whole.bytes().chain(fraction.bytes()) {
        power -= 1;
        let digit = i128::from(digit - b'0');
        if digit == 0 {
            continue;
        }
        if power >= 38 {
            return MOST;
        }
        if power < 0 && (base == 10 || power < -18) {
            is_rest = true;
        } else {
            let unit = 10_i128.pow(power.unsigned_abs().try_into().unwrap_or(0));
            let part = if power >= 0 {
                digit.saturating_mul(unit).saturating_mul(binary)
            } else {
                is_rest |= digit.saturating_mul(binary) % unit != 0;
                digit.saturating_mul(binary) / unit
            };
            sum = sum.saturating_add(part);
        }
    }
    sum.saturating_add(i128::from(is_rest)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn amounts() {
        for (one, other) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1610612736"),
            ("1e3", "1k"),
            ("1E-3", "1m"),
            ("+2", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.1Ki", "102.4"),
            ("1E", "1e18"),
        ] {
            assert_eq!(of(one), of(other), "{one} {other}");
        }
        assert!(of("1e400") > of("1e20"));
        assert!(of("0.1n") > Quantity::ZERO, "rounded up");
        assert!(of("-1") < Quantity::ZERO);
        assert!(of("1.5").value() == 2 && !of("1.5").is_whole() && of("2000m").is_whole());
    }

    #[test]
    fn what_is_not_one() {
        for bad in ["", "a", "1 Gi", "1.2.3", "Gi", "1.x", "--1", "1Gi ", "é"] {
            assert_eq!(Quantity::parse(bad), Err(NotAQuantity::Format), "{bad}");
        }
        for bad in ["1gi", "1mi", "1KI", "1mm", "1Zi", "1B"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Quantity::parse("1mi"), Err(NotAQuantity::Suffix));
    }
}
