//! What becomes of questions and runs when calls fail: a simulated worker with its retries, against a provider that answers
//! by time and question.

use std::collections::BTreeMap;

use super::*;

/// Retries of the simulated worker.
const RETRIES: u32 = 2;
/// Duration of a call, and the wait before a retry.
const CALL_S: f64 = 0.2;
const RETRY_S: f64 = 0.5;
const STEP_S: f64 = 0.1;

#[derive(Debug, Clone, PartialEq)]
enum End {
    Answered,
    Failed,
    Stopped(String),
}

#[derive(Debug, Clone)]
enum State {
    Asking(u64),
    Calling { number: u64, until: f64 },
    Persisting { number: u64, last: bool, answered: bool },
    Pausing { until: f64 },
    Ended(End),
}

#[derive(Debug, Clone)]
struct Question {
    made: u32,
    failed: u32,
    state: State,
}

struct Scene {
    bench: Bench,
    access: LlmAccess,
    number: u64,
    questions: BTreeMap<u64, Question>,
    /// Calls by the time of their start.
    calls: Vec<f64>,
    /// Most calls under way while the gateway counted the provider as out, calls from before not counted.
    most_probes: usize,
    said: Vec<String>,
}

impl Scene {
    fn new(questions: u64, change: impl FnOnce(&mut RunConfig)) -> Self {
        let mut bench = Bench::new();
        bench.open(1, "w");
        let mut scene = Self {
            bench,
            access: allowed(|config| {
                config.limits.requests_per_minute = Limit::at(6000);
                change(config);
            }),
            number: 0,
            questions: BTreeMap::new(),
            calls: Vec::new(),
            most_probes: 0,
            said: Vec::new(),
        };
        (0..questions).for_each(|question| scene.ask(question));
        scene
    }

    fn ask(&mut self, which: u64) {
        self.number += 1;
        let fresh = Question { made: 0, failed: 0, state: State::Asking(self.number) };
        self.questions.entry(which).or_insert(fresh).state = State::Asking(self.number);
        self.bench.ask(1, &acquire("r", self.number, key(which)), &self.access);
    }

    /// Asks those again that were stopped, as after a second submission.
    fn resubmit(&mut self) {
        let stopped: Vec<u64> = self
            .questions
            .iter()
            .filter(|(_, question)| matches!(question.state, State::Ended(End::Stopped(_))))
            .map(|(which, _)| *which)
            .collect();
        for which in stopped {
            self.questions.remove(&which);
            self.ask(which);
        }
        self.bench.halted.clear();
    }

    fn play(&mut self, seconds: f64, provider: impl Fn(f64, u64) -> CallOutcome) {
        let end = self.bench.now + seconds;
        while self.bench.now < end && !self.is_over() {
            self.hear();
            self.act(&provider);
            self.bench.keep_all();
            self.hear();
            self.bench.pass(STEP_S);
            let since = self.bench.state.pools.values().next().and_then(|pool| {
                let waiting = pool.waiting(self.bench.now)?;
                match waiting {
                    crate::llm_gateway::rate_limit::Waiting::Outage { .. } => Some(()),
                    _ => None,
                }
            });
            if since.is_some() {
                let probes = self.bench.state.calls.values().filter(|call| call.probe).count();
                self.most_probes = self.most_probes.max(probes);
            }
            let status = self.bench.state.statuses(self.bench.now).remove(&id("r"));
            if let Some(text) = status.and_then(|status| status.waits_for)
                && self.said.last() != Some(&text)
            {
                self.said.push(text);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.questions.values().all(|question| matches!(question.state, State::Ended(_)))
    }

    fn act(&mut self, provider: &impl Fn(f64, u64) -> CallOutcome) {
        let now = self.bench.now;
        for which in self.questions.keys().copied().collect::<Vec<_>>() {
            let question = self.questions.get_mut(&which).unwrap();
            match question.state {
                State::Pausing { until } if until <= now => {
                    // The access is as the gateway has it: a stopped run stays stopped.
                    self.number += 1;
                    question.state = State::Asking(self.number);
                    let asked = acquire("r", self.number, key(which));
                    self.bench.state.acquire(now, StreamId(1), &asked, None);
                    self.bench.take();
                    self.bench.look_all();
                }
                State::Calling { number, until } if until <= now => {
                    let outcome = provider(now, which);
                    let answered = matches!(outcome, CallOutcome::Answered(_));
                    let is_throttled = matches!(outcome, CallOutcome::Throttled { .. });
                    let at_once = matches!(
                        outcome,
                        CallOutcome::Failed { kind: FailureKind::Prompt | FailureKind::Account, .. }
                    );
                    question.made += u32::from(!answered);
                    question.failed += u32::from(!answered && !is_throttled);
                    let last = !answered && (at_once || question.failed > RETRIES);
                    question.state = State::Persisting { number, last, answered };
                    let tries = question.made;
                    let end = CallResult { tries, last, ..complete("r", number, key(which), outcome) };
                    self.bench.state.complete(now, StreamId(1), end, None);
                    self.bench.take();
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self) {
        let now = self.bench.now;
        for (_, number, reply) in self.bench.heard() {
            let question = self.questions.values_mut().find(|question| match question.state {
                State::Asking(asked) | State::Persisting { number: asked, .. } => asked == number,
                _ => false,
            });
            let Some(question) = question else { continue };
            let pause = State::Pausing { until: now + RETRY_S };
            question.state = match (reply, &question.state) {
                (Reply::CallPermit { .. }, _) => {
                    self.calls.push(now);
                    State::Calling { number, until: now + CALL_S }
                }
                (Reply::CachedResponse(_), _)
                | (Reply::ResultPersisted, State::Persisting { answered: true, .. }) => {
                    State::Ended(End::Answered)
                }
                (Reply::ResultPersisted, State::Persisting { last: true, .. }) => State::Ended(End::Failed),
                (Reply::ResultPersisted, _) => pause,
                (Reply::AskAgain, State::Persisting { last, .. }) => {
                    if *last {
                        question.failed = 0;
                    }
                    pause
                }
                (Reply::Stopped(reason), _) => State::Ended(End::Stopped(reason)),
                (reply, state) => panic!("{reply:?} in {state:?}"),
            };
        }
    }

    fn count(&self, matches: impl Fn(&End) -> bool) -> usize {
        let ended = self.questions.values().filter(|question| match &question.state {
            State::Ended(end) => matches(end),
            _ => false,
        });
        ended.count()
    }

    fn answered(&self) -> usize {
        self.count(|end| *end == End::Answered)
    }

    fn failed(&self) -> usize {
        self.count(|end| *end == End::Failed)
    }

    fn stopped(&self) -> usize {
        self.count(|end| matches!(end, End::Stopped(_)))
    }

    /// The reason for which the run was stopped.
    fn halted(&self) -> &str {
        let [(_, reason)] = &self.bench.halted[..] else { panic!("{:?}", self.bench.halted) };
        reason
    }
}

fn good() -> CallOutcome {
    CallOutcome::Answered(answer("{}"))
}

fn passing() -> CallOutcome {
    CallOutcome::failed("503: upstream connect error", FailureKind::Passing)
}

#[test]
fn an_outage_of_all_calls_is_waited_out_and_no_record_is_lost() {
    for length in [3.0, 10.0, 100.0, 1000.0] {
        let mut scene = Scene::new(60, |_| ());
        scene.play(2000.0, |now, _| if now < length { passing() } else { good() });
        assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (60, 0, 0), "{length} s");
        assert!(scene.most_probes <= 1, "{} probes at a time", scene.most_probes);
        let late = scene.calls.iter().filter(|at| **at > 2.0 && **at < length - CALL_S).count() as f64;
        assert!(late < 10.0 + length / 25.0, "{late} calls in {length} s");
        let end = scene.bench.now;
        assert!(end < length + 40.0, "it goes on soon: {end} after {length}");
        assert!(scene.said.iter().any(|text| text.contains("one at a time tries again")), "{:?}", scene.said);
        assert!(scene.said.len() < 6, "the text does not change with the time: {:?}", scene.said);
    }
}

#[test]
fn an_outage_in_the_middle_and_at_the_very_end_loses_no_record() {
    // At the end only two questions are open, as many as could fail for their own sake.
    for (from, questions) in [(0.5, 200), (0.9, 100), (2.0, 3)] {
        let mut scene = Scene::new(questions, |config| config.limits.concurrency = Limit::at(1));
        scene.play(3600.0, |now, which| {
            let out = now >= from && now < from + 60.0;
            if out || (questions == 3 && which > 0 && now < 60.0) { passing() } else { good() }
        });
        let all = usize::try_from(questions).unwrap();
        assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (all, 0, 0), "from {from}");
    }
}

#[test]
fn an_outage_beyond_the_bound_stops_the_run_and_it_goes_on_when_submitted_again() {
    let mut scene = Scene::new(30, |config| config.proposer.outage_minutes = 2);
    scene.play(600.0, |_, _| passing());
    assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (0, 0, 30));
    assert!((119.0..125.0).contains(&scene.bench.now), "{}", scene.bench.now);
    for needed in ["2 min", "proposer.outage_minutes", "503: upstream connect error"] {
        assert!(scene.halted().contains(needed), "{}", scene.halted());
    }
    scene.resubmit();
    let begun = scene.bench.now;
    scene.play(600.0, |_, _| good());
    assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (30, 0, 0));
    assert!(scene.bench.now < begun + 30.0, "it does not wait for the next probe of the outage before");
}

#[test]
fn a_bound_of_zero_stops_at_once() {
    let mut scene = Scene::new(30, |config| config.proposer.outage_minutes = 0);
    scene.play(600.0, |_, _| passing());
    assert_eq!((scene.failed(), scene.stopped()), (0, 30));
    assert!(scene.bench.now < 5.0, "{}", scene.bench.now);
}

#[test]
fn a_question_that_always_fails_is_lost_alone() {
    for seconds in [CALL_S, 3.0] {
        let mut scene = Scene::new(40, |config| config.proposer.retry_seconds = 60);
        scene.play(3600.0, |now, which| {
            // The others are answered at first, or slowly.
            if which == 7 || (seconds > 1.0 && now < 1.0) { passing() } else { good() }
        });
        assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (39, 1, 0), "{seconds}");
        assert!(scene.bench.now < 400.0, "it has the time of a question: {}", scene.bench.now);
    }
}

#[test]
fn a_single_question_that_is_never_answered_stops_the_run() {
    let mut scene = Scene::new(1, |config| config.proposer.outage_minutes = 3);
    scene.play(600.0, |_, _| passing());
    assert_eq!((scene.failed(), scene.stopped()), (0, 1), "a model that never answered is no result");
    assert!(scene.bench.now > 179.0 && scene.calls.len() < 20, "{} calls", scene.calls.len());
}

#[test]
fn sporadic_failures_slow_a_run_down_but_stop_nothing() {
    let dice = std::cell::RefCell::new(fastrand::Rng::with_seed(3));
    let mut scene = Scene::new(300, |config| {
        config.proposer.max_failed_share = 0.1;
        config.limits.concurrency = Limit::at(20);
    });
    scene.play(600.0, |_, _| if dice.borrow_mut().f64() < 0.3 { passing() } else { good() });
    assert_eq!(scene.stopped(), 0, "{:?}", scene.bench.halted);
    assert!(scene.failed() < 20 && scene.answered() > 280, "{} failed", scene.failed());
}

fn unknown() -> CallOutcome {
    CallOutcome::failed("418: I am a teapot", FailureKind::Unknown)
}

#[test]
fn an_unknown_failure_of_three_questions_in_a_row_ends_the_run() {
    for kind in [FailureKind::Unknown, FailureKind::Key] {
        let mut scene = Scene::new(40, |_| ());
        let refuses = |now: f64| now > 0.6;
        scene.play(600.0, |now, which| match which {
            0 => good(),
            _ if refuses(now) => failed(kind),
            _ => CallOutcome::Unsent,
        });
        assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (1, 0, 39), "{kind:?}");
        assert!(scene.halted().contains("3 different questions in a row"), "{}", scene.halted());
    }
}

#[test]
fn unknown_failures_that_come_in_a_row_by_chance_stop_nothing() {
    for seed in 0..6 {
        let dice = std::cell::RefCell::new(fastrand::Rng::with_seed(seed));
        let mut scene = Scene::new(1_000, |config| config.limits.concurrency = Limit::at(20));
        scene.play(6_000.0, |_, _| if dice.borrow_mut().f64() < 0.1 { unknown() } else { good() });
        assert_eq!(scene.stopped(), 0, "seed {seed}: {:?}", scene.bench.halted);
    }
}

#[test]
fn unknown_failures_of_every_question_end_a_run_that_was_answered_before() {
    let mut scene = Scene::new(200, |config| config.limits.concurrency = Limit::at(4));
    scene.play(600.0, |_, which| if which < 100 { good() } else { unknown() });
    assert!(scene.halted().contains("12 different questions in a row"), "{}", scene.halted());
    assert!(scene.stopped() > 80, "{} stopped", scene.stopped());
}

#[test]
fn an_unknown_failure_of_one_question_is_its_own() {
    for kind in [FailureKind::Unknown, FailureKind::Key] {
        let mut scene = Scene::new(40, |config| config.limits.concurrency = Limit::at(4));
        scene.play(600.0, |_, which| if which == 9 { failed(kind) } else { good() });
        assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (39, 1, 0), "{kind:?}");
    }
}

#[test]
fn one_odd_401_is_tried_again() {
    let odd = std::cell::Cell::new(true);
    let mut scene = Scene::new(12, |_| ());
    scene.play(600.0, |_, which| if which == 1 && odd.replace(false) { unknown() } else { good() });
    assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (12, 0, 0));
}

#[test]
fn unknown_failures_of_every_question_of_a_small_run_end_it() {
    for questions in [1, 2] {
        let mut scene = Scene::new(questions, |_| ());
        scene.play(600.0, |_, _| unknown());
        assert_eq!((scene.answered(), scene.failed()), (0, 0));
        assert_eq!(scene.stopped() as u64, questions);
        assert!(scene.halted().contains("I am a teapot") && scene.calls.len() < 15, "{}", scene.calls.len());
    }
}

#[test]
fn a_refused_key_and_an_account_without_credit_end_the_run_at_once() {
    for kind in [FailureKind::Key, FailureKind::Account] {
        let mut scene = Scene::new(60, |config| config.limits.concurrency = Limit::at(4));
        scene.play(600.0, |_, _| failed(kind));
        assert_eq!(scene.stopped() + scene.failed(), 60);
        assert!(scene.halted().starts_with("it is the") && scene.calls.len() <= 4, "{}", scene.calls.len());
        assert!(scene.failed() <= 4, "an account's failure is last for its worker, which stops");
    }
    // After answers, no credit ends it at once all the same.
    let mut scene = Scene::new(60, |config| config.limits.concurrency = Limit::at(1));
    scene.play(600.0, |_, which| if which < 5 { good() } else { failed(FailureKind::Account) });
    assert_eq!((scene.answered(), scene.halted()), (5, "it is the account"));
}

#[test]
fn prompts_that_are_refused_stay_the_records_own() {
    let mut scene = Scene::new(60, |_| ());
    scene.play(600.0, |_, which| if which % 10 == 3 { failed(FailureKind::Prompt) } else { good() });
    assert_eq!((scene.answered(), scene.failed(), scene.stopped()), (54, 6, 0));
    assert_eq!(scene.calls.len(), 60, "a refused prompt is not sent again");
}

#[test]
fn a_share_of_failed_questions_above_the_bound_ends_the_run() {
    let play = |share: f64, bad: u64| {
        let mut scene = Scene::new(100, |config| {
            config.proposer.max_failed_share = share;
            config.limits.concurrency = Limit::at(1);
        });
        scene.play(
            600.0,
            |_, which| if which % 10 >= 10 - bad { failed(FailureKind::Prompt) } else { good() },
        );
        scene
    };
    assert_eq!(play(0.2, 2).failed(), 20, "at the bound it goes on");
    assert_eq!(play(1.0, 10).failed(), 100, "1: never");
    for (share, bad) in [(0.2, 4), (0.0, 1), (0.5, 10)] {
        let scene = play(share, bad);
        let ended = scene.answered() + scene.failed();
        assert!((19..30).contains(&ended), "{ended} of 100 at {share}: not before the 20th, and soon after");
        for needed in ["proposer.max_failed_share", "it is the prompt"] {
            assert!(scene.halted().contains(needed), "{}", scene.halted());
        }
    }
}

#[test]
fn a_long_wait_that_the_provider_asks_for_is_said_and_bounded() {
    let mut scene = Scene::new(10, |config| {
        config.proposer.outage_minutes = 20;
        config.proposer.retry_seconds = 300;
    });
    scene.play(10.0, |_, _| throttled(86_400.0));
    let status = scene.bench.state.statuses(scene.bench.now).remove(&id("r")).unwrap();
    let wait = status.waits_for.unwrap();
    assert!(wait.contains("asks to wait until") && wait.contains("429: slow down"), "{wait}");
    let hours = status.paused_until_ms.unwrap().saturating_sub(crate::clock::unix_ms()) / 3_600_000;
    assert!((23..=24).contains(&hours), "{hours} h");
    scene.play(3600.0, |_, _| throttled(86_400.0));
    assert_eq!((scene.failed(), scene.stopped()), (0, 10));
    assert!((1199.0..1210.0).contains(&scene.bench.now), "{}", scene.bench.now);
    assert!(scene.calls.len() < 30, "{} calls", scene.calls.len());
    assert!(scene.halted().contains("429: slow down"), "{}", scene.halted());
}

#[test]
fn a_run_that_rests_does_not_wait() {
    let mut scene = Scene::new(1, |config| config.proposer.outage_minutes = 1);
    scene.play(1.0, |_, _| passing());
    // The worker is gone; another comes after hours.
    scene.bench.state.disconnected(scene.bench.now, StreamId(1));
    scene.bench.take();
    scene.bench.pass(7200.0);
    assert!(scene.bench.halted.is_empty(), "nothing waits: {:?}", scene.bench.halted);
    scene.bench.open(1, "w");
    scene.questions.clear();
    (0..5).for_each(|question| scene.ask(question));
    scene.play(30.0, |_, _| good());
    assert_eq!((scene.answered(), scene.stopped()), (5, 0));
}
