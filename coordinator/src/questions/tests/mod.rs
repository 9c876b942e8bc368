//! The machine by hand, then in a world of seeded misfortune.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::answer::{Answer, CallOutcome, Finish};
use domain::budget::{Limit, Price, Usage};
use domain::config::{ProposerMode, RunConfig};
use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::convert::{Asked, Ended};

use super::account::{Standing, Terms};
use super::effect::{Effect, Keeping, Place, Reply, StreamId};
use super::machine::Questions;
use crate::answers::{Spent, Stored};

mod behaviour;
mod check;
mod task;
mod world;

pub(super) fn id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(super) fn key(number: u64) -> AnswerKey {
    AnswerKey::of(&number.to_le_bytes())
}

pub(super) fn terms(change: impl FnOnce(&mut RunConfig)) -> Standing {
    let mut config = RunConfig::default();
    config.proposer.mode = ProposerMode::Grok;
    config.proposer.timeout_seconds = 60;
    config.fleet.lease_seconds = 30;
    config.limits.requests_per_minute = Limit::at(600);
    config.grok.price = Price { input: 1.0, cached_input: 1.0, output: 1.0 };
    change(&mut config);
    Standing::Open(Arc::new(Terms::of(&config, 1000, 1000).unwrap()))
}

pub(super) fn answer(text: &str) -> Answer {
    let usage = Usage { prompt: 600, completion: 400, total: 1000, ..Usage::default() };
    Answer { content: text.to_owned(), finish: Finish::Stop, usage, model: "m".to_owned() }
}

pub(super) fn asked(run: &str, number: u64, key: AnswerKey) -> Asked {
    Asked { number, run_id: id(run), key, tokens: 1000, under_way: false }
}

pub(super) fn ended(run: &str, number: u64, key: AnswerKey, outcome: CallOutcome) -> Ended {
    let usage = match &outcome {
        CallOutcome::Answered(answer) => answer.usage,
        _ => Usage::default(),
    };
    Ended { number, run_id: id(run), key, outcome, usage, told_requests: None, told_tokens: None }
}

pub(super) fn failed(stop: bool) -> CallOutcome {
    CallOutcome::Failed { reason: "the key is wrong".to_owned(), stop }
}

/// The machine with a store that does what it is told when it is told.
pub(super) struct Bench {
    pub(super) machine: Questions,
    pub(super) now: f64,
    pub(super) store: BTreeMap<AnswerKey, Stored>,
    pub(super) look: Vec<AnswerKey>,
    pub(super) keep: Vec<Keeping>,
    pub(super) halted: Vec<(RunId, String)>,
    pub(super) told: Vec<(Place, Reply)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            machine: Questions::new(BTreeMap::new()),
            now: 0.0,
            store: BTreeMap::new(),
            look: Vec::new(),
            keep: Vec::new(),
            halted: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Takes the effects in.
    pub(super) fn take(&mut self) {
        for effect in self.machine.effects() {
            match effect {
                Effect::Tell(place, reply) => self.told.push((place, reply)),
                Effect::LookUp(key) => self.look.push(key),
                Effect::Keep(keeping) => self.keep.push(keeping),
                Effect::Halt(run_id, reason) => self.halted.push((run_id, reason)),
                Effect::Close(_) => {}
            }
        }
        self.machine.check();
    }

    /// The store answers every question it was asked.
    pub(super) fn look_all(&mut self) {
        for key in std::mem::take(&mut self.look) {
            self.machine.looked(self.now, key, self.store.get(&key).cloned());
        }
        self.take();
    }

    /// The store makes durable what it was given, and says so.
    pub(super) fn keep_all(&mut self) {
        while !self.keep.is_empty() {
            for keeping in std::mem::take(&mut self.keep) {
                self.make_durable(&keeping);
                self.machine.kept(self.now, keeping, true);
            }
            self.take();
        }
    }

    pub(super) fn make_durable(&mut self, keeping: &Keeping) {
        if let Some((key, entry)) = &keeping.keep.entry {
            let stored = Stored { answer: Arc::clone(&entry.answer), created_at_ms: entry.created_at_ms };
            let old = self.store.get(key);
            let stays = old
                .is_some_and(|old| entry.replaces_before_ms.is_none_or(|before| old.created_at_ms >= before));
            if !stays {
                self.store.insert(*key, stored);
            }
        }
    }

    pub(super) fn open(&mut self, stream: u64, worker: &str) {
        self.machine.opened(self.now, StreamId(stream), WorkerName::new(worker).unwrap());
        self.take();
    }

    pub(super) fn ask(&mut self, stream: u64, asked: &Asked, standing: &Standing) {
        self.machine.asked(self.now, StreamId(stream), asked, standing);
        self.take();
        self.look_all();
    }

    pub(super) fn end(&mut self, stream: u64, ended: Ended, standing: &Standing) {
        self.machine.ended(self.now, StreamId(stream), ended, standing);
        self.take();
    }

    pub(super) fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        self.machine.tick(self.now);
        self.take();
    }

    /// What was said since the last time, by stream and number.
    pub(super) fn heard(&mut self) -> Vec<(u64, u64, Reply)> {
        std::mem::take(&mut self.told)
            .into_iter()
            .map(|(place, reply)| (place.stream.0, place.number, reply))
            .collect()
    }

    pub(super) fn spent(&self, run: &str) -> Spent {
        let status = self.machine.statuses(self.now).get(&id(run)).copied().unwrap_or_default();
        Spent {
            calls: status.calls,
            failed: status.failed,
            throttled: status.throttled,
            reused: status.reused,
            usage: status.usage,
            cost_usd: status.cost_usd,
        }
    }
}
