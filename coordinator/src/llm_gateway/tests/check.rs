//! Invariants of the gateway's state: after every step, and at rest.

use domain::ids::AnswerKey;

use crate::llm_gateway::effect::RequestId;
use crate::llm_gateway::rate_limit::RateLimiter;
use crate::llm_gateway::state::GatewayState;

impl GatewayState {
    /// Calls that are believed to be under way.
    pub(super) fn calls_under_way(&self) -> usize {
        self.calls.len()
    }

    /// The key of an open question.
    pub(super) fn key_of(&self, request_id: RequestId) -> AnswerKey {
        let open =
            self.streams.get(&request_id.stream).and_then(|stream| stream.questions.get(&request_id.number));
        open.map_or_else(|| AnswerKey::of(b"none"), |open| open.key)
    }

    /// What counts agree with what is counted.
    pub(super) fn check(&self) {
        let open = || self.streams.values().flat_map(|stream| stream.questions.values());
        for (run_id, account) in &self.accounts {
            let waiting = open().filter(|open| open.run_id == *run_id && open.call.is_none()).count() as u64;
            assert_eq!(account.waiting, waiting, "waiting of {run_id}");
            let under_way = self.calls.values().filter(|call| call.run_id() == run_id).count() as u64;
            assert_eq!(account.under_way, under_way, "under way of {run_id}");
        }
        let tickets: u64 = self.pools.values().map(RateLimiter::under_way).sum();
        assert_eq!(tickets, self.calls.len() as u64, "tickets and calls");
        assert_eq!(self.deadlines.len(), self.calls.len(), "every call has its deadline");
        let waiters: usize = self.flights.values().map(|flight| flight.waiters.len()).sum();
        assert_eq!(waiters, open().filter(|open| open.call.is_none()).count(), "who waits has a flight");
        for (key, flight) in &self.flights {
            assert!(!flight.is_over(), "a flight of {key} that is over");
            assert_eq!(flight.queued.is_some(), flight.needs_a_call(), "{key} stands in a lane");
            let calls = self.calls.values().filter(|call| call.key() == *key).count();
            assert_eq!(flight.calls as usize, calls, "calls of {key}");
        }
    }

    /// Nothing is open anywhere.
    pub(super) fn assert_idle(&self) {
        self.check();
        assert!(self.calls.is_empty() && self.flights.is_empty(), "{:?} {:?}", self.calls, self.flights);
        assert!(self.streams.values().all(|stream| stream.questions.is_empty()));
    }
}
