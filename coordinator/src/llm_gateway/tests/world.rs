//! A simulated world of seeded faults: workers that die, lose their links and repeat themselves, a coordinator that is
//! killed, a slow cache, calls that fail in every way. A failing seed is played again by `play(seed)`.

use std::collections::{BTreeMap, BTreeSet};

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
    Calling(CallId),
    /// The call has ended, and its result is not acknowledged.
    Persisting(CallId, Box<CallResult>),
}

/// A call that was permitted.
#[derive(Debug)]
struct Permitted {
    which: u64,
    /// When the gateway may count it as expired.
    until: f64,
    /// Its worker was told, and goes on until the call ends.
    is_made: bool,
    /// Its worker returned it unused.
    is_unused: bool,
}

#[derive(Debug)]
struct Member {
    name: String,
    stream: Option<u64>,
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
    permitted: BTreeMap<CallId, Permitted>,
    /// Calls that were durable when a process ended before it sent their permits.
    unsent: BTreeSet<CallId>,
}

fn access(run: &str) -> LlmAccess {
    allowed(|config| {
        config.spend.refresh = run == "fresh";
        // A quarter of the calls fail.
        config.proposer.max_failed_share = 1.0;
    })
}

/// The coordinator sends every run.
fn set_accesses(bench: &mut Bench) {
    for run in RUNS {
        bench.set_access(&id(run), &access(run));
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let member =
            |number| Member { name: format!("w{number}"), stream: None, number: 0, open: BTreeMap::new() };
        let mut bench = Bench::new();
        bench.records = false;
        set_accesses(&mut bench);
        Self {
            bench,
            dice: fastrand::Rng::with_seed(seed),
            members: (0..4).map(member).collect(),
            streams: 0,
            lives: 1,
            let_through: 0.0,
            given_back: 0.0,
            resolved: 0,
            permitted: BTreeMap::new(),
            unsent: BTreeSet::new(),
        }
    }

    /// A worker opens a stream and sends all its open requests.
    fn connect(&mut self, index: usize) {
        self.streams += 1;
        let (stream, now) = (self.streams, self.bench.now);
        let member = &mut self.members[index];
        member.stream = Some(stream);
        let name = WorkerName::new(member.name.clone()).unwrap();
        self.bench.state.connected(now, StreamId(stream), name, None);
        for (number, (run, which, state)) in &member.open {
            let question = acquire(run, *number, key(*which));
            match state {
                RequestState::Waiting => {
                    self.bench.state.acquire(now, StreamId(stream), &question, None);
                }
                RequestState::Calling(call) => {
                    let permitted = self.permitted.get_mut(call).unwrap();
                    // One that comes too late may run beside another.
                    if now < permitted.until {
                        permitted.until = now + LONGEST_S;
                    }
                    let question = AcquireCall { under_way: true, ..question };
                    self.bench.state.acquire(now, StreamId(stream), &question, Some(*call));
                }
                RequestState::Persisting(call, ended) => {
                    self.bench.state.complete(now, StreamId(stream), CallResult::clone(ended), Some(*call));
                }
            }
        }
    }

    fn disconnect(&mut self, index: usize) {
        let (member, now) = (&mut self.members[index], self.bench.now);
        if let Some(stream) = member.stream.take() {
            for open in member.open.values() {
                if let RequestState::Calling(call) = &open.2 {
                    let permitted = self.permitted.get_mut(call).unwrap();
                    permitted.until = permitted.until.min(now + LEASE_S);
                }
            }
            self.bench.state.disconnected(now, StreamId(stream));
        }
    }

    fn ask(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(stream) = member.stream else { return };
        member.number += 1;
        let (run, which) = (RUNS[self.dice.usize(..3)], self.dice.u64(..KEYS));
        member.open.insert(member.number, (run, which, RequestState::Waiting));
        let question = acquire(run, member.number, key(which));
        self.bench.state.acquire(self.bench.now, StreamId(stream), &question, None);
    }

    /// One of a worker's calls ends.
    fn end_a_call(&mut self, index: usize) {
        let calls = |member: &Member| -> Vec<u64> {
            let calls = member.open.iter().filter(|(_, open)| matches!(open.2, RequestState::Calling(_)));
            calls.map(|(number, _)| *number).collect()
        };
        let member = &mut self.members[index];
        let calls = calls(member);
        if calls.is_empty() {
            return;
        }
        let number = calls[self.dice.usize(..calls.len())];
        let open = member.open.get_mut(&number).unwrap();
        let RequestState::Calling(call) = open.2 else { unreachable!() };
        let permitted = self.permitted.get_mut(&call).unwrap();
        permitted.is_made = false;
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
            permitted.is_unused = true;
        }
        let (tries, last) = (self.dice.u32(1..4), self.dice.bool());
        let end = CallResult { tries, last, ..complete(open.0, number, key(open.1), outcome) };
        open.2 = RequestState::Persisting(call, Box::new(end.clone()));
        if let Some(stream) = member.stream {
            for _ in 0..=u32::from(self.dice.u32(..8) == 0) {
                self.bench.state.complete(self.bench.now, StreamId(stream), end.clone(), Some(call));
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
        let now = self.bench.now;
        self.bench.restart();
        set_accesses(&mut self.bench);
        let orphans = self.bench.durable.orphans();
        for OrphanedCall { call, .. } in &orphans {
            match self.permitted.get_mut(&call.id) {
                // The next process waits for its worker until the call has ended in any case.
                Some(permitted) if now < permitted.until => {
                    let deadline = (call.deadline_ms - self.bench.state.zero_ms) as f64 / 1000.0;
                    permitted.until = deadline.max(now + LEASE_S);
                }
                Some(_) => {}
                None => {
                    self.unsent.insert(call.id);
                }
            }
        }
        self.bench.state.take_up(now, orphans);
        self.lives += 1;
        self.members.iter_mut().for_each(|member| member.stream = None);
    }

    /// The store does some of its work, in order.
    fn store(&mut self, all: bool) {
        let now = self.bench.now;
        for key in std::mem::take(&mut self.bench.look) {
            let found = self.bench.durable.answers.get(&key).cloned();
            self.bench.state.looked_up(now, key, found);
        }
        let count = if all { self.bench.write.len() } else { self.dice.usize(..=self.bench.write.len()) };
        for pending_write in self.bench.write.drain(..count).collect::<Vec<_>>() {
            self.bench.make_durable(pending_write);
        }
    }

    /// Delivers the replies to the workers.
    fn hear(&mut self) {
        self.bench.take();
        for (request_id, reply) in std::mem::take(&mut self.bench.told) {
            let place = self.members.iter().position(|member| member.stream == Some(request_id.stream.0));
            if let Reply::CallPermit { call, .. } = reply {
                self.permit(place, request_id, call);
                continue;
            }
            let Some(index) = place else { continue };
            let Some((_, which, state)) = self.members[index].open.get(&request_id.number).cloned() else {
                continue;
            };
            match reply {
                Reply::CachedResponse(answer) => {
                    assert_eq!(
                        self.bench.durable.answers[&key(which)].answer,
                        answer,
                        "not durable, or another one"
                    );
                    self.resolve(index, request_id.number);
                }
                Reply::AskAgain => {
                    let RequestState::Persisting(_, ended) = &state else {
                        panic!("acknowledged: {state:?}")
                    };
                    let is_answer =
                        matches!(&ended.outcome, CallOutcome::Answered(answer) if answer.is_whole());
                    assert!(!is_answer, "an answer is not asked for again");
                    self.resolve(index, request_id.number);
                }
                Reply::ResultPersisted => {
                    if let RequestState::Persisting(_, ended) = &state
                        && matches!(&ended.outcome, CallOutcome::Answered(answer) if answer.is_whole())
                    {
                        assert!(
                            self.bench.durable.answers.contains_key(&key(which)),
                            "acknowledged, and not durable"
                        );
                    }
                    assert!(matches!(state, RequestState::Persisting(..)), "acknowledged: {state:?}");
                    self.resolve(index, request_id.number);
                }
                Reply::Stopped(reason) => panic!("{reason}"),
                Reply::Opened(_) | Reply::CallPermit { .. } => panic!("not from the state, or taken above"),
            }
        }
        let allowed = RATE * self.bench.now + f64::from(self.lives) * 2.0 + self.given_back;
        assert!(self.let_through <= allowed, "{} calls, {allowed} allowed", self.let_through);
    }

    /// A permit arrives at the worker at `place`, or nowhere.
    fn permit(&mut self, place: Option<usize>, request_id: RequestId, call: CallId) {
        let now = self.bench.now;
        self.let_through += 1.0;
        assert!(self.bench.durable.calls.contains_key(&call), "a permit of a call that is not durable");
        let recorded = &self.bench.durable.calls[&call];
        let which = (0..KEYS).find(|which| key(*which) == recorded.key).unwrap();
        // The gateway counts in whole ms.
        let is_under_way = |other: &Permitted| other.is_made && now + 0.001 < other.until;
        let twice = self.permitted.values().any(|other| other.which == which && is_under_way(other));
        assert!(!twice, "two calls under way for key {which}");
        let until = (recorded.deadline_ms - self.bench.state.zero_ms) as f64 / 1000.0;
        let mut permitted = Permitted { which, until, is_made: true, is_unused: false };
        let open = place.and_then(|index| self.members[index].open.get_mut(&request_id.number));
        match open {
            Some(open) => {
                assert!(matches!(open.2, RequestState::Waiting), "a permit for {:?}", open.2);
                open.2 = RequestState::Calling(call);
                self.permitted.insert(call, permitted);
            }
            // Cancelled while the permit was on its way: the worker returns it unsent.
            None if place.is_some() => {
                self.given_back += 1.0;
                (permitted.is_made, permitted.is_unused) = (false, true);
                self.permitted.insert(call, permitted);
                let run = self.bench.durable.calls[&call].run_id.to_string();
                let end = complete(&run, request_id.number, key(which), CallOutcome::Unsent);
                self.bench.state.complete(now, request_id.stream, end, Some(call));
            }
            // A permit that never arrives comes back at its deadline only.
            None => {
                permitted.is_made = false;
                self.permitted.insert(call, permitted);
            }
        }
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
        self.store(true);
        self.bench.state.assert_idle();
        self.assert_counted();
    }

    /// Every call that was permitted was counted once, unless its worker returned it; and no other.
    fn assert_counted(&self) {
        let Durable { calls, counted, spent, .. } = &self.bench.durable;
        assert!(calls.is_empty(), "calls that nothing will end: {calls:?}");
        for (call, permitted) in &self.permitted {
            let times = counted.get(call).copied().unwrap_or(0);
            assert!(
                times == 1 || (permitted.is_unused && times == 0),
                "{times} times {call:?} {permitted:?}"
            );
        }
        for (call, times) in counted {
            assert!(
                self.permitted.contains_key(call) || (self.unsent.contains(call) && *times == 1),
                "{call:?}"
            );
        }
        let calls: u64 = spent.values().map(|spent| spent.calls).sum();
        assert_eq!(calls, counted.values().map(|times| u64::from(*times)).sum::<u64>());
        let known = self.bench.state.statuses(self.bench.now);
        for (run_id, spent) in spent {
            assert_eq!(known.get(run_id).map(|status| status.calls), Some(spent.calls), "calls of {run_id}");
        }
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
