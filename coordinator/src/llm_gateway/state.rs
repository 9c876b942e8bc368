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
use super::request::{Call, CallId, InFlightKey, PendingRequest, Stream};
use super::runs::RunChanged;
use super::spend_limit::{LlmAccess, LlmPolicy, RunPolicy, SpendTracker};
use crate::llm_gateway::rate_limit::{QueuedCall, RateLimiter};
use crate::llm_gateway::response_cache::{CacheWrite, CachedResponse, LlmUsage};

/// Why a run that asks no model gets no answer.
const NO_MODEL: &str = "the run's configuration names no model";

/// All questions. See the head of the module for what always holds.
#[derive(Debug, Default)]
pub(crate) struct GatewayState {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) flights: HashMap<AnswerKey, InFlightKey>,
    pub(super) calls: BTreeMap<CallId, Call>,
    /// When calls are given up, in ms.
    pub(super) deadlines: BTreeSet<(u64, CallId)>,
    pub(super) pools: BTreeMap<Pool, RateLimiter>,
    pub(super) accounts: BTreeMap<RunId, SpendTracker>,
    /// Active runs, as the coordinator sent them.
    policies: BTreeMap<RunId, RunPolicy>,
    /// What runs had spent before they were met here.
    spent_before: BTreeMap<RunId, LlmUsage>,
    pub(super) recent: RecentCalls,
    pub(super) counter: u64,
    pub(super) effects: Vec<Effect>,
}

impl GatewayState {
    /// No question yet; `spent`: what each run that lives has spent so far.
    pub(crate) fn new(spent: BTreeMap<RunId, LlmUsage>) -> Self {
        Self { spent_before: spent, ..Self::default() }
    }

    /// What is to be done, in this order.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A worker opened a stream. An older one of the same worker has ended without our knowing.
    pub(crate) fn connected(&mut self, now: Seconds, stream: StreamId, worker: WorkerName) {
        let older: Vec<StreamId> =
            self.streams.iter().filter(|(_, known)| known.worker == worker).map(|(id, _)| *id).collect();
        for older in older {
            self.disconnected(now, older);
            self.effects.push(Effect::Close(older));
        }
        self.streams.insert(stream, Stream { worker, questions: BTreeMap::new() });
    }

    /// A stream has ended: what waited is dropped, what is under way counts until its worker comes back with it, or for
    /// the time of a lease.
    pub(crate) fn disconnected(&mut self, now: Seconds, stream: StreamId) {
        let Some(ended) = self.streams.remove(&stream) else { return };
        for (number, open) in ended.questions {
            match open.call {
                Some(call) if mutated!(CallEndsWithStream) => self.expire_call(now, call),
                Some(call) => self.orphan(now, call),
                None => self.drop_waiter(RequestId { stream, number }, &open),
            }
        }
        self.start_calls(now);
    }

    /// How many questions of a stream are open.
    pub(crate) fn open_questions(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.questions.len())
    }

    /// A worker wants an answer.
    pub(crate) fn acquire(&mut self, now: Seconds, stream: StreamId, asked: &AcquireCall) {
        let request_id = RequestId { stream, number: asked.number };
        let Some(known) = self.streams.get(&stream) else { return };
        if let Some(open) = known.questions.get(&asked.number) {
            // Said twice: the first time counts, unless its call has begun meanwhile.
            if open.call.is_none() && asked.under_way {
                self.remove_waiting(request_id);
            } else {
                return;
            }
        }
        let access = self.access(&asked.run_id);
        self.register_run(now, &asked.run_id, &access);
        if asked.under_way {
            self.take_over(now, request_id, asked);
            return;
        }
        if let Some(reason) = self.closed(&asked.run_id, &access) {
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason)));
            return;
        }
        let open = PendingRequest {
            run_id: asked.run_id.clone(),
            key: asked.key,
            tokens: asked.tokens.max(1),
            call: None,
        };
        if let Some(known) = self.streams.get_mut(&stream) {
            known.questions.insert(asked.number, open);
        }
        if let Some(account) = self.accounts.get_mut(&asked.run_id) {
            account.waiting += 1;
        }
        let flight = self.flights.entry(asked.key).or_default();
        flight.waiters.push_back(request_id);
        if !flight.looked && !flight.looking {
            flight.looking = true;
            self.effects.push(Effect::LookUp(asked.key));
        }
        self.serve_stored(asked.key);
        self.requeue(asked.key, false);
        self.start_calls(now);
    }

    /// A worker wants an answer no more. What is under way it still has to bring to its end.
    pub(crate) fn cancel(&mut self, now: Seconds, request_id: RequestId) {
        self.remove_waiting(request_id);
        self.start_calls(now);
    }

    /// The store was asked for a key.
    pub(crate) fn looked_up(&mut self, now: Seconds, key: AnswerKey, found: Option<CachedResponse>) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        (flight.looking, flight.looked) = (false, true);
        flight.stored = found;
        self.serve_stored(key);
        self.requeue(key, false);
        self.start_calls(now);
    }

    /// What a call came to is durable. `counted`: whether the store had not counted it before.
    pub(crate) fn persisted(&mut self, now: Seconds, pending_write: PendingWrite, counted: bool) {
        let PendingWrite { request_id, write } = pending_write;
        if !counted && let Some(account) = self.accounts.get_mut(&write.run_id) {
            account.spent.take_back(&write.spent);
        }
        if let Some(request_id) = request_id {
            self.effects.push(Effect::Send(request_id, Reply::ResultPersisted));
        }
        if let Some((key, entry)) = write.entry {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.pending_write = flight.pending_write.saturating_sub(1);
                flight.looked = true;
                flight.stored = Some(CachedResponse {
                    answer: Arc::clone(&entry.answer),
                    created_at_ms: entry.created_at_ms,
                });
                let waiters = std::mem::take(&mut flight.waiters);
                for request_id in waiters {
                    self.answer(request_id, &entry.answer);
                }
            }
            self.requeue(key, false);
        }
        self.start_calls(now);
    }

    /// What a call came to cannot be made durable, ever: who waits for that gets the reason, and the run stops.
    pub(crate) fn not_kept(&mut self, now: Seconds, pending_write: PendingWrite, reason: &str) {
        let PendingWrite { request_id, write } = pending_write;
        if let Some(request_id) = request_id {
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason.to_owned())));
        }
        self.halt(&write.run_id, reason);
        if let Some((key, _)) = write.entry {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.pending_write = flight.pending_write.saturating_sub(1);
            }
            self.requeue(key, true);
        }
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
        if !self.accounts.contains_key(&run_id) {
            return;
        }
        let access = self.access(&run_id);
        self.register_run(now, &run_id, &access);
        if let Some(reason) = self.closed(&run_id, &access) {
            self.stop_waiting(&run_id, &reason);
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

    /// Runs of which anything is known.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.accounts.keys().chain(self.spent_before.keys()).cloned().collect()
    }

    /// Whether it is known what a run has spent.
    pub(crate) fn knows(&self, run_id: &RunId) -> bool {
        self.accounts.contains_key(run_id) || self.spent_before.contains_key(run_id)
    }

    /// What a run had spent that is not known here: said before it asks.
    pub(crate) fn spent_before(&mut self, run_id: RunId, spent: LlmUsage) {
        if !self.knows(&run_id) {
            self.spent_before.insert(run_id, spent);
        }
    }

    /// A run has ended: nothing of it is kept here, unless calls are under way. Says whether anything was.
    pub(crate) fn forget_run(&mut self, run_id: &RunId) -> bool {
        let busy = |account: &SpendTracker| account.waiting > 0 || account.under_way > 0;
        if self.accounts.get(run_id).is_some_and(busy) {
            return false;
        }
        for limiter in self.pools.values_mut() {
            limiter.queue.forget(run_id);
        }
        let account = self.accounts.remove(run_id).is_some();
        self.spent_before.remove(run_id).is_some() || account
    }

    /// Where every run stands that is known.
    pub(crate) fn statuses(&self, now: Seconds) -> BTreeMap<RunId, LlmStatus> {
        let before = self.spent_before.iter().map(|(run_id, spent)| (run_id.clone(), spent.status()));
        let mut statuses: BTreeMap<RunId, LlmStatus> = before.collect();
        for (run_id, account) in &self.accounts {
            let pool = account.terms.as_ref().and_then(|terms| self.pools.get(&terms.pool));
            let limit = pool.and_then(RateLimiter::limit_per_min);
            statuses.insert(run_id.clone(), account.status(now, limit));
        }
        statuses
    }

    /// Takes note of a run and its terms.
    pub(super) fn register_run(&mut self, now: Seconds, run_id: &RunId, access: &LlmAccess) {
        let before = self.spent_before.remove(run_id).unwrap_or_default();
        let account = self.accounts.entry(run_id.clone()).or_insert_with(|| SpendTracker::new(before, now));
        let LlmAccess::Allowed(terms) = access else { return };
        account.halted = None;
        if account.terms.as_ref().is_some_and(|known| known == terms) {
            return;
        }
        account.terms = Some(Arc::clone(terms));
        let LlmPolicy { pool, limits, submitted_at_ms, .. } = &**terms;
        self.pools
            .entry(pool.clone())
            .or_insert_with(|| RateLimiter::new(limits, *submitted_at_ms, now))
            .allow(limits, *submitted_at_ms, now);
    }

    fn closed(&self, run_id: &RunId, access: &LlmAccess) -> Option<String> {
        match access {
            LlmAccess::Denied(reason) => Some(reason.clone()),
            LlmAccess::Allowed(_) => self.accounts.get(run_id).and_then(|account| account.halted.clone()),
        }
    }

    /// Stops a run: every question of it that waits is answered with the reason.
    pub(super) fn halt(&mut self, run_id: &RunId, reason: &str) {
        if let Some(account) = self.accounts.get_mut(run_id)
            && account.halted.is_none()
        {
            account.halted = Some(reason.to_owned());
            if let Some(run) = self.policies.get_mut(run_id) {
                run.halted = Some(reason.to_owned());
            }
            self.effects.push(Effect::Halt(run_id.clone(), reason.to_owned()));
            self.stop_waiting(run_id, reason);
        }
    }

    fn stop_waiting(&mut self, run_id: &RunId, reason: &str) {
        let waiting = self.streams.iter().flat_map(|(stream, known)| {
            let waits =
                known.questions.iter().filter(|(_, open)| open.call.is_none() && open.run_id == *run_id);
            waits.map(|(number, _)| RequestId { stream: *stream, number: *number })
        });
        for request_id in waiting.collect::<Vec<_>>() {
            self.remove_waiting(request_id);
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason.to_owned())));
        }
    }

    /// Takes a question that waits out of everything; one whose call is under way stays.
    pub(super) fn remove_waiting(&mut self, request_id: RequestId) {
        let Some(stream) = self.streams.get_mut(&request_id.stream) else { return };
        if stream.questions.get(&request_id.number).is_some_and(|open| open.call.is_none())
            && let Some(open) = stream.questions.remove(&request_id.number)
        {
            self.drop_waiter(request_id, &open);
        }
    }

    fn drop_waiter(&mut self, request_id: RequestId, open: &PendingRequest) {
        if let Some(account) = self.accounts.get_mut(&open.run_id) {
            account.waiting = account.waiting.saturating_sub(1);
        }
        if let Some(flight) = self.flights.get_mut(&open.key) {
            flight.waiters.retain(|waiter| *waiter != request_id);
        }
        self.requeue(open.key, false);
    }

    /// Gives what the store has to those who want no fresher one.
    fn serve_stored(&mut self, key: AnswerKey) {
        let Some(flight) = self.flights.get(&key) else { return };
        let Some(stored) = flight.stored.clone() else { return };
        let terms = |request_id: &RequestId| {
            let run_id = &self.streams.get(&request_id.stream)?.questions.get(&request_id.number)?.run_id;
            self.accounts.get(run_id)?.terms.clone()
        };
        let (served, left): (Vec<RequestId>, Vec<RequestId>) =
            flight.waiters.iter().copied().partition(|request_id| {
                terms(request_id)
                    .is_none_or(|terms| !terms.spend.refresh || stored.created_at_ms >= terms.created_at_ms)
            });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.waiters = left.into();
        }
        for request_id in served {
            self.answer(request_id, &stored.answer);
        }
    }

    /// A question gets an answer that is kept.
    fn answer(&mut self, request_id: RequestId, answer: &Arc<Answer>) {
        let stream = self.streams.get_mut(&request_id.stream);
        let Some(open) = stream.and_then(|stream| stream.questions.remove(&request_id.number)) else {
            return;
        };
        let reused = LlmUsage { reused: 1, ..LlmUsage::default() };
        if let Some(account) = self.accounts.get_mut(&open.run_id) {
            account.waiting = account.waiting.saturating_sub(1);
            account.spent += reused;
        }
        self.effects.push(Effect::Send(request_id, Reply::CachedResponse(Arc::clone(answer))));
        self.write(
            None,
            CacheWrite { run_id: open.run_id, spent: reused, entry: None, perhaps_repeated: false },
        );
    }

    pub(super) fn write(&mut self, request_id: Option<RequestId>, write: CacheWrite) {
        self.effects.push(Effect::Persist(PendingWrite { request_id, write }));
    }

    /// Brings a key in order after any change: its first waiter stands in its run's queue exactly when it has to call by
    /// itself. `first`: at the head of the queue.
    pub(super) fn requeue(&mut self, key: AnswerKey, first: bool) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        if flight.is_over() {
            self.flights.remove(&key);
            return;
        }
        if !flight.needs_a_call() {
            flight.queued = None;
            return;
        }
        let Some(front) = flight.waiters.front() else { return };
        let stream = self.streams.get(&front.stream);
        let Some(open) = stream.and_then(|stream| stream.questions.get(&front.number)) else { return };
        if flight.queued.as_ref().is_some_and(|(run_id, _)| *run_id == open.run_id) {
            return;
        }
        let terms = self.accounts.get(&open.run_id).and_then(|account| account.terms.as_ref());
        let Some(terms) = terms else { return };
        self.counter += 1;
        flight.queued = Some((open.run_id.clone(), self.counter));
        let Some(limiter) = self.pools.get_mut(&terms.pool) else { return };
        let entry = QueuedCall { key, sequence: self.counter, tokens: open.tokens };
        if first {
            limiter.queue.push_first(&open.run_id, terms.spend.priority, entry);
        } else {
            limiter.queue.push(&open.run_id, terms.spend.priority, entry);
        }
    }
}
