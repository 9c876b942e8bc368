//! A simulated world of seeded faults: workers that die, lose their links and repeat themselves, a coordinator that is
//! killed, a slow cache, calls that fail in every way. A failing seed is played again by `play(seed)`.

use std::collections::BTreeMap;

use super::*;
use crate::sim::mutation::{self, Mutation};

/// Calls a second that are allowed.
const RATE: f64 = 10.0;
const LEASE_S: f64 = 30.0;
/// 60 s for the call, 10 s to connect, a minute of patience.
const LONGEST_S: f64 = 130.0;
const KEYS: u64 = 40;
const RUNS: [&str; 3] = ["a", "b", "fresh"];

#[derive(Debug, Clone)]
enum RequestState {
    Waiting,
    /// `excused`: the coordinator cannot know of the call any more, or has to consider it expired.
    Calling {
        excused: bool,
        since: f64,
    },
    /// The call has ended, and its result is not acknowledged.
    Persisting(Box<CallResult>),
}

#[derive(Debug)]
struct Member {
    name: String,
    stream: Option<u64>,
    lost_at: f64,
    number: u64,
    open: BTreeMap<u64, (&'static str, u64, RequestState)>,
}

struct World {
    bench: Bench,
    dice: fastrand::Rng,
    members: Vec<Member>,
    streams: u64,
    lives: u32,
    let_through: f64,
    given_back: f64,
    resolved: u64,
    spent: BTreeMap<RunId, LlmUsage>,
}

fn access(run: &str) -> LlmAccess {
    allowed(|config| {
        config.spend.refresh = run == "fresh";
        // A quarter of the calls fail.
        config.proposer.max_failed_share = 1.0;
    })
}

/// A bench whose coordinator has sent every run.
fn bench(spent: BTreeMap<RunId, LlmUsage>, now: f64) -> Bench {
    let mut bench = Bench::new();
    bench.now = now;
    bench.state = GatewayState::new(spent);
    for run in RUNS {
        bench.set_access(&id(run), &access(run));
    }
    bench
}

impl World {
    fn new(seed: u64) -> Self {
        let member = |number| Member {
            name: format!("w{number}"),
            stream: None,
            lost_at: f64::NEG_INFINITY,
            number: 0,
            open: BTreeMap::new(),
        };
        Self {
            bench: bench(BTreeMap::new(), 0.0),
            dice: fastrand::Rng::with_seed(seed),
            members: (0..4).map(member).collect(),
            streams: 0,
            lives: 1,
            let_through: 0.0,
            given_back: 0.0,
            resolved: 0,
            spent: BTreeMap::new(),
        }
    }

    /// A worker opens a stream and sends all its open requests.
    fn connect(&mut self, index: usize) {
        self.streams += 1;
        let (stream, now) = (self.streams, self.bench.now);
        let member = &mut self.members[index];
        let away = now - member.lost_at;
        member.stream = Some(stream);
        let name = WorkerName::new(member.name.clone()).unwrap();
        self.bench.state.connected(now, StreamId(stream), name, None);
        for (number, (run, which, state)) in &mut member.open {
            let question = acquire(run, *number, key(*which));
            match state {
                RequestState::Waiting => {
                    self.bench.state.acquire(now, StreamId(stream), &question, false);
                }
                RequestState::Calling { excused, .. } => {
                    *excused |= away >= LEASE_S;
                    let question = AcquireCall { under_way: true, ..question };
                    self.bench.state.acquire(now, StreamId(stream), &question, true);
                }
                RequestState::Persisting(ended) => {
                    self.bench.state.complete(now, StreamId(stream), CallResult::clone(ended), true);
                }
            }
        }
    }

    fn disconnect(&mut self, index: usize) {
        let member = &mut self.members[index];
        if let Some(stream) = member.stream.take() {
            member.lost_at = self.bench.now;
            self.bench.state.disconnected(self.bench.now, StreamId(stream));
        }
    }

    fn ask(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(stream) = member.stream else { return };
        member.number += 1;
        let (run, which) = (RUNS[self.dice.usize(..3)], self.dice.u64(..KEYS));
        member.open.insert(member.number, (run, which, RequestState::Waiting));
        let question = acquire(run, member.number, key(which));
        self.bench.state.acquire(self.bench.now, StreamId(stream), &question, false);
    }

    /// One of a worker's calls ends.
    fn end_a_call(&mut self, index: usize) {
        let calls = |member: &Member| -> Vec<u64> {
            let calls = member.open.iter().filter(|(_, open)| matches!(open.2, RequestState::Calling { .. }));
            calls.map(|(number, _)| *number).collect()
        };
        let member = &mut self.members[index];
        let calls = calls(member);
        if calls.is_empty() {
            return;
        }
        let number = calls[self.dice.usize(..calls.len())];
        let open = member.open.get_mut(&number).unwrap();
        let outcome = match self.dice.u32(..20) {
            0..3 => CallOutcome::Unsent,
            3 => throttled(0.2),
            4 => failed(FailureKind::Prompt),
            5..8 => failed(FailureKind::Passing),
            8 => CallOutcome::Answered(Answer { finish: Finish::Length, ..answer("[") }),
            _ => CallOutcome::Answered(answer(&format!("{}", self.dice.u64(..)))),
        };
        if outcome == CallOutcome::Unsent {
            self.given_back += 1.0;
        }
        let (tries, last) = (self.dice.u32(1..4), self.dice.bool());
        let end = CallResult { tries, last, ..complete(open.0, number, key(open.1), outcome) };
        open.2 = RequestState::Persisting(Box::new(end.clone()));
        if let Some(stream) = member.stream {
            for _ in 0..=u32::from(self.dice.u32(..8) == 0) {
                self.bench.state.complete(self.bench.now, StreamId(stream), end.clone(), true);
            }
        }
    }

    fn withdraw(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(stream) = member.stream else { return };
        let waiting = member.open.iter().find(|(_, open)| matches!(open.2, RequestState::Waiting));
        if let Some((number, _)) = waiting {
            let number = *number;
            member.open.remove(&number);
            self.bench.state.cancel(self.bench.now, RequestId { stream: StreamId(stream), number });
        }
    }

    /// The worker's process ends; another one of the same name starts.
    fn kill(&mut self, index: usize) {
        self.disconnect(index);
        let member = &mut self.members[index];
        member.open.clear();
        member.number = 0;
    }

    /// The coordinator's process ends; the next one has the durable data.
    fn restart(&mut self) {
        let next = bench(self.spent.clone(), self.bench.now);
        let before = std::mem::replace(&mut self.bench, next);
        self.bench.store = before.store;
        self.lives += 1;
        for member in &mut self.members {
            member.stream = None;
            member.lost_at = before.now;
            for open in member.open.values_mut() {
                if let RequestState::Calling { excused, .. } = &mut open.2 {
                    *excused = true;
                }
            }
        }
    }

    /// The store does some of its work, in order.
    fn store(&mut self, all: bool) {
        let now = self.bench.now;
        for key in std::mem::take(&mut self.bench.look) {
            let found = self.bench.store.get(&key).cloned();
            self.bench.state.looked_up(now, key, found);
        }
        let count = if all { self.bench.write.len() } else { self.dice.usize(..=self.bench.write.len()) };
        for pending_write in self.bench.write.drain(..count).collect::<Vec<_>>() {
            self.bench.make_durable(&pending_write);
            *self.spent.entry(pending_write.write.run_id.clone()).or_default() += pending_write.write.spent;
            self.bench.state.persisted(now, pending_write, true);
        }
    }

    /// Delivers the replies to the workers.
    fn hear(&mut self) {
        self.bench.take();
        for (request_id, reply) in std::mem::take(&mut self.bench.told) {
            let Some(index) =
                self.members.iter().position(|member| member.stream == Some(request_id.stream.0))
            else {
                // A permit that never arrives comes back at its deadline only.
                self.let_through += f64::from(u8::from(matches!(reply, Reply::CallPermit { .. })));
                continue;
            };
            let Some((run, which, state)) = self.members[index].open.get(&request_id.number).cloned() else {
                if matches!(reply, Reply::CallPermit { .. }) {
                    // Cancelled while the permit was on its way: the worker returns it unsent.
                    self.let_through += 1.0;
                    self.given_back += 1.0;
                    let call =
                        self.bench.state.call_of(request_id).map(|(run, which)| (run.to_string(), which));
                    let (run, which) = call.unwrap_or_else(|| (RUNS[0].to_owned(), AnswerKey::of(b"none")));
                    let end = complete(&run, request_id.number, which, CallOutcome::Unsent);
                    self.bench.state.complete(self.bench.now, request_id.stream, end, true);
                }
                continue;
            };
            match reply {
                Reply::CallPermit { .. } => {
                    self.let_through += 1.0;
                    let twice = self.members.iter().flat_map(|member| member.open.values()).any(|open| {
                        open.1 == which && matches!(open.2, RequestState::Calling { excused: false, .. })
                    });
                    assert!(!twice, "two calls under way for key {which}");
                    assert!(matches!(state, RequestState::Waiting), "a permit for {state:?}");
                    let since = self.bench.now;
                    let call = (run, which, RequestState::Calling { excused: false, since });
                    self.members[index].open.insert(request_id.number, call);
                }
                Reply::CachedResponse(answer) => {
                    assert_eq!(self.bench.store[&key(which)].answer, answer, "not durable, or another one");
                    self.resolve(index, request_id.number);
                }
                Reply::AskAgain => {
                    let RequestState::Persisting(ended) = &state else { panic!("acknowledged: {state:?}") };
                    let is_answer =
                        matches!(&ended.outcome, CallOutcome::Answered(answer) if answer.is_whole());
                    assert!(!is_answer, "an answer is not asked for again");
                    self.resolve(index, request_id.number);
                }
                Reply::ResultPersisted => {
                    if let RequestState::Persisting(ended) = &state
                        && matches!(&ended.outcome, CallOutcome::Answered(answer) if answer.is_whole())
                    {
                        assert!(self.bench.store.contains_key(&key(which)), "acknowledged, and not durable");
                    }
                    assert!(matches!(state, RequestState::Persisting(_)), "acknowledged: {state:?}");
                    self.resolve(index, request_id.number);
                }
                Reply::Stopped(reason) => panic!("{reason}"),
                Reply::Opened(_) => panic!("the task sends it"),
            }
        }
        let allowed = RATE * self.bench.now + f64::from(self.lives) * 2.0 + self.given_back;
        assert!(self.let_through <= allowed, "{} calls, {allowed} allowed", self.let_through);
    }

    fn resolve(&mut self, index: usize, number: u64) {
        self.members[index].open.remove(&number);
        self.resolved += 1;
    }

    fn step(&mut self) {
        let index = self.dice.usize(..self.members.len());
        match self.dice.u32(..1000) {
            0..450 => self.ask(index),
            450..700 => self.end_a_call(index),
            700..720 => self.withdraw(index),
            720..740 => self.disconnect(index),
            740..750 => self.kill(index),
            750..753 => self.restart(),
            753..755 => self.pass(40.0),
            _ => self.store(false),
        }
        if self.members[index].stream.is_none() && self.dice.bool() {
            self.connect(index);
        }
        self.hear();
        let seconds = self.dice.f64() * 0.2;
        self.pass(seconds);
        self.hear();
    }

    fn pass(&mut self, seconds: f64) {
        self.bench.now += seconds;
        self.bench.state.tick(self.bench.now);
        let now = self.bench.now;
        for member in &mut self.members {
            let away = member.stream.is_none() && now - member.lost_at >= LEASE_S;
            for open in member.open.values_mut() {
                if let RequestState::Calling { excused, since } = &mut open.2 {
                    *excused |= away || now - *since >= LONGEST_S;
                }
            }
        }
    }

    /// Without further faults, every request ends.
    fn calm(&mut self) {
        for _ in 0..4000 {
            for index in 0..self.members.len() {
                if self.members[index].stream.is_none() {
                    self.connect(index);
                }
                self.end_a_call(index);
            }
            self.hear();
            self.store(true);
            self.hear();
            if self.members.iter().all(|member| member.open.is_empty()) {
                break;
            }
            self.pass(0.05);
            self.hear();
        }
        let open: Vec<_> = self.members.iter().filter(|member| !member.open.is_empty()).collect();
        assert!(open.is_empty(), "requests without an end: {open:?}");
        // Calls of workers that died expire.
        self.pass(200.0);
        self.store(true);
        self.hear();
        self.bench.state.assert_idle();
    }
}

fn play(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step();
    }
    world.calm();
    world.resolved
}

#[test]
fn with_any_faults_every_request_ends_and_no_call_is_billed_twice() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let first = std::env::var("SIM_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0);
    let mut resolved = 0;
    for seed in first..first + seeds {
        let played = std::panic::catch_unwind(|| play(seed));
        resolved += played.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(resolved > seeds * 50, "only {resolved} requests ended");
}

#[test]
fn the_world_finds_planted_bugs() {
    for mutation in Mutation::OF_GATEWAY {
        mutation::switch(Some(mutation));
        let found = (0..60).any(|seed| std::panic::catch_unwind(|| play(seed)).is_err());
        mutation::switch(None);
        assert!(found, "{mutation:?} was not found");
    }
}
