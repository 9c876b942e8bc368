//! Permits: a call whose turn it is is recorded, and permitted when that is durable.

use domain::budget::{Pool, Usd};
use llm::limit::{Seconds, Signal};

use crate::clock::moment;
use crate::llm_gateway::effect::{Effect, Reply};
use crate::llm_gateway::rate_limit::{QueuedCall, Started};
use crate::llm_gateway::request::{Call, RequestState};
use crate::llm_gateway::response_cache::{CallId, RecordedCall, StoreWrite};
use crate::llm_gateway::spend_limit::SpendTracker;
use crate::llm_gateway::state::{GatewayState, has_turn};

/// How long a permit is valid: longer than a message takes on any usable link, shorter than rate limits tolerate.
const VALID_MS: u64 = 5000;

/// While a recording takes longer, no further calls are begun: those that were permitted meanwhile start at once when the store
/// works again, and are as many as the rate limit allows in this time.
const STALLED_S: Seconds = 1.0;

/// A recording that has taken longer is of no use: the deadline would not cover the call any more, which has so much less time.
const LATE_S: Seconds = 30.0;

impl GatewayState {
    /// Begins as many calls as the rate and spend limits allow.
    pub(in crate::llm_gateway) fn start_calls(&mut self, now: Seconds) {
        self.halt_exhausted(now);
        self.halt_unanswered(now);
        if self.is_held(now) {
            return;
        }
        let mut started = Vec::new();
        for (pool, limiter) in &mut self.pools {
            let (flights, trackers) = (&self.flights, &mut self.trackers);
            while limiter.has_work(now) {
                let next = limiter.queue.next(
                    |entry| has_turn(flights, entry),
                    |run_id, _| trackers.get(run_id).is_some_and(SpendTracker::may_call),
                );
                let Some((run_id, entry)) = next else { break };
                let Some(permit) = limiter.start(now, entry.tokens as f64) else { break };
                let units = limiter.units(entry.tokens);
                limiter.queue.serve(&run_id, units);
                if let Some(tracker) = trackers.get_mut(&run_id) {
                    // Counted at once, so that this loop does not exceed a limit.
                    tracker.calling += 1;
                    tracker.calling_cost += tracker.estimate(entry.tokens);
                }
                started.push((pool.clone(), permit, entry, run_id));
            }
        }
        for (pool, permit, entry, run_id) in started {
            let tracker = self.trackers.get(&run_id);
            let estimated_cost = tracker.map_or(Usd::ZERO, |tracker| tracker.estimate(entry.tokens));
            self.begin(now, (pool, permit), &entry, estimated_cost);
        }
    }

    /// Whether no call is begun, whatever the limits: the process ends, may not be the owner any more, or the store does not record.
    pub(super) fn is_held(&self, now: Seconds) -> bool {
        let oldest = self.recording.values().next();
        self.closing || self.is_suspended(now) || oldest.is_some_and(|since| now - since > STALLED_S)
    }

    /// Whether another process may have taken over.
    pub(super) fn is_suspended(&self, now: Seconds) -> bool {
        self.owner_until <= now
    }

    /// Stops the runs that need a call and have reached their spend limit.
    fn halt_exhausted(&mut self, now: Seconds) {
        let mut exhausted = Vec::new();
        for limiter in self.pools.values_mut() {
            let flights = &self.flights;
            for run_id in limiter.queue.runs(|entry| has_turn(flights, entry)) {
                let tracker = self.trackers.get(&run_id);
                exhausted.extend(tracker.and_then(|tracker| Some((run_id.clone(), tracker.exhausted()?))));
            }
        }
        for (run_id, reason) in exhausted {
            self.halt(now, &run_id, &reason);
        }
    }

    /// Begins the call of the first waiter of a key: records it. The spend tracker has counted it already.
    fn begin(&mut self, now: Seconds, permit: (Pool, Started), entry: &QueuedCall, estimated_cost: Usd) {
        let key = entry.key;
        let front = self.flights.get_mut(&key).and_then(|flight| {
            flight.turn = None;
            flight.waiters.pop_front()
        });
        let stream = front.and_then(|request_id| {
            self.streams.get_mut(&request_id.stream).map(|stream| (request_id, stream))
        });
        let request = stream.and_then(|(request_id, stream)| {
            let worker = stream.worker.clone();
            stream.requests.get_mut(&request_id.number).map(|request| (request_id, worker, request))
        });
        let (pool, Started { ticket, probe }) = permit;
        let Some((request_id, worker, request)) = request else {
            // Cannot happen: a waiter has a request on an open stream.
            if let Some(limiter) = self.pools.get_mut(&pool) {
                limiter.finish(now, ticket, Signal::Unsent);
                if probe {
                    limiter.health.probe_unsent(now);
                }
            }
            return;
        };
        self.last_call = self.last_call.next();
        let id = self.last_call;
        request.state = RequestState::Recording(id);
        let run_id = request.run_id.clone();
        let call_s = self.trackers.get_mut(&run_id).map_or(0.0, |tracker| {
            tracker.waiting = tracker.waiting.saturating_sub(1);
            tracker.policy.as_ref().map_or(0.0, |policy| policy.call_s)
        });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.calling += 1;
        }
        let deadline_ms = moment(now + call_s).0;
        self.deadlines.insert((deadline_ms, id));
        self.recording.insert(id, now);
        let recorded = RecordedCall {
            id,
            key,
            run_id: run_id.clone(),
            worker,
            tokens: entry.tokens,
            estimated_cost,
            started_at_ms: self.unix_ms(moment(now).0),
            deadline_ms: self.unix_ms(deadline_ms),
        };
        let (permit, request_id) = (Some((pool, ticket)), Some(request_id));
        let call = Call { permit, probe, run_id, key, request_id, estimated_cost, deadline_ms };
        self.calls.insert(id, call);
        self.write(None, StoreWrite::Begin(recorded));
        if mutated!(PermitBeforeRecord) {
            self.recorded(now, id);
        }
    }

    /// The row of a call is durable: its permit is sent, unless it was withdrawn meanwhile.
    pub(in crate::llm_gateway) fn recorded(&mut self, now: Seconds, id: CallId) {
        let Some(since) = self.recording.get(&id) else { return };
        if now - since > LATE_S || self.is_suspended(now) {
            self.put_back(now, id);
            return;
        }
        self.recording.remove(&id);
        let Some(request_id) = self.calls.get(&id).and_then(|call| call.request_id) else { return };
        let stream = self.streams.get_mut(&request_id.stream);
        if let Some(request) = stream.and_then(|stream| stream.requests.get_mut(&request_id.number)) {
            request.state = RequestState::Calling(id);
            let valid_ms = moment(self.owner_until - now).0.min(VALID_MS);
            let permit = Reply::CallPermit { call: id, valid_ms, ticket: None };
            self.effects.push(Effect::Send(request_id, permit));
        }
    }

    /// Takes a call back whose permit was not sent, and whose request is gone: nothing of it counts.
    pub(in crate::llm_gateway) fn withdraw(&mut self, now: Seconds, id: CallId) {
        if let Some(call) = self.take_back(now, id) {
            self.requeue(call.key, true);
        }
    }

    /// Takes a call back whose permit was not sent; its request waits again, before the others.
    pub(super) fn put_back(&mut self, now: Seconds, id: CallId) {
        let Some(call) = self.take_back(now, id) else { return };
        let Some(request_id) = call.request_id else { return };
        let stream = self.streams.get_mut(&request_id.stream);
        if let Some(request) = stream.and_then(|stream| stream.requests.get_mut(&request_id.number)) {
            request.state = RequestState::Waiting;
            if let Some(tracker) = self.trackers.get_mut(&call.run_id) {
                tracker.waiting += 1;
            }
            self.flights.entry(call.key).or_default().waiters.push_front(request_id);
        }
        self.requeue(call.key, true);
    }

    fn take_back(&mut self, now: Seconds, id: CallId) -> Option<Call> {
        self.recording.remove(&id);
        let call = self.close(now, id, Signal::Unsent, None)?;
        // After the record, which is in the queue of the store or done.
        self.write(None, StoreWrite::Unused { call: id, run_id: call.run_id.clone() });
        Some(call)
    }
}
