//! Calls in flight: permitted, completed, adopted from an earlier process, expired.

use domain::answer::CallOutcome;
use domain::budget::Pool;
use domain::ids::{AnswerKey, WorkerName};
use llm::limit::{Scarce, Seconds, Signal, Ticket};
use proto::convert::{AcquireCall, CallResult};

use super::effect::{Effect, Reply, RequestId, StreamId};
use super::request::{Call, CallId, InFlightKey, PendingRequest};
use super::spend_limit::entry;
use super::state::GatewayState;
use crate::clock::moment;
use crate::llm_gateway::response_cache::{CacheWrite, LlmUsage};

/// How long after leave a call may start: longer than any sane link needs, shorter than a limit forgives.
const VALID_MS: u64 = 5000;

/// Longest a call of a run may take that nobody knows any more, in seconds.
const UNKNOWN_CALL_S: f64 = 60.0;

impl GatewayState {
    /// Lets calls through, as many as budgets allow.
    pub(super) fn start_calls(&mut self, now: Seconds) {
        self.halt_exhausted();
        let mut started = Vec::new();
        for (pool, limiter) in &mut self.pools {
            let (flights, accounts) = (&self.flights, &mut self.accounts);
            while limiter.has_work(now) {
                let next = limiter.queue.next(
                    |entry| is_queued(flights, entry),
                    |run_id, _| accounts.get(run_id).is_some_and(super::spend_limit::SpendTracker::may_call),
                );
                let Some((run_id, entry)) = next else { break };
                let Some(ticket) = limiter.start(now, entry.tokens as f64) else { break };
                let units = limiter.units(entry.tokens);
                limiter.queue.serve(&run_id, units);
                if let Some(account) = accounts.get_mut(&run_id) {
                    // What is let through counts at once, so that no bound is passed within this loop.
                    account.under_way += 1;
                    account.under_way_usd += account.estimate(entry.tokens);
                }
                started.push((pool.clone(), ticket, entry, run_id));
            }
        }
        for (pool, ticket, entry, run_id) in started {
            let estimate_usd =
                self.accounts.get(&run_id).map_or(0.0, |account| account.estimate(entry.tokens));
            self.begin(now, (pool, ticket), entry.key, estimate_usd);
        }
    }

    /// Stops the runs that need a call and may spend no more.
    fn halt_exhausted(&mut self) {
        let mut exhausted = Vec::new();
        for limiter in self.pools.values_mut() {
            let flights = &self.flights;
            for run_id in limiter.queue.runs(|entry| is_queued(flights, entry)) {
                let account = self.accounts.get(&run_id);
                exhausted.extend(account.and_then(|account| Some((run_id.clone(), account.exhausted()?))));
            }
        }
        for (run_id, reason) in exhausted {
            self.halt(&run_id, &reason);
        }
    }

    /// The first waiter of `key` gets leave. Its account counts the call already.
    fn begin(&mut self, now: Seconds, leave: (Pool, Ticket), key: AnswerKey, estimate_usd: f64) {
        let front = self.flights.get_mut(&key).and_then(|flight| {
            flight.queued = None;
            flight.waiters.pop_front()
        });
        let stream = front.and_then(|request_id| {
            self.streams.get_mut(&request_id.stream).map(|stream| (request_id, stream))
        });
        let open = stream.and_then(|(request_id, stream)| {
            let worker = stream.worker.clone();
            stream.questions.get_mut(&request_id.number).map(|open| (request_id, worker, open))
        });
        let Some((request_id, worker, open)) = open else {
            // Cannot be: who waits has a question on a living stream.
            let (pool, ticket) = leave;
            if let Some(limiter) = self.pools.get_mut(&pool) {
                limiter.finish(now, ticket, Signal::Unsent);
            }
            return;
        };
        self.counter += 1;
        let id = CallId(self.counter);
        open.call = Some(id);
        let run_id = open.run_id.clone();
        let account = self.accounts.get_mut(&run_id);
        let call_s = account.map_or(0.0, |account| {
            account.waiting = account.waiting.saturating_sub(1);
            account.terms.as_ref().map_or(0.0, |terms| terms.call_s)
        });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.calls += 1;
        }
        let deadline_ms = moment(now + call_s).0;
        self.deadlines.insert((deadline_ms, id));
        let (request_id, number) = (Some(request_id), request_id.number);
        let leave = Some(leave);
        self.calls
            .insert(id, Call { leave, run_id, key, worker, number, request_id, estimate_usd, deadline_ms });
        self.effects.extend(
            request_id.map(|request_id| Effect::Send(request_id, Reply::CallPermit { valid_ms: VALID_MS })),
        );
    }

    /// A call is under way whose worker came back.
    pub(super) fn take_over(&mut self, now: Seconds, request_id: RequestId, asked: &AcquireCall) {
        let Some(worker) = self.streams.get(&request_id.stream).map(|stream| stream.worker.clone()) else {
            return;
        };
        // A worker that came back may have got another name.
        let by_number = || self.orphans(asked.number, asked.key).next().map(|(id, _)| id);
        let known = self.orphan_of(&worker, asked.number, asked.key).or_else(by_number);
        let id = known.unwrap_or_else(|| self.adopt(now, worker, asked));
        let terms = self.accounts.get(&asked.run_id).and_then(|account| account.terms.as_ref());
        let call_s = terms.map_or(UNKNOWN_CALL_S, |terms| terms.call_s);
        if let Some(call) = self.calls.get_mut(&id) {
            call.request_id = Some(request_id);
            self.deadlines.remove(&(call.deadline_ms, id));
            call.deadline_ms = moment(now + call_s).0;
            self.deadlines.insert((call.deadline_ms, id));
        }
        let open = PendingRequest {
            run_id: asked.run_id.clone(),
            key: asked.key,
            tokens: asked.tokens,
            call: Some(id),
        };
        if let Some(stream) = self.streams.get_mut(&request_id.stream) {
            stream.questions.insert(request_id.number, open);
        }
        self.requeue(asked.key, false);
    }

    /// A call that this process did not allow counts from now on.
    fn adopt(&mut self, now: Seconds, worker: WorkerName, asked: &AcquireCall) -> CallId {
        self.counter += 1;
        let id = CallId(self.counter);
        let account = self.accounts.get_mut(&asked.run_id);
        let terms = account.as_ref().and_then(|account| account.terms.clone());
        let leave = terms.filter(|_| !mutated!(AdoptedUncounted)).and_then(|terms| {
            let limiter = self.pools.get_mut(&terms.pool)?;
            Some((terms.pool.clone(), limiter.adopt(now, asked.tokens as f64)))
        });
        let mut estimate_usd = 0.0;
        if let Some(account) = account {
            estimate_usd = account.estimate(asked.tokens);
            account.under_way += 1;
            account.under_way_usd += estimate_usd;
        }
        self.flights.entry(asked.key).or_default().calls += 1;
        let (run_id, key, number) = (asked.run_id.clone(), asked.key, asked.number);
        let call =
            Call { leave, run_id, key, worker, number, request_id: None, estimate_usd, deadline_ms: 0 };
        self.calls.insert(id, call);
        id
    }

    /// A call whose worker is away, by the name that the worker had.
    fn orphan_of(&self, worker: &WorkerName, number: u64, key: AnswerKey) -> Option<CallId> {
        self.orphans(number, key).find(|(_, call)| call.worker == *worker).map(|(id, _)| id)
    }

    /// Calls of that number and key whose workers are away. Of different workers, numbers and even keys may be the same.
    fn orphans(&self, number: u64, key: AnswerKey) -> impl Iterator<Item = (CallId, &Call)> {
        let calls = self.calls.iter().map(|(id, call)| (*id, call));
        calls.filter(move |(_, call)| call.request_id.is_none() && call.key == key && call.number == number)
    }

    /// A call has ended, as its worker says.
    pub(crate) fn complete(&mut self, now: Seconds, stream: StreamId, ended: CallResult) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let request_id = RequestId { stream, number: ended.number };
        let name = (known.worker.clone(), ended.number, ended.key);
        let own = known.questions.get(&ended.number).filter(|open| open.key == ended.key);
        let own = own.map(|open| open.call);
        let id = match own {
            Some(Some(call)) => {
                known.questions.remove(&ended.number);
                Some(call)
            }
            // It waits here, and yet was called: an earlier process had allowed it.
            Some(None) => {
                self.remove_waiting(request_id);
                None
            }
            None => self.orphan_of(&name.0, ended.number, ended.key),
        };
        if id.is_none() && self.recent.has(&name) {
            // Said before: it is kept, or on its way. What is kept now is kept after that.
            let (run_id, spent) = (ended.run_id, LlmUsage::default());
            self.write(Some(request_id), CacheWrite { run_id, spent, entry: None, perhaps_repeated: false });
            return;
        }
        let access = self.access(&ended.run_id);
        self.register_run(now, &ended.run_id, &access);
        if let Some(id) = id {
            self.close(now, id, signal(&ended), Some(&ended));
        }
        if ended.outcome != CallOutcome::Unsent {
            self.recent.add(name);
        }
        self.account_for(request_id, ended, id.is_none(), now);
        self.start_calls(now);
    }

    /// Counts what a call cost and has it kept.
    fn account_for(
        &mut self,
        request_id: RequestId,
        ended: CallResult,
        perhaps_repeated: bool,
        now: Seconds,
    ) {
        let CallResult { run_id, key, outcome, usage, .. } = ended;
        if outcome == CallOutcome::Unsent {
            self.effects.push(Effect::Send(request_id, Reply::ResultPersisted));
            self.requeue(key, true);
            return;
        }
        let Some(account) = self.accounts.get_mut(&run_id) else { return };
        let terms = account.terms.clone();
        let spent = LlmUsage::of(&outcome, usage, terms.as_ref().map(|terms| &terms.price));
        account.spent += spent;
        if spent.throttled == 0 {
            account.rate.add(moment(now), 1);
        }
        let mut stop = None;
        let entry = match outcome {
            CallOutcome::Answered(answer) if answer.is_whole() => {
                Some((key, entry(answer, terms.as_deref())))
            }
            CallOutcome::Failed { reason, stop: true } => {
                stop = Some(reason);
                None
            }
            _ => None,
        };
        if entry.is_some() {
            self.flights.entry(key).or_default().pending_write += 1;
        }
        if mutated!(SentBeforePersisted) {
            self.effects.push(Effect::Send(request_id, Reply::ResultPersisted));
        }
        self.write(Some(request_id), CacheWrite { run_id: run_id.clone(), spent, entry, perhaps_repeated });
        if let Some(reason) = stop {
            self.halt(&run_id, &reason);
        }
        self.requeue(key, true);
    }

    /// Takes a call out of everything that counts it.
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
        if let Some((pool, ticket)) = call.leave.take().filter(|_| !leaks)
            && let Some(limiter) = self.pools.get_mut(&pool)
        {
            limiter.finish(now, ticket, signal);
            if let Some(ended) = ended {
                limiter.advertised(now, ended.advertised_requests, ended.advertised_tokens);
            }
        }
        if let Some(account) = self.accounts.get_mut(&call.run_id) {
            account.under_way = account.under_way.saturating_sub(1);
            account.under_way_usd = match account.under_way {
                // Discard floating-point residue.
                0 => 0.0,
                _ => (account.under_way_usd - call.estimate_usd).max(0.0),
            };
        }
        if let Some(flight) = self.flights.get_mut(&call.key) {
            flight.calls = flight.calls.saturating_sub(1);
        }
        Some(call)
    }

    /// The worker of a call is away.
    pub(super) fn orphan(&mut self, now: Seconds, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.request_id = None;
        let terms = self.accounts.get(&call.run_id).and_then(|account| account.terms.as_ref());
        let deadline_ms = moment(now + terms.map_or(30.0, |terms| terms.lease_s)).0;
        self.deadlines.remove(&(call.deadline_ms, id));
        call.deadline_ms = call.deadline_ms.min(deadline_ms);
        self.deadlines.insert((call.deadline_ms, id));
    }

    /// Time has passed: calls that nobody ended are given up, others may start. A call that is declared poison may have been
    /// paid for, and counts as one that was.
    pub(crate) fn tick(&mut self, now: Seconds) {
        let at = moment(now).0;
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= at) {
            self.deadlines.pop_first();
            self.expire_call(now, id);
        }
        self.start_calls(now);
    }

    /// Nobody ended a call in its time.
    pub(super) fn expire_call(&mut self, now: Seconds, id: CallId) {
        if let Some(call) = self.close(now, id, Signal::Failed, None) {
            if let Some(request_id) = call.request_id
                && let Some(stream) = self.streams.get_mut(&request_id.stream)
            {
                stream.questions.remove(&request_id.number);
            }
            let spent = LlmUsage { calls: 1, failed: 1, ..LlmUsage::default() };
            if let Some(account) = self.accounts.get_mut(&call.run_id) {
                account.spent += spent;
            }
            self.write(None, CacheWrite { run_id: call.run_id, spent, entry: None, perhaps_repeated: false });
            self.requeue(call.key, true);
        }
    }

    /// When [`Self::tick`] is due, in seconds.
    pub(crate) fn wake(&self) -> Option<Seconds> {
        let given_up = self.deadlines.first().map(|(deadline, _)| *deadline as f64 / 1000.0);
        let allowed = self.pools.values().filter_map(crate::llm_gateway::rate_limit::RateLimiter::wake);
        allowed.chain(given_up).min_by(f64::total_cmp)
    }
}

fn is_queued(
    flights: &std::collections::HashMap<AnswerKey, InFlightKey>,
    entry: &crate::llm_gateway::rate_limit::QueuedCall,
) -> bool {
    flights
        .get(&entry.key)
        .and_then(|flight| flight.queued.as_ref())
        .is_some_and(|(_, sequence)| *sequence == entry.sequence)
}

/// What an end tells of the limits. A failure that was paid for was an answer as far as the provider is concerned.
fn signal(ended: &CallResult) -> Signal {
    let tokens = ended.usage.total as f64;
    match &ended.outcome {
        CallOutcome::Answered(answer) => {
            Signal::Answered { tokens: if tokens > 0.0 { tokens } else { answer.usage.total as f64 } }
        }
        CallOutcome::Throttled { retry_after, tokens } => Signal::Throttled {
            retry_after: retry_after.map(|wait| wait.as_secs_f64()),
            scarce: if *tokens { Scarce::Tokens } else { Scarce::Requests },
        },
        CallOutcome::Failed { .. } if tokens > 0.0 => Signal::Answered { tokens },
        CallOutcome::Failed { .. } => Signal::Failed,
        CallOutcome::Unsent => Signal::Unsent,
    }
}
