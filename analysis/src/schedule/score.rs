//! The published score of a repair.

/// What the score is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Risk, 0 to 100.
    pub risk: f64,
    /// Probability that the repair is accepted.
    pub probability: f64,
    /// Expected time, in the unit of its source: the original writes seconds and reads minutes.
    pub expected_time: f64,
    /// Hours waited.
    pub wait: f64,
    /// Whether it is known to be exploited.
    pub kev: bool,
    /// Bonus for what is not known well.
    pub explore: f64,
}

/// How the terms are weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// For an hour of waiting.
    pub alpha: f64,
    /// Minimum expected time.
    pub epsilon: f64,
    /// For what is known to be exploited.
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
    /// R·p / max(Et, ε) + w·explore + α·wait + the bonus for what is exploited.
    pub fn score(&self, terms: &Terms) -> f64 {
        terms.risk * terms.probability / terms.expected_time.max(self.epsilon)
            + self.explore * terms.explore
            + self.alpha * terms.wait
            + if terms.kev { self.kev } else { 0.0 }
    }

    /// R / max(Et, ε) + α·wait.
    pub fn risk_over_time(&self, terms: &Terms) -> f64 {
        terms.risk / terms.expected_time.max(self.epsilon) + self.alpha * terms.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_the_risk_file_get_no_bonus() {
        let in_file =
            Terms { risk: 85.0, probability: 0.9, expected_time: 10.0, wait: 0.0, kev: false, explore: 0.0 };
        let weights = Weights::default();
        assert!((weights.score(&in_file) - 7.65).abs() < 1e-12);
        assert!((weights.score(&Terms { kev: true, ..in_file }) - 8.65).abs() < 1e-12);
        assert!((weights.score(&Terms { expected_time: 0.0, ..in_file }) - 76.5e6).abs() < 1e-3);
    }
}
