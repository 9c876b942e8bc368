//! The paper's scores, by which repairs are ordered for rollout.

/// The terms of the score of one repair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Risk, 0 to 100.
    pub risk: f64,
    /// Probability that the repair is accepted.
    pub probability: f64,
    /// Expected time, read as minutes, as in the paper's code; the paper's policy metrics nevertheless hold seconds.
    pub expected_time: f64,
    /// Hours waited.
    pub wait: f64,
    /// Whether the violation counts as a known exploited vulnerability (KEV).
    pub kev: bool,
    /// Bonus for exploration.
    pub explore: f64,
}

/// The weights of the terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Weight of an hour of waiting.
    pub alpha: f64,
    /// Minimum expected time.
    pub epsilon: f64,
    /// Bonus for known exploited vulnerabilities.
    pub kev: f64,
    /// Weight of exploration.
    pub explore: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { alpha: 1.0, epsilon: 1e-6, kev: 1.0, explore: 1.0 }
    }
}

impl Weights {
    /// risk·probability / max(time, ε) + w·explore + α·wait + the bonus for known exploited vulnerabilities.
    pub fn score(&self, terms: &Terms) -> f64 {
        terms.risk * terms.probability / terms.expected_time.max(self.epsilon)
            + self.explore * terms.explore
            + self.alpha * terms.wait
            + if terms.kev { self.kev } else { 0.0 }
    }

    /// risk / max(time, ε) + α·wait.
    pub fn risk_over_time(&self, terms: &Terms) -> f64 {
        terms.risk / terms.expected_time.max(self.epsilon) + self.alpha * terms.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bonus_is_added_and_the_time_has_a_minimum() {
        let terms =
            Terms { risk: 85.0, probability: 0.9, expected_time: 10.0, wait: 0.0, kev: false, explore: 0.0 };
        let weights = Weights::default();
        assert!((weights.score(&terms) - 7.65).abs() < 1e-12);
        assert!((weights.score(&Terms { kev: true, ..terms }) - 8.65).abs() < 1e-12);
        assert!((weights.score(&Terms { expected_time: 0.0, ..terms }) - 76.5e6).abs() < 1e-3);
    }
}
