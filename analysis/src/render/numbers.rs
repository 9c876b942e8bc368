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

/// A number with at most 1 decimal from 100 on and none from 100,000 on, else with at most 3; a small one with two digits
/// that are not 0; a dash for none.
pub(crate) fn number(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x.abs() >= 1e5 => format!("{x:.0}"),
        Some(x) if x.abs() >= 100.0 => short(format!("{x:.1}")),
        Some(x) if x == 0.0 || x.abs() >= 0.1 => short(format!("{x:.3}")),
        Some(x) if x.abs() >= 1e-4 => {
            let decimals = if x.abs() >= 0.01 {
                3
            } else if x.abs() >= 0.001 {
                4
            } else {
                5
            };
            short(format!("{x:.decimals$}"))
        }
        Some(x) => format!("{x:.1e}"),
    }
}

/// The least p that a double holds with all its digits, rounded to a power of ten.
const LEAST_P: f64 = 1e-300;

/// The least p that is written without an exponent.
const PLAIN_P: f64 = 0.001;

/// A p value; one that underflows is not 0.
pub(crate) fn p_value(p: f64) -> String {
    if p < LEAST_P {
        "< 1e-300".to_owned()
    } else if p < PLAIN_P {
        format!("{p:.2e}")
    } else {
        // Three digits that count, of which zeros at the end do not.
        let decimals = if p < 0.01 {
            5
        } else if p < 0.1 {
            4
        } else {
            3
        };
        let text = format!("{p:.decimals$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// `p = 1.20e-5`, or `p < 1e-300`.
pub(crate) fn p_equals(p: f64) -> String {
    if p < LEAST_P { format!("p {}", p_value(p)) } else { format!("p = {}", p_value(p)) }
}

/// A cell of a column of numbers with separators of thousands: `13656.5 – 20000` as `13,656.5 – 20,000`.
pub(crate) fn grouped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len() + 4);
    let mut rest = cell;
    while let Some(c) = rest.chars().next() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let is_decimal = text.ends_with(['.', ',']) || text.ends_with(|c: char| c.is_ascii_alphabetic());
        let (number, after) = rest.split_at(digits);
        match number.parse().ok().filter(|_| !is_decimal && !number.starts_with('0')) {
            Some(count) => text.push_str(&thousands(count)),
            None if number.is_empty() => {
                text.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                continue;
            }
            None => text.push_str(number),
        }
        rest = after;
    }
    text
}

/// The same cell as programs read it: without separators.
pub(crate) fn plain(cell: &str) -> String {
    let is_between = |at: usize| {
        let digits = |from: usize, to: usize| {
            cell.get(from..to).is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
        };
        at > 0 && digits(at - 1, at) && digits(at + 1, at + 4)
    };
    let kept = cell.char_indices().filter(|(at, c)| *c != ',' || !is_between(*at));
    kept.map(|(_, c)| c).collect()
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
        assert_eq!(number(Some(177_040_341.2)), "177040341");
        for (x, text) in
            [(0.0, "0"), (0.0456, "0.046"), (0.001_23, "0.0012"), (0.000_42, "0.00042"), (4.2e-7, "4.2e-7")]
        {
            assert_eq!(number(Some(x)), text);
        }
    }

    #[test]
    fn a_p_that_underflows_is_not_0() {
        assert_eq!((p_value(0.0), p_equals(0.0)), ("< 1e-300".to_owned(), "p < 1e-300".to_owned()));
        assert_eq!(p_equals(0.012_34), "p = 0.0123");
        for (p, text) in
            [(1.0, "1"), (0.9996, "1"), (0.5, "0.5"), (0.052, "0.052"), (0.001, "0.001"), (4.2e-5, "4.20e-5")]
        {
            assert_eq!(p_value(p), text);
        }
        assert_eq!(p_value(1e-300), "1.00e-300");
    }

    #[test]
    fn cells_are_grouped_for_people_and_plain_for_programs() {
        for (cell, shown) in [
            ("13656", "13,656"),
            ("1234.5678 – 20000", "1,234.5678 – 20,000"),
            ("999", "999"),
            ("13,656 / 14000", "13,656 / 14,000"),
            ("v1234", "v1234"),
            ("0.12345", "0.12345"),
            ("1.23e-300", "1.23e-300"),
            ("-", "-"),
            ("-12345", "-12,345"),
        ] {
            assert_eq!(grouped(cell), shown);
            assert_eq!(grouped(shown), shown);
        }
        assert_eq!(plain("13,656"), "13656");
        assert_eq!(plain("1,234,567.5 – 2"), "1234567.5 – 2");
        assert_eq!(plain("a, b,c 1,2"), "a, b,c 1,2");
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
