//! Formats of numbers.

use crate::stats::Proportion;

/// `99.51 %`; a dash for a share of nothing.
pub(crate) fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0))
}

/// `99.38 – 99.61 %`.
pub(crate) fn interval(share: &Proportion) -> String {
    match (share.low, share.high) {
        (Some(low), Some(high)) => ends(low, high),
        _ => "-".to_owned(),
    }
}

/// An interval of shares in percent.
pub(crate) fn ends(low: f64, high: f64) -> String {
    format!("{:.2} – {:.2} %", low * 100.0, high * 100.0)
}

/// A number with at most 1 decimal from 100 on, else at most 3; a dash for none.
pub(crate) fn number(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x.abs() >= 100.0 => short(format!("{x:.1}")),
        Some(x) => short(format!("{x:.3}")),
    }
}

/// Without trailing zeros of the decimals.
fn short(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

/// With separators of thousands: `13,656`.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(percent(Some(0.995_093)), "99.51 %");
        assert_eq!((percent(None), number(None)), ("-".to_owned(), "-".to_owned()));
        assert_eq!(interval(&Proportion::new(13_589, 13_656)), "99.38 – 99.61 %");
        assert_eq!(interval(&Proportion::new(0, 0)), "-");
        assert_eq!(number(Some(8.0)), "8");
        assert_eq!(number(Some(0.123_45)), "0.123");
        assert_eq!(number(Some(1234.56)), "1234.6");
        assert_eq!((number(Some(50.6)), number(Some(100.0))), ("50.6".to_owned(), "100".to_owned()));
    }

    #[test]
    fn thousands_are_parted() {
        for (count, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (13_656, "13,656"), (1_365_600, "1,365,600")]
        {
            assert_eq!(thousands(count), text);
        }
    }
}
