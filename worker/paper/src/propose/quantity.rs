//! Quantities as the published rules parsed them to compare a request with its limit. Quantities that they could not parse
//! (`k`, a plain number, …) stayed unchanged.

/// Binary and decimal factors, longest suffix first.
const FACTORS: [(&str, f64); 12] = [
    ("Ei", (1_u64 << 60) as f64),
    ("Pi", (1_u64 << 50) as f64),
    ("Ti", (1_u64 << 40) as f64),
    ("Gi", (1_u64 << 30) as f64),
    ("Mi", (1_u64 << 20) as f64),
    ("Ki", (1_u64 << 10) as f64),
    ("E", 1e18),
    ("P", 1e15),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("K", 1e3),
];

pub(super) fn cpu(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.strip_suffix('m') {
        Some(number) => number.parse::<f64>().ok().map(|number| number / 1000.0),
        None => text.parse().ok(),
    }
}

pub(super) fn bytes(text: &str) -> Option<f64> {
    let text = text.trim();
    let suffixed = FACTORS.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)));
    match suffixed {
        Some((number, factor)) => number.trim().parse::<f64>().ok().map(|number| number * factor),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_not() {
        assert_eq!(cpu("250m"), Some(0.25));
        assert_eq!(cpu("2"), Some(2.0));
        assert_eq!(cpu("2k"), None);
        assert_eq!(bytes("1Ki"), Some(1024.0));
        assert_eq!(bytes("20G"), Some(2e10));
        assert_eq!(bytes("1k"), None);
        assert_eq!(bytes("128974848"), Some(128_974_848.0));
    }
}
