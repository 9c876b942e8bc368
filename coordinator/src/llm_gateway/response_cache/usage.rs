//! LLM usage of a run: calls, tokens, cost.

use domain::answer::CallOutcome;
use domain::budget::{Charge, Price, Usage, Usd};
use proto::convert::LlmStatus;

/// Columns of `spend` that hold counts, in every database that holds it.
pub(super) const COUNTS: [&str; 11] = [
    "calls",
    "failed",
    "throttled",
    "reused",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "total_tokens",
    "estimated_tokens",
    "unpriced_calls",
];

/// Counts over the calls of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LlmUsage {
    /// Calls that were made, with any outcome.
    pub(crate) calls: u64,
    /// Calls that failed, not counting throttled ones.
    pub(crate) failed: u64,
    /// Calls that the provider throttled.
    pub(crate) throttled: u64,
    /// Requests that were answered from the response cache.
    pub(crate) reused: u64,
    /// Billed tokens.
    pub(crate) usage: Usage,
    /// Cost, without that of the calls in `unpriced`.
    pub(crate) cost: Usd,
    /// Billed calls whose cost is not known.
    pub(crate) unpriced: u64,
}

impl LlmUsage {
    /// Usage of one call. `price` is `None` where the run is not known any more: then only what the provider bills is known.
    pub(crate) fn of(outcome: &CallOutcome, usage: Usage, charge: Charge, price: Option<&Price>) -> Self {
        let (usage, charge) = match outcome {
            CallOutcome::Answered(answer) if usage == Usage::default() => (answer.usage, answer.charge),
            _ => (usage, charge),
        };
        let unknown = Price::default();
        let cost = price.unwrap_or(&unknown).of(&usage, &charge).usd();
        Self {
            calls: 1,
            failed: u64::from(match outcome {
                CallOutcome::Answered(answer) => !answer.is_whole(),
                CallOutcome::Failed { .. } => true,
                CallOutcome::Throttled { .. } | CallOutcome::Unsent => false,
            }),
            throttled: u64::from(matches!(outcome, CallOutcome::Throttled { .. })),
            reused: 0,
            usage,
            cost: cost.unwrap_or_default(),
            unpriced: u64::from(cost.is_none() && usage.total > 0),
        }
    }

    /// Subtracts usage that had been counted before.
    pub(crate) fn take_back(&mut self, other: &Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.throttled = self.throttled.saturating_sub(other.throttled);
        self.reused = self.reused.saturating_sub(other.reused);
        self.unpriced = self.unpriced.saturating_sub(other.unpriced);
        let Usage { prompt, completion, reasoning, cached, total, estimated } = self.usage;
        self.usage = Usage {
            prompt: prompt.saturating_sub(other.usage.prompt),
            completion: completion.saturating_sub(other.usage.completion),
            reasoning: reasoning.saturating_sub(other.usage.reasoning),
            cached: cached.saturating_sub(other.usage.cached),
            total: total.saturating_sub(other.usage.total),
            estimated: estimated.saturating_sub(other.usage.estimated),
        };
        self.cost = self.cost.minus(other.cost);
    }

    /// Of this usage, the counts of calls without what they used.
    pub(crate) fn calls_alone(&self) -> Self {
        Self { calls: self.calls, failed: self.failed, throttled: self.throttled, ..Self::default() }
    }

    /// Calls that were answered.
    pub(crate) const fn answered(&self) -> u64 {
        self.calls.saturating_sub(self.failed).saturating_sub(self.throttled)
    }

    /// Status for clients; fields that only an active run has are zero.
    pub(crate) fn status(&self) -> LlmStatus {
        LlmStatus {
            calls: self.calls,
            failed: self.failed,
            throttled: self.throttled,
            reused: self.reused,
            usage: self.usage,
            cost_usd: self.cost.as_f64(),
            unpriced: self.unpriced,
            ..LlmStatus::default()
        }
    }
}

impl std::ops::AddAssign for LlmUsage {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.throttled = self.throttled.saturating_add(other.throttled);
        self.reused = self.reused.saturating_add(other.reused);
        self.usage += other.usage;
        self.cost += other.cost;
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
    }
}

/// Most of a count in the usage of a run: far above what a run can use, and exact in every type that holds it.
pub(super) const MOST: i64 = 1 << 53;

/// A stored count.
pub(super) fn unsigned(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A count as it is stored.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use domain::answer::{Answer, Finish};

    use super::*;

    #[test]
    fn what_was_counted_can_be_taken_back() {
        let price = Price::flat(1.0, Some(0.5), 2.0);
        let usage = Usage { prompt: 100, completion: 50, total: 150, ..Usage::default() };
        let answer = Answer {
            content: "{}".to_owned(),
            finish: Finish::Stop,
            usage,
            charge: Charge::default(),
            model: String::new(),
        };
        let charge = Charge::default();
        let one = LlmUsage::of(&CallOutcome::Answered(answer), Usage::default(), charge, Some(&price));
        // 10,000 and 20,000 ticks a token.
        assert_eq!((one.cost, one.usage), (Usd::from_ticks(2_000_000), usage));
        let mut all = one;
        all += one;
        all.take_back(&one);
        assert_eq!((all.calls, all.usage, all.cost), (1, usage, one.cost));
    }

    #[test]
    fn a_cut_off_answer_failed_and_was_paid_for() {
        let usage = Usage { total: 9, ..Usage::default() };
        let answer = Answer {
            content: "[{".to_owned(),
            finish: Finish::Length,
            usage,
            charge: Charge::default(),
            model: String::new(),
        };
        let spent = LlmUsage::of(&CallOutcome::Answered(answer), usage, Charge::default(), None);
        assert_eq!((spent.calls, spent.failed, spent.usage.total), (1, 1, 9));
    }

    #[test]
    fn a_call_without_a_price_costs_not_nothing() {
        let refused = CallOutcome::failed("", domain::answer::FailureKind::Unknown);
        let billed = Usage { total: 9, ..Usage::default() };
        for (usage, price, unpriced) in [
            (billed, None, 1),
            (billed, Some(Price::default()), 1),
            (billed, Some(Price::flat(0.0, None, 0.0)), 0),
            (Usage::default(), None, 0),
        ] {
            let mut spent = LlmUsage::of(&refused, usage, Charge::default(), price.as_ref());
            assert_eq!((spent.unpriced, spent.cost), (unpriced, Usd::ZERO), "{usage:?} {price:?}");
            spent += spent;
            assert_eq!(spent.status().unpriced, 2 * unpriced);
            assert_eq!(spent.status().whole_cost_usd(), (unpriced == 0).then_some(0.0));
        }
        // What is billed is known without any price, also of a call that failed.
        let charge = Charge { billed: Some(Usd::from_ticks(37_756_001)), ..Charge::default() };
        for price in [None, Some(Price::flat(9.0, None, 9.0))] {
            let spent = LlmUsage::of(&refused, billed, charge, price.as_ref());
            assert_eq!((spent.unpriced, spent.cost), (0, Usd::from_ticks(37_756_001)));
        }
    }
}
