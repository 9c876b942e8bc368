//! Tests of the gateway's state: by hand, then in a simulated world of seeded faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Answer, CallOutcome, FailureKind, Finish};
use domain::budget::{Charge, Limit, Price, Usage, Usd};
use domain::config::{ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::convert::{AcquireCall, CallResult};

use super::effect::{Effect, PendingWrite, Reply, RequestId, StreamId};
use super::runs::RunChanged;
use super::spend_limit::{LlmAccess, LlmPolicy};
use super::state::{Accepted, GatewayState, NO_PERMIT};
use crate::llm_gateway::response_cache::{
    CacheWrite, CachedResponse, CallId, Counted, LlmUsage, OrphanedCall, RecordedCall, StoreWrite,
};

mod behaviour;
mod check;
mod outage;
mod recording;
mod served;
mod task;
mod world;

pub(super) fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(super) fn key(number: u64) -> AnswerKey {
    AnswerKey::of(&number.to_le_bytes())
}

pub(super) fn allowed(change: impl FnOnce(&mut RunConfig)) -> LlmAccess {
    let mut config = RunConfig::default();
    config.proposer.mode = ProposerMode::Grok;
    config.proposer.timeout_seconds = 60;
    config.fleet.lease_seconds = 30;
    config.limits.requests_per_minute = Limit::at(600);
    config.grok.price = Price::flat(1.0, Some(1.0), 1.0);
    change(&mut config);
    LlmAccess::Allowed(Arc::new(LlmPolicy::of(&config, 1000, 1000).unwrap()))
}

pub(super) fn answer(text: &str) -> Answer {
    let usage = Usage { prompt: 600, completion: 400, total: 1000, ..Usage::default() };
    Answer {
        content: text.to_owned(),
        finish: Finish::Stop,
        usage,
        charge: Charge::default(),
        model: String::new(),
    }
}

pub(super) fn acquire(run: &str, number: u64, key: AnswerKey) -> AcquireCall {
    AcquireCall { number, run_id: id(run), key, tokens: 1000, under_way: false, ticket: None }
}

pub(super) fn complete(run: &str, number: u64, key: AnswerKey, outcome: CallOutcome) -> CallResult {
    let usage = match &outcome {
        CallOutcome::Answered(answer) => answer.usage,
        _ => Usage::default(),
    };
    CallResult {
        number,
        run_id: id(run),
        key,
        outcome,
        usage,
        charge: Charge::default(),
        advertised_requests: None,
        advertised_tokens: None,
        ticket: None,
        tries: 1,
        last: false,
    }
}

pub(super) fn failed(kind: FailureKind) -> CallOutcome {
    CallOutcome::failed(&format!("it is the {}", kind.as_str()), kind)
}

pub(super) fn throttled(wait_s: f64) -> CallOutcome {
    let retry_after = Some(Duration::from_secs_f64(wait_s));
    CallOutcome::Throttled { retry_after, tokens: false, reason: "429: slow down".to_owned() }
}

/// What is durable: lives longer than the process of a [`Bench`].
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) answers: BTreeMap<AnswerKey, CachedResponse>,
    pub(super) calls: BTreeMap<CallId, RecordedCall>,
    pub(super) spent: BTreeMap<RunId, LlmUsage>,
    /// How often each call was counted.
    pub(super) counted: BTreeMap<CallId, u32>,
}

impl Durable {
    /// Does what a store has to do, see the suite of the response cache.
    pub(super) fn apply(&mut self, write: &StoreWrite) -> Counted {
        match write {
            StoreWrite::Begin(call) => {
                self.calls.insert(call.id, call.clone());
                Counted::Whole
            }
            StoreWrite::Unused { call, .. } => {
                self.calls.remove(call);
                Counted::Whole
            }
            StoreWrite::End(write) => self.end(write),
        }
    }

    fn end(&mut self, write: &CacheWrite) -> Counted {
        let is_open = write.call.is_none_or(|call| self.calls.remove(&call).is_some());
        let mut is_stored = true;
        if let Some((key, entry)) = &write.entry {
            let old = self.answers.get(key);
            let stays = old
                .is_some_and(|old| entry.replaces_before_ms.is_none_or(|before| old.created_at_ms >= before));
            is_stored = stays && old.is_some_and(|old| old.answer == entry.answer);
            if !stays {
                let created_at_ms = entry.created_at_ms;
                self.answers
                    .insert(*key, CachedResponse { answer: Arc::clone(&entry.answer), created_at_ms });
            }
        }
        let mut spent = write.spent;
        let counted = match (is_open, is_stored) {
            (true, _) => Counted::Whole,
            (false, true) => return Counted::Nothing,
            (false, false) => {
                spent.take_back(&write.spent.calls_alone());
                Counted::Usage
            }
        };
        *self.spent.entry(write.run_id.clone()).or_default() += spent;
        if counted == Counted::Whole
            && let Some(call) = write.call
        {
            *self.counted.entry(call).or_default() += 1;
        }
        counted
    }

    /// The calls that the next process takes up.
    pub(super) fn orphans(&self) -> Vec<OrphanedCall> {
        self.calls.values().map(|call| OrphanedCall { call: call.clone(), may_return: true }).collect()
    }
}

/// The state machine with a store that does what it is told when it is told.
pub(super) struct Bench {
    pub(super) state: GatewayState,
    pub(super) now: f64,
    pub(super) durable: Durable,
    pub(super) look: Vec<AnswerKey>,
    pub(super) write: Vec<PendingWrite>,
    /// Whether calls are recorded at once. Results are durable when a test says so.
    pub(super) records: bool,
    pub(super) halted: Vec<(RunId, String)>,
    pub(super) told: Vec<(RequestId, Reply)>,
    /// The last call that was permitted for a number and key.
    pub(super) permitted: BTreeMap<(u64, AnswerKey), CallId>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let zero_ms = crate::clock::unix_ms();
        Self {
            state: GatewayState::new(BTreeMap::new(), zero_ms, CallId::new(1 << 32)),
            now: 0.0,
            durable: Durable::default(),
            look: Vec::new(),
            write: Vec::new(),
            records: true,
            halted: Vec::new(),
            told: Vec::new(),
            permitted: BTreeMap::new(),
        }
    }

    /// Takes the effects in.
    pub(super) fn take(&mut self) {
        loop {
            let effects = self.state.effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Send(request_id, reply) => self.tell(request_id, reply),
                    Effect::LookUp(key) => self.look.push(key),
                    Effect::Persist(write) if self.records && !matches!(write.write, StoreWrite::End(_)) => {
                        self.make_durable(*write);
                    }
                    Effect::Persist(pending_write) => self.write.push(*pending_write),
                    Effect::Halt(run_id, reason) => self.halted.push((run_id, reason)),
                    Effect::Close(_) => {}
                }
            }
        }
        self.state.check();
    }

    fn tell(&mut self, request_id: RequestId, reply: Reply) {
        if let Reply::CallPermit { call, .. } = &reply
            && let Some((_, key)) = self.state.call_of(request_id)
        {
            self.permitted.insert((request_id.number, key), *call);
        }
        self.told.push((request_id, reply));
    }

    /// The store answers every question it was asked.
    pub(super) fn look_all(&mut self) {
        for key in std::mem::take(&mut self.look) {
            self.state.looked_up(self.now, key, self.durable.answers.get(&key).cloned());
        }
        self.take();
    }

    /// The store makes durable what it was given, and says so.
    pub(super) fn keep_all(&mut self) {
        while !self.write.is_empty() {
            for pending_write in std::mem::take(&mut self.write) {
                self.make_durable(pending_write);
            }
            self.take();
        }
    }

    pub(super) fn make_durable(&mut self, pending_write: PendingWrite) {
        let counted = self.durable.apply(&pending_write.write);
        self.state.persisted(self.now, pending_write, counted);
    }

    /// The process ends; the next one has what is durable.
    pub(super) fn restart(&mut self) {
        self.restart_with(self.durable.spent.clone());
    }

    /// The same, with other usage of its runs.
    pub(super) fn restart_with(&mut self, spent: BTreeMap<RunId, LlmUsage>) {
        // As far from the calls of this process as a random number is.
        let before = u64::from_le_bytes(self.state.last_call.to_bytes()) + (1 << 32);
        self.state = GatewayState::new(spent, self.state.zero_ms, CallId::new(before));
        (self.look, self.write) = (Vec::new(), Vec::new());
    }

    /// The call that a worker's ticket names: the one that was permitted, or one of an earlier process.
    pub(super) fn ticket(&self, number: u64, key: AnswerKey) -> CallId {
        self.permitted.get(&(number, key)).copied().unwrap_or(CallId::new(number))
    }

    pub(super) fn open(&mut self, stream: u64, worker: &str) {
        self.state.connected(self.now, StreamId(stream), WorkerName::new(worker).unwrap(), None);
        self.take();
    }

    /// A worker shows that the stream `older` was its own.
    pub(super) fn reopen(&mut self, stream: u64, worker: &str, older: u64) {
        let worker = WorkerName::new(worker).unwrap();
        self.state.connected(self.now, StreamId(stream), worker, Some(StreamId(older)));
        self.take();
    }

    /// The coordinator sends a change of the run, unless the gateway knows it already. An access that the gateway had
    /// stopped is allowed again, as if the run had been submitted again.
    pub(super) fn set_access(&mut self, run_id: &RunId, access: &LlmAccess) {
        if self.state.access(run_id) == *access {
            return;
        }
        let run_id = run_id.clone();
        if !self.state.is_active(&run_id) {
            self.state.run_changed(self.now, RunChanged::Active { run_id: run_id.clone(), policy: None });
        }
        let change = match access {
            LlmAccess::Allowed(policy) => RunChanged::Active { run_id, policy: Some(Arc::clone(policy)) },
            LlmAccess::Denied(reason) => RunChanged::Halted { run_id, reason: reason.clone() },
        };
        self.state.run_changed(self.now, change);
        self.take();
    }

    pub(super) fn ask(&mut self, stream: u64, asked: &AcquireCall, access: &LlmAccess) {
        self.set_access(&asked.run_id, access);
        let permitted = Some(self.ticket(asked.number, asked.key));
        self.state.acquire(self.now, StreamId(stream), asked, permitted);
        self.take();
        self.look_all();
    }

    /// The worker has the ticket of the call.
    pub(super) fn end(&mut self, stream: u64, ended: CallResult, access: &LlmAccess) {
        self.set_access(&ended.run_id, access);
        let permitted = Some(self.ticket(ended.number, ended.key));
        assert_ne!(self.state.complete(self.now, StreamId(stream), ended, permitted), Accepted::Refused);
        self.take();
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        self.state.tick(self.now);
        self.take();
    }

    /// What was said since the last time, by stream and number.
    pub(super) fn heard(&mut self) -> Vec<(u64, u64, Reply)> {
        std::mem::take(&mut self.told)
            .into_iter()
            .map(|(request_id, mut reply)| {
                // Identifiers tell nothing.
                if let Reply::CallPermit { call, .. } = &mut reply {
                    *call = CallId::new(0);
                }
                (request_id.stream.0, request_id.number, reply)
            })
            .collect()
    }

    pub(super) fn spent(&self, run: &str) -> LlmUsage {
        let status = self.state.statuses(self.now).get(&id(run)).cloned().unwrap_or_default();
        LlmUsage {
            calls: status.calls,
            failed: status.failed,
            throttled: status.throttled,
            reused: status.reused,
            usage: status.usage,
            cost: Usd::from_f64(status.cost_usd),
            unpriced: status.unpriced,
        }
    }
}
