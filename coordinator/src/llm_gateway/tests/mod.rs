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
use crate::llm_gateway::response_cache::{CachedResponse, LlmUsage};

mod behaviour;
mod check;
mod outage;
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
    CallOutcome::failed(format!("it is the {}", kind.as_str()), kind)
}

pub(super) fn throttled(wait_s: f64) -> CallOutcome {
    let retry_after = Some(Duration::from_secs_f64(wait_s));
    CallOutcome::Throttled { retry_after, tokens: false, reason: "429: slow down".to_owned() }
}

/// The state machine with a store that does what it is told when it is told.
pub(super) struct Bench {
    pub(super) state: GatewayState,
    pub(super) now: f64,
    pub(super) store: BTreeMap<AnswerKey, CachedResponse>,
    pub(super) look: Vec<AnswerKey>,
    pub(super) write: Vec<PendingWrite>,
    pub(super) halted: Vec<(RunId, String)>,
    pub(super) told: Vec<(RequestId, Reply)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            state: GatewayState::new(BTreeMap::new()),
            now: 0.0,
            store: BTreeMap::new(),
            look: Vec::new(),
            write: Vec::new(),
            halted: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Takes the effects in.
    pub(super) fn take(&mut self) {
        for effect in self.state.effects() {
            match effect {
                Effect::Send(request_id, reply) => self.told.push((request_id, reply)),
                Effect::LookUp(key) => self.look.push(key),
                Effect::Persist(pending_write) => self.write.push(*pending_write),
                Effect::Halt(run_id, reason) => self.halted.push((run_id, reason)),
                Effect::Close(_) => {}
            }
        }
        self.state.check();
    }

    /// The store answers every question it was asked.
    pub(super) fn look_all(&mut self) {
        for key in std::mem::take(&mut self.look) {
            self.state.looked_up(self.now, key, self.store.get(&key).cloned());
        }
        self.take();
    }

    /// The store makes durable what it was given, and says so.
    pub(super) fn keep_all(&mut self) {
        while !self.write.is_empty() {
            for pending_write in std::mem::take(&mut self.write) {
                self.make_durable(&pending_write);
                self.state.persisted(self.now, pending_write, true);
            }
            self.take();
        }
    }

    pub(super) fn make_durable(&mut self, pending_write: &PendingWrite) {
        if let Some((key, entry)) = &pending_write.write.entry {
            let stored =
                CachedResponse { answer: Arc::clone(&entry.answer), created_at_ms: entry.created_at_ms };
            let old = self.store.get(key);
            let stays = old
                .is_some_and(|old| entry.replaces_before_ms.is_none_or(|before| old.created_at_ms >= before));
            if !stays {
                self.store.insert(*key, stored);
            }
        }
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
        self.state.acquire(self.now, StreamId(stream), asked, true);
        self.take();
        self.look_all();
    }

    /// The worker has the ticket of the call.
    pub(super) fn end(&mut self, stream: u64, ended: CallResult, access: &LlmAccess) {
        self.set_access(&ended.run_id, access);
        assert_ne!(self.state.complete(self.now, StreamId(stream), ended, true), Accepted::Refused);
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
            .map(|(request_id, reply)| (request_id.stream.0, request_id.number, reply))
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
