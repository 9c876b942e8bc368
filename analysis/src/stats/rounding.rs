//! Rounding as in the paper's code.

/// Rounds to `digits` decimals as Python's `round(x, digits)` does: the exact binary value, ties to even.
pub(crate) fn round(x: f64, digits: usize) -> f64 {
    // Rust prints the correctly rounded decimal of the exact value, ties to even.
    format!("{x:.digits$}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_of_the_exact_value_with_ties_to_even() {
        for (x, digits, rounded) in [
            (2.675, 2, 2.67),
            (0.125, 2, 0.12),
            (0.375, 2, 0.38),
            (2.5, 0, 2.0),
            (0.5, 0, 0.0),
            (1.0 - 1e-9, 4, 1.0),
            (13_589.0 / 13_656.0, 4, 0.9951),
            (0.000_05, 4, 0.0001),
            (1e22, 2, 1e22),
            (-2.5, 0, -2.0),
        ] {
            assert_eq!(round(x, digits).to_bits(), f64::to_bits(rounded), "{x} {digits}");
        }
    }
}
