//! Invariants of the gateway's state: after every step, and at rest.

use crate::llm_gateway::rate_limit::RateLimiter;
use crate::llm_gateway::request::{Call, PendingRequest, RequestState};
use crate::llm_gateway::state::GatewayState;

impl GatewayState {
    /// Calls that are believed to be under way.
    pub(super) fn calls_under_way(&self) -> usize {
        self.calls.len()
    }

    /// Counts agree with what is counted.
    pub(super) fn check(&self) {
        let open = || self.streams.values().flat_map(|stream| stream.requests.values());
        let is_waiting = |request: &&PendingRequest| matches!(request.state, RequestState::Waiting);
        for (run_id, tracker) in &self.trackers {
            let waiting =
                open().filter(is_waiting).filter(|request| request.run_id == *run_id).count() as u64;
            assert_eq!(tracker.waiting, waiting, "waiting of {run_id}");
            let under_way = self.calls.values().filter(|call| call.run_id == *run_id).count() as u64;
            assert_eq!(tracker.calling, under_way, "under way of {run_id}");
        }
        let recorded = open().filter(|request| matches!(request.state, RequestState::Recording(_))).count();
        assert_eq!(self.recording.len(), recorded, "requests whose calls are not durable");
        let tickets: u64 = self.pools.values().map(RateLimiter::tickets).sum();
        // A call of a run that has ended is in no pool.
        let has_pool = |call: &&Call| self.trackers[&call.run_id].policy.is_some();
        assert_eq!(tickets, self.calls.values().filter(has_pool).count() as u64, "tickets and calls");
        assert_eq!(self.deadlines.len(), self.calls.len(), "every call has its deadline");
        let waiters: usize = self.flights.values().map(|flight| flight.waiters.len()).sum();
        assert_eq!(waiters, open().filter(is_waiting).count(), "waiting requests and waiters of keys");
        for (key, flight) in &self.flights {
            assert!(!flight.is_over(), "a flight of {key} that is over");
            assert_eq!(flight.turn.is_some(), flight.needs_a_call(), "{key} stands in a lane");
            let calls = self.calls.values().filter(|call| call.key == *key).count();
            assert_eq!(flight.calling as usize, calls, "calls of {key}");
        }
    }

    /// Nothing is open.
    pub(super) fn assert_idle(&self) {
        self.check();
        assert!(self.calls.is_empty() && self.flights.is_empty(), "{:?} {:?}", self.calls, self.flights);
        assert!(self.streams.values().all(|stream| stream.requests.is_empty()));
    }
}
