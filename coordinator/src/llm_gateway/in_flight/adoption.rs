//! Calls that another process or stream permitted: orphaned, taken up, brought back by their workers.

use domain::budget::Usd;
use domain::ids::{AnswerKey, RunId};
use llm::limit::Seconds;
use proto::convert::AcquireCall;

use super::results::UNKNOWN_CALL_S;
use crate::clock::moment;
use crate::llm_gateway::effect::RequestId;
use crate::llm_gateway::request::{Call, PendingRequest, RequestState};
use crate::llm_gateway::response_cache::{CallId, OrphanedCall};
use crate::llm_gateway::state::GatewayState;

/// How long a call of an unknown run counts after its worker has disconnected, in seconds.
const UNKNOWN_LEASE_S: f64 = 30.0;

/// A call that this process did not permit.
struct Adopted<'a> {
    id: CallId,
    run_id: &'a RunId,
    key: AnswerKey,
    tokens: u64,
    /// `None`: as for a call that begins now.
    estimated_cost: Option<Usd>,
}

impl GatewayState {
    /// Counts the calls that an earlier process has permitted: until their workers bring them back, or their deadlines pass. Each
    /// worker has the time of a lease to come back; one that ended with its process has none.
    pub(in crate::llm_gateway) fn take_up(&mut self, now: Seconds, orphans: Vec<OrphanedCall>) {
        if mutated!(FlightsForgotten) {
            return;
        }
        let now_ms = moment(now).0;
        for OrphanedCall { call, may_return } in orphans {
            let access = self.access(&call.run_id);
            self.register_run(now, &call.run_id, &access);
            let estimated_cost = Some(call.estimated_cost);
            let (id, run_id, key, tokens) = (call.id, &call.run_id, call.key, call.tokens);
            self.adopt(now, &Adopted { id, run_id, key, tokens, estimated_cost });
            let lease_ms = moment(self.lease_s(run_id)).0;
            // The wall clock may have been set meanwhile: no call is waited for longer than it may take.
            let longest = call.deadline_ms.saturating_sub(call.started_at_ms).max(lease_ms);
            let left = call.deadline_ms.saturating_sub(self.unix_ms(now_ms)).clamp(lease_ms, longest);
            let left = if may_return { left } else { 0 };
            self.set_deadline(id, now_ms.saturating_add(left));
            self.requeue(key, false);
        }
    }

    /// A worker reconnected with a call under way, which its ticket names.
    pub(in crate::llm_gateway) fn take_over(
        &mut self,
        now: Seconds,
        request_id: RequestId,
        asked: &AcquireCall,
        id: CallId,
    ) {
        if !self.streams.contains_key(&request_id.stream) {
            return;
        }
        if !self.detach(id) {
            let (run_id, key, tokens) = (&asked.run_id, asked.key, asked.tokens);
            self.adopt(now, &Adopted { id, run_id, key, tokens, estimated_cost: None });
        }
        let policy = self.trackers.get(&asked.run_id).and_then(|tracker| tracker.policy.as_ref());
        let call_s = policy.map_or(UNKNOWN_CALL_S, |policy| policy.call_s);
        if let Some(call) = self.calls.get_mut(&id) {
            call.request_id = Some(request_id);
        }
        self.set_deadline(id, moment(now + call_s).0);
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

    /// Counts a call from now on; its deadline is to be set.
    fn adopt(&mut self, now: Seconds, adopted: &Adopted<'_>) {
        let Adopted { id, run_id, key, tokens, .. } = *adopted;
        let tracker = self.trackers.get_mut(run_id);
        let policy = tracker.as_ref().and_then(|tracker| tracker.policy.clone());
        let permit = policy.filter(|_| !mutated!(AdoptedUncounted)).and_then(|policy| {
            let limiter = self.pools.get_mut(&policy.pool)?;
            Some((policy.pool.clone(), limiter.adopt(now, tokens as f64)))
        });
        let mut estimated_cost = adopted.estimated_cost.unwrap_or_default();
        if let Some(tracker) = tracker {
            estimated_cost = adopted.estimated_cost.unwrap_or_else(|| tracker.estimate(tokens));
            tracker.calling += 1;
            tracker.calling_cost += estimated_cost;
        }
        self.flights.entry(key).or_default().calling += 1;
        let (run_id, request_id) = (run_id.clone(), None);
        let call = Call { permit, probe: false, run_id, key, request_id, estimated_cost, deadline_ms: 0 };
        self.calls.insert(id, call);
    }

    /// Takes a call from the stream that it belongs to, if that is still open: its worker has shown by the ticket that it goes on
    /// with it elsewhere. Returns whether the call is known.
    pub(super) fn detach(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        if let Some(request_id) = call.request_id.take()
            && let Some(stream) = self.streams.get_mut(&request_id.stream)
        {
            stream.requests.remove(&request_id.number);
        }
        true
    }

    /// The worker of a call has disconnected: the call expires unless the worker reconnects.
    pub(in crate::llm_gateway) fn orphan(&mut self, now: Seconds, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.request_id = None;
        let (deadline_ms, run_id) = (call.deadline_ms, call.run_id.clone());
        self.set_deadline(id, deadline_ms.min(moment(now + self.lease_s(&run_id)).0));
    }

    fn set_deadline(&mut self, id: CallId, deadline_ms: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            self.deadlines.remove(&(call.deadline_ms, id));
            call.deadline_ms = deadline_ms;
            self.deadlines.insert((deadline_ms, id));
        }
    }

    fn lease_s(&self, run_id: &RunId) -> f64 {
        let policy = self.trackers.get(run_id).and_then(|tracker| tracker.policy.as_ref());
        policy.map_or(UNKNOWN_LEASE_S, |policy| policy.lease_s)
    }
}
