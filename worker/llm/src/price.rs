//! Usage and cost of calls, summed up.

use domain::budget::{Price, Usage};

/// Usage and cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// Number of calls.
    pub calls: u64,
    /// Tokens of the calls.
    pub usage: Usage,
    /// Cost in US dollars.
    pub cost_usd: f64,
}

impl Bill {
    /// Adds a call, whether or not its response was usable.
    pub fn add(&mut self, usage: &Usage, price: &Price) {
        self.calls += 1;
        self.usage += *usage;
        self.cost_usd += price.of(usage);
    }

    /// Expected cost of so many more calls, by the mean so far; `None` before the first.
    pub fn to_come(&self, calls: u64) -> Option<f64> {
        (self.calls > 0).then(|| self.cost_usd / self.calls as f64 * calls as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_sums_up_and_extrapolates() {
        let price = Price { input: 1.0, cached_input: 0.5, output: 2.0 };
        let mut bill = Bill::default();
        assert_eq!(bill.to_come(10), None);
        for _ in 0..2 {
            bill.add(&Usage { prompt: 1000, completion: 500, reasoning: 0, cached: 0, total: 1500 }, &price);
        }
        assert!((bill.cost_usd - 0.004).abs() < 1e-12);
        assert!((bill.to_come(100).unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(bill.usage.total, 3000);
    }
}
