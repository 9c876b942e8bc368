//! Calls in flight: permitted, completed, adopted from an earlier process, expired.

use domain::answer::CallOutcome;
use domain::budget::{Pool, Usd};
use domain::ids::{AnswerKey, RunId, WorkerName};
use llm::limit::{Scarce, Seconds, Signal};
use proto::convert::{AcquireCall, CallResult};

use super::effect::{Effect, PendingWrite, Reply, RequestId, StreamId};
use super::request::{Call, CallId, InFlightKey, PendingRequest, RequestState};
use super::spend_limit::entry;
use super::state::{Accepted, GatewayState, NO_PERMIT};
use super::verdict::Verdict;
use crate::clock::moment;
use crate::llm_gateway::rate_limit::Started;
use crate::llm_gateway::response_cache::{CacheWrite, LlmUsage};

/// How long a permit is valid: longer than a message takes on any usable link, shorter than rate limits tolerate.
const VALID_MS: u64 = 5000;

/// Longest time that a call of an unknown run may take, in seconds.
const UNKNOWN_CALL_S: f64 = 60.0;

/// Why a call failed whose worker has not reported its result.
const EXPIRED: &str = "the worker of the call did not report its result in time";

impl GatewayState {
    /// Permits as many calls as the rate and spend limits allow.
    pub(super) fn start_calls(&mut self, now: Seconds) {
        self.halt_exhausted();
        self.halt_unanswered(now);
        let mut started = Vec::new();
        for (pool, limiter) in &mut self.pools {
            let (flights, trackers) = (&self.flights, &mut self.trackers);
            while limiter.has_work(now) {
                let next = limiter.queue.next(
                    |entry| has_turn(flights, entry),
                    |run_id, _| trackers.get(run_id).is_some_and(super::spend_limit::SpendTracker::may_call),
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
            self.begin(now, (pool, permit), entry.key, estimated_cost);
        }
    }

    /// Stops the runs that need a call and have reached their spend limit.
    fn halt_exhausted(&mut self) {
        let mut exhausted = Vec::new();
        for limiter in self.pools.values_mut() {
            let flights = &self.flights;
            for run_id in limiter.queue.runs(|entry| has_turn(flights, entry)) {
                let tracker = self.trackers.get(&run_id);
                exhausted.extend(tracker.and_then(|tracker| Some((run_id.clone(), tracker.exhausted()?))));
            }
        }
        for (run_id, reason) in exhausted {
            self.halt(&run_id, &reason);
        }
    }

    /// Permits the call of the first waiter of `key`. The spend tracker has counted it already.
    fn begin(&mut self, now: Seconds, permit: (Pool, Started), key: AnswerKey, estimated_cost: Usd) {
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
        let Some((request_id, worker, request)) = request else {
            // Cannot happen: a waiter has a request on an open stream.
            let (pool, Started { ticket, probe }) = permit;
            if let Some(limiter) = self.pools.get_mut(&pool) {
                limiter.finish(now, ticket, Signal::Unsent);
                if probe {
                    limiter.health.probe_unsent(now);
                }
            }
            return;
        };
        self.counter += 1;
        let id = CallId(self.counter);
        request.state = RequestState::Calling(id);
        let run_id = request.run_id.clone();
        let tracker = self.trackers.get_mut(&run_id);
        let call_s = tracker.map_or(0.0, |tracker| {
            tracker.waiting = tracker.waiting.saturating_sub(1);
            tracker.policy.as_ref().map_or(0.0, |policy| policy.call_s)
        });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.calling += 1;
        }
        let deadline_ms = moment(now + call_s).0;
        self.deadlines.insert((deadline_ms, id));
        let (request_id, number) = (Some(request_id), request_id.number);
        let (pool, Started { ticket, probe }) = permit;
        let permit = Some((pool, ticket));
        let call =
            Call { permit, probe, run_id, key, worker, number, request_id, estimated_cost, deadline_ms };
        self.calls.insert(id, call);
        self.effects.extend(request_id.map(|request_id| {
            Effect::Send(request_id, Reply::CallPermit { valid_ms: VALID_MS, ticket: None })
        }));
    }

    /// A worker reconnected with a call under way.
    pub(super) fn take_over(&mut self, now: Seconds, request_id: RequestId, asked: &AcquireCall) {
        let Some(worker) = self.streams.get(&request_id.stream).map(|stream| stream.worker.clone()) else {
            return;
        };
        // A worker that reconnects may have another name.
        let by_number = |state: &Self| {
            let mut orphans = state.orphans(asked.number, asked.key);
            orphans.find(|(_, call)| call.run_id == asked.run_id).map(|(id, _)| id)
        };
        let known =
            self.detached(&worker, asked.number, asked.key, &asked.run_id).or_else(|| by_number(self));
        let id = known.unwrap_or_else(|| self.adopt(now, worker, asked));
        let policy = self.trackers.get(&asked.run_id).and_then(|tracker| tracker.policy.as_ref());
        let call_s = policy.map_or(UNKNOWN_CALL_S, |policy| policy.call_s);
        if let Some(call) = self.calls.get_mut(&id) {
            call.request_id = Some(request_id);
            self.deadlines.remove(&(call.deadline_ms, id));
            call.deadline_ms = moment(now + call_s).0;
            self.deadlines.insert((call.deadline_ms, id));
        }
        let request = PendingRequest {
            run_id: asked.run_id.clone(),
            key: asked.key,
            tokens: asked.tokens,
            state: RequestState::Calling(id),
        };
        if let Some(stream) = self.streams.get_mut(&request_id.stream) {
            stream.requests.insert(request_id.number, request);
        }
        self.requeue(asked.key, false);
    }

    /// Counts a call from now on that an earlier process permitted.
    fn adopt(&mut self, now: Seconds, worker: WorkerName, asked: &AcquireCall) -> CallId {
        self.counter += 1;
        let id = CallId(self.counter);
        let tracker = self.trackers.get_mut(&asked.run_id);
        let policy = tracker.as_ref().and_then(|tracker| tracker.policy.clone());
        let permit = policy.filter(|_| !mutated!(AdoptedUncounted)).and_then(|policy| {
            let limiter = self.pools.get_mut(&policy.pool)?;
            Some((policy.pool.clone(), limiter.adopt(now, asked.tokens as f64)))
        });
        let mut estimated_cost = Usd::ZERO;
        if let Some(tracker) = tracker {
            estimated_cost = tracker.estimate(asked.tokens);
            tracker.calling += 1;
            tracker.calling_cost += estimated_cost;
        }
        self.flights.entry(asked.key).or_default().calling += 1;
        let (run_id, key, number) = (asked.run_id.clone(), asked.key, asked.number);
        let call = Call {
            permit,
            probe: false,
            run_id,
            key,
            worker,
            number,
            request_id: None,
            estimated_cost,
            deadline_ms: 0,
        };
        self.calls.insert(id, call);
        id
    }

    /// The call of a worker, by the name that the worker had. It is taken from the stream that it belongs to, if that is still
    /// open: the worker has shown by the ticket that it goes on with the call elsewhere.
    fn detached(
        &mut self,
        worker: &WorkerName,
        number: u64,
        key: AnswerKey,
        run_id: &RunId,
    ) -> Option<CallId> {
        let is_it = |call: &Call| {
            call.worker == *worker && call.number == number && call.key == key && call.run_id == *run_id
        };
        let calls = self.calls.iter_mut().filter(|(_, call)| is_it(call));
        let (id, call) = calls.min_by_key(|(_, call)| call.request_id.is_some())?;
        if let Some(request_id) = call.request_id.take()
            && let Some(stream) = self.streams.get_mut(&request_id.stream)
        {
            stream.requests.remove(&request_id.number);
        }
        Some(*id)
    }

    /// Orphaned calls of a number and key: their workers are disconnected. Different workers may use the same number, even
    /// with the same key.
    fn orphans(&self, number: u64, key: AnswerKey) -> impl Iterator<Item = (CallId, &Call)> {
        let calls = self.calls.iter().map(|(id, call)| (*id, call));
        calls.filter(move |(_, call)| call.request_id.is_none() && call.key == key && call.number == number)
    }

    /// A worker reports the result of a call. `permitted`: its ticket shows that the call was permitted, perhaps on another
    /// stream or by an earlier process; otherwise the permit must be known here.
    pub(crate) fn complete(
        &mut self,
        now: Seconds,
        stream: StreamId,
        ended: CallResult,
        permitted: bool,
    ) -> Accepted {
        let Some(known) = self.streams.get_mut(&stream) else { return Accepted::Repeated };
        let request_id = RequestId { stream, number: ended.number };
        let name = (known.worker.clone(), ended.number, ended.key);
        let is_own = |request: &&PendingRequest| request.key == ended.key && request.run_id == ended.run_id;
        let own = known.requests.get(&ended.number).filter(is_own).map(|request| request.state);
        let id = match own {
            Some(RequestState::Calling(call)) => {
                known.requests.remove(&ended.number);
                Some(call)
            }
            // The permit of an earlier stream or process, or of none.
            Some(RequestState::Waiting) | None if !permitted && !self.recent.has(&name) => {
                tracing::warn!(worker = %name.0, run = %ended.run_id, number = ended.number, "refused the result of a call that was not permitted");
                self.effects.push(Effect::Send(request_id, Reply::Stopped(NO_PERMIT.to_owned())));
                return Accepted::Refused;
            }
            Some(RequestState::Waiting) => {
                self.remove_waiting(request_id);
                None
            }
            None => self.detached(&name.0, ended.number, ended.key, &ended.run_id),
        };
        if id.is_none() && self.recent.has(&name) {
            // A repeated result: the first one is persisted or persisting. This empty write is acknowledged after it.
            let (run_id, spent) = (ended.run_id, LlmUsage::default());
            let write = CacheWrite { run_id, spent, entry: None, failure: None, perhaps_repeated: false };
            self.write(Some(request_id), write);
            return Accepted::Repeated;
        }
        let access = self.access(&ended.run_id);
        self.register_run(now, &ended.run_id, &access);
        if let Some(tracker) = self.trackers.get_mut(&ended.run_id) {
            tracker.note_activity(now);
        }
        if let Some(id) = id {
            let signal = self.signal(&ended);
            self.close(now, id, signal, Some(&ended));
        }
        if ended.outcome != CallOutcome::Unsent {
            self.recent.add(name);
        }
        self.account_for(request_id, ended, id.is_none(), now);
        self.start_calls(now);
        Accepted::Counted
    }

    /// Counts the usage of a call and writes its result.
    fn account_for(
        &mut self,
        request_id: RequestId,
        ended: CallResult,
        perhaps_repeated: bool,
        now: Seconds,
    ) {
        if ended.outcome == CallOutcome::Unsent {
            let key = ended.key;
            self.effects.push(Effect::Send(request_id, Reply::ResultPersisted));
            self.requeue(key, true);
            return;
        }
        let Some(tracker) = self.trackers.get_mut(&ended.run_id) else { return };
        let policy = tracker.policy.clone();
        let price = policy.as_ref().map(|policy| &policy.price);
        let spent = LlmUsage::of(&ended.outcome, ended.usage, ended.charge, price);
        tracker.spent += spent;
        if spent.throttled == 0 {
            tracker.rate.add(moment(now), 1);
        }
        let failure = failure(&ended.outcome);
        if let Some(reason) = &failure {
            tracker.failures.add(reason);
        }
        let verdict = self.judge(now, &ended);
        let CallResult { run_id, key, outcome, .. } = ended;
        let entry = match outcome {
            CallOutcome::Answered(answer) if answer.is_whole() => {
                Some((key, entry(answer, policy.as_deref())))
            }
            _ => None,
        };
        if entry.is_some() {
            self.flights.entry(key).or_default().persisting += 1;
        }
        if mutated!(SentBeforePersisted) {
            self.effects.push(Effect::Send(request_id, Reply::ResultPersisted));
        }
        let write = CacheWrite { run_id: run_id.clone(), spent, entry, failure, perhaps_repeated };
        let ask_again = verdict != Verdict::Settled;
        let request_id = Some(request_id);
        let pending_write = PendingWrite { request_id, write, ask_again };
        self.effects.push(Effect::Persist(Box::new(pending_write)));
        if let Verdict::Stop(reason) = verdict {
            self.halt(&run_id, &reason);
        }
        self.requeue(key, true);
    }

    /// Removes a call from all counts, and returns its ticket to the rate limiter.
    fn close(
        &mut self,
        now: Seconds,
        id: CallId,
        signal: Signal,
        ended: Option<&CallResult>,
    ) -> Option<Call> {
        let mut call = self.calls.remove(&id)?;
        self.deadlines.remove(&(call.deadline_ms, id));
        let leaks = matches!(signal, Signal::Unsent) && mutated!(PermitLeaks);
        if let Some((pool, ticket)) = call.permit.take().filter(|_| !leaks)
            && let Some(limiter) = self.pools.get_mut(&pool)
        {
            limiter.finish(now, ticket, signal);
            Self::observe(limiter, now, call.probe, ended);
            if let Some(ended) = ended {
                limiter.advertised(now, ended.advertised_requests, ended.advertised_tokens);
            }
        }
        if let Some(tracker) = self.trackers.get_mut(&call.run_id) {
            tracker.calling = tracker.calling.saturating_sub(1);
            tracker.calling_cost = match tracker.calling {
                // Nothing is under way: discard by what the estimates of a call differed.
                0 => Usd::ZERO,
                _ => tracker.calling_cost.minus(call.estimated_cost),
            };
        }
        if let Some(flight) = self.flights.get_mut(&call.key) {
            flight.calling = flight.calling.saturating_sub(1);
        }
        Some(call)
    }

    /// The worker of a call has disconnected: the call expires unless the worker reconnects.
    pub(super) fn orphan(&mut self, now: Seconds, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.request_id = None;
        let policy = self.trackers.get(&call.run_id).and_then(|tracker| tracker.policy.as_ref());
        let deadline_ms = moment(now + policy.map_or(30.0, |policy| policy.lease_s)).0;
        self.deadlines.remove(&(call.deadline_ms, id));
        call.deadline_ms = call.deadline_ms.min(deadline_ms);
        self.deadlines.insert((call.deadline_ms, id));
    }

    /// Expires calls at their deadline and permits others. An expired call may have been billed, and counts as billed.
    pub(crate) fn tick(&mut self, now: Seconds) {
        let at = moment(now).0;
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= at) {
            self.deadlines.pop_first();
            self.expire_call(now, id);
        }
        self.start_calls(now);
    }

    /// Expires a call without a result.
    pub(super) fn expire_call(&mut self, now: Seconds, id: CallId) {
        if let Some(call) = self.close(now, id, Signal::Failed, None) {
            if let Some(request_id) = call.request_id
                && let Some(stream) = self.streams.get_mut(&request_id.stream)
            {
                stream.requests.remove(&request_id.number);
            }
            let spent = LlmUsage { calls: 1, failed: 1, ..LlmUsage::default() };
            if let Some(tracker) = self.trackers.get_mut(&call.run_id) {
                tracker.spent += spent;
                tracker.failures.add(EXPIRED);
            }
            let failure = Some(EXPIRED.to_owned());
            let write =
                CacheWrite { run_id: call.run_id, spent, entry: None, failure, perhaps_repeated: false };
            self.write(None, write);
            self.requeue(call.key, true);
        }
    }

    /// When [`Self::tick`] is due, in seconds.
    pub(crate) fn wake(&self, now: Seconds) -> Option<Seconds> {
        let given_up = self.deadlines.first().map(|(deadline, _)| *deadline as f64 / 1000.0);
        let allowed = self.pools.values().filter_map(crate::llm_gateway::rate_limit::RateLimiter::wake);
        allowed.chain(given_up).chain(self.next_give_up(now)).min_by(f64::total_cmp)
    }

    /// Signal of a result to the rate limiter. A billed failure counts as an answer.
    fn signal(&self, ended: &CallResult) -> Signal {
        let tracker = self.trackers.get(&ended.run_id);
        let policy = tracker.and_then(|tracker| tracker.policy.as_ref());
        let limits = policy.map(|policy| policy.limits).unwrap_or_default();
        let tokens = limits.metered(&ended.usage) as f64;
        match &ended.outcome {
            CallOutcome::Answered(answer) => {
                let told = limits.metered(&answer.usage) as f64;
                Signal::Answered { tokens: if tokens > 0.0 { tokens } else { told } }
            }
            CallOutcome::Throttled { retry_after, tokens, .. } => {
                // A longer wait is tried from time to time: it may be a mistake, or a limit that was raised.
                let longest = policy.map_or(UNKNOWN_CALL_S, |policy| policy.retry_s);
                Signal::Throttled {
                    retry_after: retry_after.map(|wait| wait.as_secs_f64().min(longest)),
                    scarce: if *tokens { Scarce::Tokens } else { Scarce::Requests },
                }
            }
            CallOutcome::Failed { .. } if tokens > 0.0 => Signal::Answered { tokens },
            CallOutcome::Failed { .. } => Signal::Failed,
            CallOutcome::Unsent => Signal::Unsent,
        }
    }
}

/// Why a call gave no answer, in words.
fn failure(outcome: &CallOutcome) -> Option<String> {
    match outcome {
        CallOutcome::Answered(answer) if answer.is_whole() => None,
        CallOutcome::Answered(_) => Some("the answer is not complete".to_owned()),
        CallOutcome::Throttled { reason, .. } if reason.is_empty() => {
            Some("the provider answered 429".to_owned())
        }
        CallOutcome::Throttled { reason, .. } | CallOutcome::Failed { reason, .. } => Some(reason.clone()),
        CallOutcome::Unsent => None,
    }
}

fn has_turn(
    flights: &std::collections::HashMap<AnswerKey, InFlightKey>,
    entry: &crate::llm_gateway::rate_limit::QueuedCall,
) -> bool {
    flights
        .get(&entry.key)
        .and_then(|flight| flight.turn.as_ref())
        .is_some_and(|(_, sequence)| *sequence == entry.sequence)
}
