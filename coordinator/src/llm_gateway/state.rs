//! State of the gateway: pending requests by stream, in-flight keys, runs and pools.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::answer::Answer;
use domain::budget::Pool;
use domain::ids::{AnswerKey, RunId, WorkerName};
use llm::limit::Seconds;
use proto::convert::{AcquireCall, LlmStatus};

use super::dedup::RecentCalls;
use super::effect::{Effect, PendingWrite, Reply, RequestId, StreamId};
use super::request::{Call, InFlightKey, PendingRequest, RequestState, Stream};
use super::runs::RunChanged;
use super::spend_limit::{LlmAccess, LlmPolicy, RunPolicy, SpendTracker};
use crate::llm_gateway::rate_limit::{QueuedCall, RateLimiter};
use crate::llm_gateway::response_cache::{CacheWrite, CachedResponse, CallId, LlmUsage, StoreWrite};

/// Why the requests of a run without a model are refused.
const NO_MODEL: &str = "the run's configuration names no model";

/// What became of a message about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is taken into account.
    Counted,
    /// It repeats a result that was taken into account.
    Repeated,
    /// The call was not permitted to this worker for this run: it changes nothing.
    Refused,
}

/// The reply to a worker whose call was not permitted.
pub(super) const NO_PERMIT: &str =
    "this call was not permitted to this worker for this run: its result is not used";

/// All requests, calls and runs. Pure: time and events come as arguments, [`Effect`]s go out. The invariants are in the
/// docs of the module.
#[derive(Debug)]
pub(crate) struct GatewayState {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) flights: HashMap<AnswerKey, InFlightKey>,
    pub(super) calls: BTreeMap<CallId, Call>,
    /// Calls whose rows are not durable yet, and when they were begun. Their permits are not sent.
    pub(super) recording: BTreeMap<CallId, Seconds>,
    /// The last call that was begun.
    pub(super) last_call: CallId,
    /// No further calls are begun: the process ends.
    pub(super) closing: bool,
    /// Until when this process may permit calls, unless it is the owner for longer.
    pub(super) owner_until: Seconds,
    /// Deadlines of calls, in ms.
    pub(super) deadlines: BTreeSet<(u64, CallId)>,
    pub(super) pools: BTreeMap<Pool, RateLimiter>,
    pub(super) trackers: BTreeMap<RunId, SpendTracker>,
    /// Active runs, as the coordinator sent them.
    policies: BTreeMap<RunId, RunPolicy>,
    /// Usage of runs that have not sent a request to this process yet.
    spent_before: BTreeMap<RunId, LlmUsage>,
    pub(super) recent: RecentCalls,
    pub(super) counter: u64,
    pub(super) effects: Vec<Effect>,
    /// Wall time at zero of the time that the state gets, in ms since the Unix epoch.
    pub(super) zero_ms: u64,
}

impl GatewayState {
    /// State without requests; `spent` is the usage of each active run so far, `zero_ms` the wall time at zero, and `before` an
    /// identifier that the calls of this process follow.
    pub(crate) fn new(spent: BTreeMap<RunId, LlmUsage>, zero_ms: u64, before: CallId) -> Self {
        Self {
            streams: BTreeMap::new(),
            flights: HashMap::new(),
            calls: BTreeMap::new(),
            recording: BTreeMap::new(),
            last_call: before,
            closing: false,
            owner_until: f64::INFINITY,
            deadlines: BTreeSet::new(),
            pools: BTreeMap::new(),
            trackers: BTreeMap::new(),
            policies: BTreeMap::new(),
            spent_before: spent,
            recent: RecentCalls::default(),
            counter: 0,
            effects: Vec::new(),
            zero_ms,
        }
    }

    /// Begins no further calls, because the process ends.
    pub(crate) const fn stop(&mut self) {
        self.closing = true;
    }

    /// Permits calls until this moment at most: after it another process may be the one that does.
    pub(crate) const fn own_until(&mut self, until: Seconds) {
        self.owner_until = until;
    }

    /// Takes the effects, to be carried out in this order.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A worker opened a stream. `replaced` is its older stream, which is stale, and is closed. Other streams under its name
    /// stay: nothing shows that they belong to the same worker.
    pub(crate) fn connected(
        &mut self,
        now: Seconds,
        stream: StreamId,
        worker: WorkerName,
        replaced: Option<StreamId>,
    ) {
        if let Some(older) = replaced {
            self.disconnected(now, older);
            self.effects.push(Effect::Close(older));
        }
        self.streams.insert(stream, Stream { worker, requests: BTreeMap::new() });
    }

    /// The open streams under a name.
    pub(crate) fn streams_of(&self, worker: &WorkerName) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter(move |(_, known)| known.worker == *worker).map(|(id, _)| *id)
    }

    /// Run and key of an open request.
    pub(crate) fn call_of(&self, request_id: RequestId) -> Option<(&RunId, AnswerKey)> {
        let request = self.streams.get(&request_id.stream)?.requests.get(&request_id.number)?;
        Some((&request.run_id, request.key))
    }

    /// A stream has ended. Its waiting requests are dropped; its calls count until their worker reconnects, or for the
    /// time to live of a lease.
    pub(crate) fn disconnected(&mut self, now: Seconds, stream: StreamId) {
        let Some(ended) = self.streams.remove(&stream) else { return };
        for (number, request) in ended.requests {
            match request.state {
                RequestState::Calling(call) if mutated!(CallEndsWithStream) => self.expire_call(now, call),
                RequestState::Calling(call) => self.orphan(now, call),
                RequestState::Recording(call) => self.withdraw(now, call),
                RequestState::Waiting => self.drop_waiter(RequestId { stream, number }, &request),
            }
        }
        self.start_calls(now);
    }

    /// Wall time of a moment of this process, in ms since the Unix epoch.
    pub(super) const fn unix_ms(&self, moment_ms: u64) -> u64 {
        self.zero_ms.saturating_add(moment_ms)
    }

    /// How many requests of a stream are open.
    pub(crate) fn open_requests(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.requests.len())
    }

    /// A worker requests an answer, or reports a call that an earlier stream permitted: `permitted`, as its ticket shows.
    pub(crate) fn acquire(
        &mut self,
        now: Seconds,
        stream: StreamId,
        asked: &AcquireCall,
        permitted: Option<CallId>,
    ) -> Accepted {
        let request_id = RequestId { stream, number: asked.number };
        let Some(known) = self.streams.get(&stream) else { return Accepted::Repeated };
        let under_way = if asked.under_way { permitted } else { None };
        if asked.under_way && under_way.is_none() {
            self.effects.push(Effect::Send(request_id, Reply::Stopped(NO_PERMIT.to_owned())));
            return Accepted::Refused;
        }
        if let Some(request) = known.requests.get(&asked.number) {
            // A repeated request counts once, unless its call has begun meanwhile.
            if request.is_calling() || under_way.is_none() {
                return Accepted::Repeated;
            }
            self.remove_waiting(now, request_id);
        }
        let access = self.access(&asked.run_id);
        self.register_run(now, &asked.run_id, &access);
        if let Some(tracker) = self.trackers.get_mut(&asked.run_id) {
            tracker.note_activity(now);
        }
        if let Some(call) = under_way {
            self.take_over(now, request_id, asked, call);
            return Accepted::Counted;
        }
        if let Some(reason) = self.closed(&asked.run_id, &access) {
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason)));
            return Accepted::Counted;
        }
        let request = PendingRequest {
            run_id: asked.run_id.clone(),
            key: asked.key,
            tokens: asked.tokens.max(1),
            state: RequestState::Waiting,
        };
        if let Some(known) = self.streams.get_mut(&stream) {
            known.requests.insert(asked.number, request);
        }
        if let Some(tracker) = self.trackers.get_mut(&asked.run_id) {
            tracker.waiting += 1;
        }
        let flight = self.flights.entry(asked.key).or_default();
        flight.waiters.push_back(request_id);
        if !flight.looked && !flight.looking {
            flight.looking = true;
            self.effects.push(Effect::LookUp(asked.key));
        }
        self.serve_stored(now, asked.key);
        self.requeue(asked.key, false);
        self.start_calls(now);
        Accepted::Counted
    }

    /// A worker cancels a request. One that is calling stays open until its result arrives.
    pub(crate) fn cancel(&mut self, now: Seconds, request_id: RequestId) {
        self.remove_waiting(now, request_id);
        self.start_calls(now);
    }

    /// The look-up of a key in the response cache has ended.
    pub(crate) fn looked_up(&mut self, now: Seconds, key: AnswerKey, found: Option<CachedResponse>) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        (flight.looking, flight.looked) = (false, true);
        flight.stored = found;
        self.serve_stored(now, key);
        self.requeue(key, false);
        self.start_calls(now);
    }

    /// A run has begun, was stopped, was submitted again or has ended.
    pub(crate) fn run_changed(&mut self, now: Seconds, change: RunChanged) {
        let run_id = match change {
            RunChanged::Active { run_id, policy } => {
                self.policies.insert(run_id.clone(), RunPolicy { policy, halted: None });
                run_id
            }
            RunChanged::Halted { run_id, reason } => {
                if let Some(run) = self.policies.get_mut(&run_id) {
                    run.halted = Some(reason);
                }
                run_id
            }
            RunChanged::Ended { run_id } => {
                self.policies.remove(&run_id);
                run_id
            }
        };
        if !self.trackers.contains_key(&run_id) {
            return;
        }
        let access = self.access(&run_id);
        self.register_run(now, &run_id, &access);
        if let Some(reason) = self.closed(&run_id, &access) {
            self.stop_waiting(now, &run_id, &reason);
        }
        self.start_calls(now);
    }

    /// Whether a run may call a model, and under which policy.
    pub(super) fn access(&self, run_id: &RunId) -> LlmAccess {
        let Some(run) = self.policies.get(run_id) else {
            return LlmAccess::Denied(format!("run {run_id} has ended, or is not known here"));
        };
        match (&run.halted, &run.policy) {
            (Some(reason), _) => LlmAccess::Denied(reason.clone()),
            (None, Some(policy)) => LlmAccess::Allowed(Arc::clone(policy)),
            (None, None) => LlmAccess::Denied(NO_MODEL.to_owned()),
        }
    }

    /// Whether a run has not ended.
    pub(crate) fn is_active(&self, run_id: &RunId) -> bool {
        self.policies.contains_key(run_id)
    }

    /// Runs with usage or requests in memory.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.trackers.keys().chain(self.spent_before.keys()).cloned().collect()
    }

    /// Whether the usage of a run is in memory.
    pub(crate) fn knows(&self, run_id: &RunId) -> bool {
        self.trackers.contains_key(run_id) || self.spent_before.contains_key(run_id)
    }

    /// Usage of a run from the store, before its first request is taken.
    pub(crate) fn spent_before(&mut self, run_id: RunId, spent: LlmUsage) {
        if !self.knows(&run_id) {
            self.spent_before.insert(run_id, spent);
        }
    }

    /// Drops an ended run, unless requests of it are open. Returns whether anything was dropped.
    pub(crate) fn forget_run(&mut self, run_id: &RunId) -> bool {
        let busy = |tracker: &SpendTracker| tracker.waiting > 0 || tracker.calling > 0;
        if self.trackers.get(run_id).is_some_and(busy) {
            return false;
        }
        for limiter in self.pools.values_mut() {
            limiter.queue.forget(run_id);
        }
        let tracker = self.trackers.remove(run_id).is_some();
        self.spent_before.remove(run_id).is_some() || tracker
    }

    /// LLM status of each run in memory.
    pub(crate) fn statuses(&self, now: Seconds) -> BTreeMap<RunId, LlmStatus> {
        let before = self.spent_before.iter().map(|(run_id, spent)| (run_id.clone(), spent.status()));
        let mut statuses: BTreeMap<RunId, LlmStatus> = before.collect();
        for (run_id, tracker) in &self.trackers {
            let pool = tracker.policy.as_ref().and_then(|policy| self.pools.get(&policy.pool));
            let limit = pool.and_then(RateLimiter::limit_per_min);
            let waits = self.waits(now, tracker);
            let (waits_for, paused_until_ms) = (waits.reason, waits.asked_until_ms);
            let status = tracker.status(now, limit);
            statuses.insert(run_id.clone(), LlmStatus { paused_until_ms, waits_for, ..status });
        }
        statuses
    }

    /// Creates the spend tracker of a run, and applies its policy.
    pub(super) fn register_run(&mut self, now: Seconds, run_id: &RunId, access: &LlmAccess) {
        let before = self.spent_before.remove(run_id).unwrap_or_default();
        let tracker = self.trackers.entry(run_id.clone()).or_insert_with(|| SpendTracker::new(before, now));
        let LlmAccess::Allowed(policy) = access else { return };
        if tracker.halted.take().is_some() {
            tracker.begin_anew(now);
            if let Some(limiter) = self.pools.get_mut(&policy.pool) {
                limiter.health.forget(now);
            }
        }
        if tracker.policy.as_ref().is_some_and(|known| known == policy) {
            return;
        }
        tracker.policy = Some(Arc::clone(policy));
        let LlmPolicy { pool, limits, submitted_at_ms, .. } = &**policy;
        self.pools
            .entry(pool.clone())
            .or_insert_with(|| RateLimiter::new(limits, *submitted_at_ms, now))
            .allow(limits, *submitted_at_ms, now);
    }

    fn closed(&self, run_id: &RunId, access: &LlmAccess) -> Option<String> {
        match access {
            LlmAccess::Denied(reason) => Some(reason.clone()),
            LlmAccess::Allowed(_) => self.trackers.get(run_id).and_then(|tracker| tracker.halted.clone()),
        }
    }

    /// Stops a run: its waiting requests are stopped with the reason.
    pub(super) fn halt(&mut self, now: Seconds, run_id: &RunId, reason: &str) {
        if let Some(tracker) = self.trackers.get_mut(run_id)
            && tracker.halted.is_none()
        {
            tracker.halted = Some(reason.to_owned());
            if let Some(run) = self.policies.get_mut(run_id) {
                run.halted = Some(reason.to_owned());
            }
            self.effects.push(Effect::Halt(run_id.clone(), reason.to_owned()));
            self.stop_waiting(now, run_id, reason);
        }
    }

    fn stop_waiting(&mut self, now: Seconds, run_id: &RunId, reason: &str) {
        let waiting = self.streams.iter().flat_map(|(stream, known)| {
            let waits = known
                .requests
                .iter()
                .filter(|(_, request)| !request.is_calling() && request.run_id == *run_id);
            waits.map(|(number, _)| RequestId { stream: *stream, number: *number })
        });
        for request_id in waiting.collect::<Vec<_>>() {
            self.remove_waiting(now, request_id);
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason.to_owned())));
        }
    }

    /// Removes a request if it is waiting, for its worker; one that is calling stays.
    pub(super) fn remove_waiting(&mut self, now: Seconds, request_id: RequestId) {
        let Some(stream) = self.streams.get_mut(&request_id.stream) else { return };
        if stream.requests.get(&request_id.number).is_none_or(PendingRequest::is_calling) {
            return;
        }
        let Some(request) = stream.requests.remove(&request_id.number) else { return };
        match request.state {
            RequestState::Recording(call) => self.withdraw(now, call),
            RequestState::Waiting | RequestState::Calling(_) => self.drop_waiter(request_id, &request),
        }
    }

    fn drop_waiter(&mut self, request_id: RequestId, request: &PendingRequest) {
        if let Some(tracker) = self.trackers.get_mut(&request.run_id) {
            tracker.waiting = tracker.waiting.saturating_sub(1);
        }
        if let Some(flight) = self.flights.get_mut(&request.key) {
            flight.waiters.retain(|waiter| *waiter != request_id);
        }
        self.requeue(request.key, false);
    }

    /// Answers the waiters that the cached response is fresh enough for.
    fn serve_stored(&mut self, now: Seconds, key: AnswerKey) {
        let Some(flight) = self.flights.get(&key) else { return };
        let Some(stored) = flight.stored.clone() else { return };
        let policy = |request_id: &RequestId| {
            let run_id = &self.streams.get(&request_id.stream)?.requests.get(&request_id.number)?.run_id;
            self.trackers.get(run_id)?.policy.clone()
        };
        let (served, left): (Vec<RequestId>, Vec<RequestId>) =
            flight.waiters.iter().copied().partition(|request_id| {
                policy(request_id).is_none_or(|policy| {
                    !policy.spend.refresh || stored.created_at_ms >= policy.created_at_ms
                })
            });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.waiters = left.into();
        }
        for request_id in served {
            self.answer(now, request_id, &stored.answer);
        }
    }

    /// Answers a request with a cached response, unless another model gave it than its run may use.
    pub(super) fn answer(&mut self, now: Seconds, request_id: RequestId, answer: &Arc<Answer>) {
        let Some(stream) = self.streams.get_mut(&request_id.stream) else { return };
        let Some(request) = stream.requests.get(&request_id.number) else { return };
        let run_id = request.run_id.clone();
        if let Some(reason) =
            self.trackers.get_mut(&run_id).and_then(|tracker| tracker.mismatch(&answer.model))
        {
            // Stops this request with all that wait.
            self.halt(now, &run_id, &reason);
            return;
        }
        let Some(request) = stream.requests.remove(&request_id.number) else { return };
        let reused = LlmUsage { reused: 1, ..LlmUsage::default() };
        if let Some(tracker) = self.trackers.get_mut(&request.run_id) {
            tracker.waiting = tracker.waiting.saturating_sub(1);
            tracker.spent += reused;
            tracker.questions.answered += 1;
        }
        self.effects.push(Effect::Send(request_id, Reply::CachedResponse(Arc::clone(answer))));
        let run_id = request.run_id;
        let write = CacheWrite { run_id, spent: reused, entry: None, failure: None, call: None };
        self.write(None, StoreWrite::End(write));
    }

    pub(super) fn write(&mut self, request_id: Option<RequestId>, write: StoreWrite) {
        let pending_write = PendingWrite { request_id, write, ask_again: false };
        self.effects.push(Effect::Persist(Box::new(pending_write)));
    }

    /// Restores the order of a key after any change: its first waiter is in the fair queue exactly when the key needs a
    /// call. `first`: at the head of the queue of its run.
    pub(super) fn requeue(&mut self, key: AnswerKey, first: bool) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        if flight.is_over() {
            self.flights.remove(&key);
            return;
        }
        if !flight.needs_a_call() {
            flight.turn = None;
            return;
        }
        let Some(front) = flight.waiters.front() else { return };
        let stream = self.streams.get(&front.stream);
        let Some(request) = stream.and_then(|stream| stream.requests.get(&front.number)) else { return };
        if flight.turn.as_ref().is_some_and(|(run_id, _)| *run_id == request.run_id) {
            return;
        }
        let policy = self.trackers.get(&request.run_id).and_then(|tracker| tracker.policy.as_ref());
        let Some(policy) = policy else { return };
        self.counter += 1;
        flight.turn = Some((request.run_id.clone(), self.counter));
        let Some(limiter) = self.pools.get_mut(&policy.pool) else { return };
        let entry = QueuedCall { key, sequence: self.counter, tokens: request.tokens };
        if first {
            limiter.queue.push_first(&request.run_id, policy.spend.priority, entry);
        } else {
            limiter.queue.push(&request.run_id, policy.spend.priority, entry);
        }
    }
}

/// Whether an entry of the fair queue is the turn of its key.
pub(super) fn has_turn(flights: &HashMap<AnswerKey, InFlightKey>, entry: &QueuedCall) -> bool {
    let turn = flights.get(&entry.key).and_then(|flight| flight.turn.as_ref());
    turn.is_some_and(|(_, sequence)| *sequence == entry.sequence)
}
