//! Results of calls: counted, written, and acknowledged when that is durable; or calls that expire without one.

use std::sync::Arc;

use domain::answer::CallOutcome;
use domain::budget::Usd;
use llm::limit::{Scarce, Seconds, Signal};
use proto::convert::CallResult;

use crate::clock::moment;
use crate::llm_gateway::effect::{Effect, PendingWrite, Reply, RequestId, StreamId};
use crate::llm_gateway::rate_limit::RateLimiter;
use crate::llm_gateway::request::{Call, PendingRequest, RequestState};
use crate::llm_gateway::response_cache::{CacheWrite, CachedResponse, CallId, Counted, LlmUsage, StoreWrite};
use crate::llm_gateway::spend_limit::entry;
use crate::llm_gateway::state::{Accepted, GatewayState, NO_PERMIT};
use crate::llm_gateway::verdict::Verdict;

/// Pause until a process that may not be the owner any more looks whether it is, in seconds.
const SUSPENDED_S: Seconds = 0.5;

/// Longest time that a call of an unknown run may take, in seconds.
pub(super) const UNKNOWN_CALL_S: f64 = 60.0;

/// Why a call failed whose worker has not reported its result.
const EXPIRED: &str = "the worker of the call did not report its result in time";

impl GatewayState {
    /// A worker reports the result of a call. `permitted`: the call that its ticket names, perhaps permitted on another stream or
    /// by an earlier process; otherwise the permit must be known here.
    pub(crate) fn complete(
        &mut self,
        now: Seconds,
        stream: StreamId,
        ended: CallResult,
        permitted: Option<CallId>,
    ) -> Accepted {
        let Some(known) = self.streams.get(&stream) else { return Accepted::Repeated };
        let request_id = RequestId { stream, number: ended.number };
        let is_own = |request: &&PendingRequest| request.key == ended.key && request.run_id == ended.run_id;
        let own = known.requests.get(&ended.number).filter(is_own).map(|request| request.state);
        let of_own = match own {
            Some(RequestState::Calling(call)) => Some(call),
            Some(RequestState::Waiting | RequestState::Recording(_)) | None => None,
        };
        let Some(id) = permitted.or(of_own) else {
            // The permit of an earlier stream or process, or of none.
            tracing::warn!(worker = %known.worker, run = %ended.run_id, number = ended.number, "refused the result of a call that was not permitted");
            self.effects.push(Effect::Send(request_id, Reply::Stopped(NO_PERMIT.to_owned())));
            return Accepted::Refused;
        };
        if own.is_some() && of_own.is_none() {
            self.remove_waiting(now, request_id);
        }
        let is_known = self.detach(id);
        if !is_known && self.recent.has(id) {
            // A repeated result: the first one is persisted or persisting. This empty write is acknowledged after it.
            let (run_id, spent) = (ended.run_id, LlmUsage::default());
            let write = CacheWrite { run_id, spent, entry: None, failure: None, call: None };
            self.write(Some(request_id), StoreWrite::End(write));
            return Accepted::Repeated;
        }
        let access = self.access(&ended.run_id);
        self.register_run(now, &ended.run_id, &access);
        if let Some(tracker) = self.trackers.get_mut(&ended.run_id) {
            tracker.note_activity(now);
        }
        if is_known {
            let signal = self.signal(&ended);
            self.close(now, id, signal, Some(&ended));
        }
        if ended.outcome != CallOutcome::Unsent {
            self.recent.add(id);
        }
        self.account_for(request_id, ended, id, now);
        self.start_calls(now);
        Accepted::Counted
    }

    /// Counts the usage of a call and writes its result.
    fn account_for(&mut self, request_id: RequestId, ended: CallResult, call: CallId, now: Seconds) {
        if ended.outcome == CallOutcome::Unsent {
            self.write(Some(request_id), StoreWrite::Unused { call, run_id: ended.run_id });
            self.requeue(ended.key, true);
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
        let call = Some(call).filter(|_| !mutated!(RecordOutlivesCall));
        let write = StoreWrite::End(CacheWrite { run_id: run_id.clone(), spent, entry, failure, call });
        let ask_again = verdict != Verdict::Settled;
        let request_id = Some(request_id);
        let pending_write = PendingWrite { request_id, write, ask_again };
        self.effects.push(Effect::Persist(Box::new(pending_write)));
        if let Verdict::Stop(reason) = verdict {
            self.halt(now, &run_id, &reason);
        }
        self.requeue(key, true);
    }

    /// A write is durable; `counted`: what of it the store has counted.
    pub(crate) fn persisted(&mut self, now: Seconds, pending_write: PendingWrite, counted: Counted) {
        let PendingWrite { request_id, write, ask_again } = pending_write;
        if let Some(request_id) = request_id {
            let reply = if ask_again { Reply::AskAgain } else { Reply::ResultPersisted };
            self.effects.push(Effect::Send(request_id, reply));
        }
        match write {
            StoreWrite::Begin(call) => self.recorded(now, call.id),
            StoreWrite::Unused { .. } => {}
            StoreWrite::End(write) => self.result_persisted(now, write, counted),
        }
        self.start_calls(now);
    }

    fn result_persisted(&mut self, now: Seconds, write: CacheWrite, counted: Counted) {
        if let Some(tracker) = self.trackers.get_mut(&write.run_id) {
            match counted {
                Counted::Whole => {}
                Counted::Usage => tracker.spent.take_back(&write.spent.calls_alone()),
                Counted::Nothing => tracker.spent.take_back(&write.spent),
            }
        }
        let Some((key, entry)) = write.entry else { return };
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.persisting = flight.persisting.saturating_sub(1);
            flight.looked = true;
            flight.stored = Some(CachedResponse {
                answer: Arc::clone(&entry.answer),
                created_at_ms: entry.created_at_ms,
            });
            let waiters = std::mem::take(&mut flight.waiters);
            for request_id in waiters {
                self.answer(now, request_id, &entry.answer);
            }
        }
        self.requeue(key, false);
    }

    /// A write failed permanently: its request is stopped with the reason, and so is the run.
    pub(crate) fn not_kept(&mut self, now: Seconds, pending_write: PendingWrite, reason: &str) {
        let PendingWrite { request_id, write, .. } = pending_write;
        if let Some(request_id) = request_id {
            self.effects.push(Effect::Send(request_id, Reply::Stopped(reason.to_owned())));
        }
        // A request whose call cannot be recorded is stopped with those that wait.
        self.halt(now, write.run_id(), reason);
        if let StoreWrite::End(CacheWrite { entry: Some((key, _)), .. }) = write {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.persisting = flight.persisting.saturating_sub(1);
            }
            self.requeue(key, true);
        }
        self.start_calls(now);
    }

    /// Removes a call from all counts, and returns its ticket to the rate limiter.
    pub(super) fn close(
        &mut self,
        now: Seconds,
        id: CallId,
        signal: Signal,
        ended: Option<&CallResult>,
    ) -> Option<Call> {
        let mut call = self.calls.remove(&id)?;
        self.deadlines.remove(&(call.deadline_ms, id));
        let unsent = matches!(signal, Signal::Unsent);
        let leaks = unsent && mutated!(PermitLeaks);
        if let Some((pool, ticket)) = call.permit.take().filter(|_| !leaks)
            && let Some(limiter) = self.pools.get_mut(&pool)
        {
            limiter.finish(now, ticket, signal);
            match ended {
                None if unsent && call.probe => limiter.health.probe_unsent(now),
                None if unsent => {}
                _ => Self::observe(limiter, now, call.probe, ended),
            }
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

    /// Expires calls at their deadline and permits others. An expired call may have been billed, and counts as billed.
    pub(crate) fn tick(&mut self, now: Seconds) {
        let at = moment(now).0;
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= at) {
            self.deadlines.pop_first();
            self.expire_call(now, id);
        }
        self.start_calls(now);
    }

    /// Expires a call without a result. One whose permit was not sent waits again.
    pub(in crate::llm_gateway) fn expire_call(&mut self, now: Seconds, id: CallId) {
        if self.recording.contains_key(&id) {
            self.put_back(now, id);
            return;
        }
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
            let (run_id, failure) = (call.run_id, Some(EXPIRED.to_owned()));
            let write = CacheWrite { run_id, spent, entry: None, failure, call: Some(id) };
            self.write(None, StoreWrite::End(write));
            self.requeue(call.key, true);
        }
    }

    /// When [`Self::tick`] is due, in seconds.
    pub(crate) fn wake(&self, now: Seconds) -> Option<Seconds> {
        let given_up = self.deadlines.first().map(|(deadline, _)| *deadline as f64 / 1000.0);
        let held = self.is_held(now);
        let allowed = self.pools.values().filter(|_| !held).filter_map(RateLimiter::wake);
        let owner_again = (self.is_suspended(now) && !self.closing).then_some(now + SUSPENDED_S);
        allowed.chain(given_up).chain(owner_again).chain(self.next_give_up(now)).min_by(f64::total_cmp)
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
