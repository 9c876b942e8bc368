//! The limiter against load curves, in simulated time.
//!
//! The printed table compares it with a bound on concurrency alone (AIMD: additive increase, multiplicative decrease).

use domain::budget::{BudgetLimits, Limit};
use llm::limit::{Controller, Signal, Ticket, Turn};

use crate::load::{Curve, ROUND_TRIP, Seen, Step, Strategy, WARM, curve, play};

const CURVES: [&str; 8] = ["fixed", "slow", "halving", "knee", "tokens", "neighbours", "stalls", "window"];

/// A bound on concurrency alone: one more for each round of answers, a fifth fewer at a refusal.
struct Aimd {
    inner: Controller,
    bound: f64,
    under_way: f64,
    pause: f64,
    cut_at: f64,
}

impl Strategy for Aimd {
    fn start(&mut self, now: f64, _: f64) -> Turn {
        if now < self.pause {
            return Turn::At(self.pause);
        }
        if self.under_way + 1.0 > self.bound {
            return Turn::Full;
        }
        self.under_way += 1.0;
        // Tickets come from a limiter without a limit, so that both strategies are played alike.
        self.inner.start(now * 1e6, 1.0)
    }
    fn finish(&mut self, now: f64, ticket: Ticket, signal: Signal) {
        self.inner.finish(now * 1e6, ticket, Signal::Failed);
        self.under_way -= 1.0;
        if let Signal::Throttled { retry_after, .. } = signal {
            self.pause = self.pause.max(now + retry_after.unwrap_or(0.0));
            if now > self.cut_at {
                self.bound = (self.bound * 0.8).max(1.0);
                self.cut_at = now + 3.0;
            }
        } else {
            self.bound += 1.0 / self.bound;
        }
    }
}

#[test]
fn the_limiter_keeps_close_to_every_limit() {
    let mut faults = Vec::new();
    println!("{:<12}{:>8}{:>8}{:>8}   {:>8}{:>8}", "curve", "share", "429s", "429 %", "AIMD", "429s");
    for name in CURVES {
        let curve = curve(name);
        let (mut share, mut refused, mut count) = (f64::INFINITY, 0.0_f64, 0);
        for seed in 0..5 {
            let mut ours = Controller::new(&BudgetLimits::default(), 0.0);
            let seen = play(&curve, &mut ours, seed);
            share = share.min(seen.share(&curve, WARM, curve.seconds));
            refused = refused.max(seen.refused());
            count = count.max(seen.refused_at.len());
            faults.extend(judge(name, &curve, &seen));
        }
        let aimd = aimd(&curve);
        println!(
            "{name:<12}{share:>8.3}{count:>8}{:>8.2}   {:>8.3}{:>8}",
            100.0 * refused,
            aimd.share(&curve, WARM, curve.seconds),
            aimd.refused_at.len()
        );
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn aimd(curve: &Curve) -> Seen {
    let limits = BudgetLimits {
        requests_per_minute: Limit::at(u64::from(u32::MAX) * 1000),
        concurrency: Limit::at(1_000_000),
        ..BudgetLimits::default()
    };
    let inner = Controller::new(&limits, 0.0);
    let mut strategy = Aimd { inner, bound: 8.0, under_way: 0.0, pause: 0.0, cut_at: 0.0 };
    play(curve, &mut strategy, 1)
}

fn judge(name: &str, curve: &Curve, seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            faults.push(format!("{name}: {text}"));
        }
    };
    let expect = curve.expect;
    let share = seen.share(curve, WARM, curve.seconds);
    must(share >= expect.share, format!("share {share:.3} is below {}", expect.share));
    must(seen.refused() <= expect.refused, format!("{:.2} % refused", 100.0 * seen.refused()));
    if let Some(most) = expect.latency {
        let mean = seen.latency.iter().sum::<f64>() / seen.latency.len() as f64;
        let times = mean / curve.latency.mean();
        must(times <= most, format!("latency is {times:.2} times the unloaded one"));
    }
    if let Some(most) = expect.under_way {
        must(seen.under_way <= most, format!("{} calls under way", seen.under_way));
    }
    for step in curve.requests_per_second.windows(2) {
        let (down, at) = (step[1].limit < step[0].limit, step[1].from);
        if let (true, Some(within)) = (down, expect.follows_down) {
            let late = seen
                .refused_at
                .iter()
                .filter(|when| (at + within..at + within + 15.0).contains(*when))
                .count();
            let share = seen.share(curve, at + within, at + within + 20.0);
            must(
                late <= 4 && share >= 0.9,
                format!("{within} s after the drop: {late} refused, share {share:.3}"),
            );
        }
        if let (false, Some(within)) = (down, expect.follows_up) {
            let share = seen.share(curve, at + within, at + within + 20.0);
            must(share >= 0.95, format!("{within} s after the rise: share {share:.3}"));
        }
    }
    faults
}

pub(crate) fn plain(limit: f64, seconds: f64) -> Curve {
    let mut curve = curve("fixed");
    curve.requests_per_second = vec![Step { from: 0.0, limit }];
    (curve.burst, curve.seconds) = (limit, seconds);
    curve
}

fn known(requests_per_minute: u64) -> BudgetLimits {
    BudgetLimits { requests_per_minute: Limit::at(requests_per_minute), ..BudgetLimits::default() }
}

#[test]
fn a_known_limit_is_used_and_never_exceeded() {
    for limit in [1_u32, 8, 30, 100] {
        let curve = plain(f64::from(limit), 300.0);
        let seen = play(&curve, &mut Controller::new(&known(u64::from(limit) * 60), 0.0), 3);
        assert_eq!(seen.refused_at.len(), 0, "{limit}");
        let share = seen.share(&curve, 0.0, 300.0);
        assert!(share >= 0.98, "{limit}: {share}");
    }
}

#[test]
fn a_limit_given_twice_too_high_is_corrected() {
    let curve = plain(30.0, 300.0);
    let seen = play(&curve, &mut Controller::new(&known(3600), 0.0), 3);
    let share = seen.share(&curve, 60.0, 300.0);
    assert!(share >= 0.95, "{share}");
    assert!(seen.refused() <= 0.01, "{}", seen.refused());
}

#[test]
fn a_long_retry_after_delays_sending_and_does_not_freeze_the_limit() {
    let mut curve = plain(30.0, 900.0);
    curve.burst = 60.0;
    curve.retry_after = Some(20.0);
    let seen = play(&curve, &mut Controller::new(&BudgetLimits::default(), 0.0), 3);
    // Sending stops for 20 s after each refusal; between the waits the pace is that of the limit, to the end.
    let late = seen.accepted(600.0, 900.0) / 300.0;
    assert!(late > 15.0, "{late} calls a second");
    assert!(!seen.refused_at.is_empty(), "no call was refused");
    for refused in &seen.refused_at {
        let silent = seen.accepted(refused + ROUND_TRIP + 0.01, refused + 20.0);
        assert!(silent < 1.0, "{silent} calls while asked to wait at {refused}");
    }
}

#[test]
fn refusals_that_do_not_depend_on_the_pace_do_not_stop_calls() {
    for limits in [known(1800), BudgetLimits::default()] {
        let mut controller = Controller::new(&limits, 0.0);
        let mut random = fastrand::Rng::with_seed(5);
        let (mut now, mut calls) = (0.0, 0);
        while now < 600.0 {
            match controller.start(now, 1000.0) {
                Turn::Go(ticket) => {
                    calls += 1;
                    let signal = if random.f64() < 0.1 {
                        Signal::Throttled { retry_after: None, scarce: llm::limit::Scarce::Requests }
                    } else {
                        Signal::Answered { tokens: 1000.0 }
                    };
                    controller.finish(now + 0.05, ticket, signal);
                }
                Turn::At(then) => now = then,
                Turn::Full => now += 0.1,
            }
        }
        let least = if limits.requests_per_minute.known().is_some() { 1500 } else { 60 };
        assert!(calls > least, "{calls} calls in ten minutes");
    }
}

#[test]
fn a_pace_that_is_not_used_is_not_raised() {
    let mut controller = Controller::new(&BudgetLimits::default(), 0.0);
    let before = controller.pace();
    for call in 0..600 {
        // One call a second, answered at once: the limit is never reached.
        let now = f64::from(call);
        let Turn::Go(ticket) = controller.start(now, 1000.0) else { panic!("refused at {now}") };
        controller.finish(now + 0.5, ticket, Signal::Answered { tokens: 1000.0 });
    }
    assert!(controller.pace() <= before * 1.01, "{} from {before}", controller.pace());
}

#[test]
fn failures_and_unsent_calls_do_not_change_the_limit() {
    let curve = plain(30.0, 120.0);
    let mut controller = Controller::new(&BudgetLimits::default(), 0.0);
    play(&curve, &mut controller, 3);
    let (pace, measured) = (controller.pace(), controller.measured());
    let mut now = 121.0;
    for call in 0..500 {
        now += 0.001;
        if let Turn::Go(ticket) = controller.start(now, 1000.0) {
            let signal = if call % 2 == 0 { Signal::Failed } else { Signal::Unsent };
            controller.finish(now, ticket, signal);
        }
    }
    assert_eq!(controller.measured(), measured);
    assert!(controller.pace() >= pace, "{} from {pace}", controller.pace());
}

#[test]
fn a_permit_of_an_unsent_call_is_returned() {
    let mut controller = Controller::new(&known(60), 0.0);
    for _ in 0..1000 {
        let Turn::Go(ticket) = controller.start(0.0, 500.0) else { panic!("a permit leaked") };
        controller.finish(0.0, ticket, Signal::Unsent);
    }
    assert_eq!(controller.under_way(), 0);
    let Turn::Go(_ticket) = controller.start(0.0, 500.0) else { panic!("the rate leaked") };
    assert!(matches!(controller.start(0.0, 500.0), Turn::At(then) if then > 0.9));
}

#[test]
fn latency_is_that_of_the_call_alone() {
    // The wait after a refused call is not latency: retried calls are not slow.
    let curve = plain(30.0, 200.0);
    let mut controller = Controller::new(&BudgetLimits::default(), 0.0);
    let seen = play(&curve, &mut controller, 3);
    let mean = seen.latency.iter().sum::<f64>() / seen.latency.len() as f64;
    assert!((mean - curve.latency.mean()).abs() < 0.2, "{mean}");
    assert!(seen.share(&curve, 60.0, 200.0) > 0.95);
}

#[test]
fn a_lower_advertised_limit_is_adopted() {
    let mut controller = Controller::new(&known(1800), 0.0);
    controller.advertised_limit(1.0, Some(600), None);
    assert!((controller.pace() - 10.0).abs() < 1e-9);
    assert_eq!(controller.known(), Some(10.0));
    controller.advertised_limit(2.0, Some(6000), None);
    assert_eq!(controller.known(), Some(10.0), "a call in flight reports the old limit");
    controller.advertised_limit(9.0, Some(6000), None);
    assert_eq!(controller.known(), Some(30.0), "the higher limit is adopted up to the configured one");
    assert!(controller.pace() < 10.1, "the pace grows gradually");
}

#[test]
fn a_limit_that_the_provider_raises_again_is_used_again() {
    let mut controller = Controller::new(&BudgetLimits::default(), 0.0);
    let advertised = |now: f64| if (60.0..120.0).contains(&now) { 15.0 } else { 30.0 };
    let mut curve = plain(30.0, 180.0);
    curve.requests_per_second =
        [0.0, 60.0, 120.0].map(|from| Step { from, limit: advertised(from) }).to_vec();
    let mut advertising = Advertising { inner: &mut controller, advertised };
    let seen = play(&curve, &mut advertising, 3);
    assert!(seen.refused() < 0.01, "{}", seen.refused());
    assert!(seen.share(&curve, 150.0, 180.0) > 0.97, "{}", seen.share(&curve, 150.0, 180.0));
}

/// A limiter whose provider advertises the limit with every reply.
struct Advertising<'a> {
    inner: &'a mut Controller,
    advertised: fn(f64) -> f64,
}

impl Strategy for Advertising<'_> {
    fn start(&mut self, now: f64, tokens: f64) -> Turn {
        self.inner.start(now, tokens)
    }
    fn finish(&mut self, now: f64, ticket: Ticket, signal: Signal) {
        self.inner.finish(now, ticket, signal);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
        self.inner.advertised_limit(now, Some(((self.advertised)(now) * 60.0) as u64), None);
    }
}

#[test]
fn a_call_that_was_under_way_before_counts_and_is_waited_for() {
    let mut controller = Controller::new(&known(60), 0.0);
    let adopted: Vec<Ticket> = (0..5).map(|_| controller.adopt(0.0, 500.0)).collect();
    assert_eq!(controller.under_way(), 5);
    let Turn::At(then) = controller.start(0.0, 500.0) else { panic!("five calls were taken") };
    assert!((then - 5.0).abs() < 1e-6, "{then}");
    for ticket in adopted {
        controller.finish(0.01, ticket, Signal::Answered { tokens: 500.0 });
    }
    assert_eq!(controller.under_way(), 0);
    // Their latency is unknown and not 10 ms, so the bound on calls in flight stays high.
    let held: Vec<Turn> = (0..4).map(|call| controller.start(10.0 + f64::from(call), 500.0)).collect();
    assert!(held.iter().all(|turn| matches!(turn, Turn::Go(_))), "{held:?}");
}

#[test]
fn a_new_limit_of_the_user_counts_in_place_of_the_old_one() {
    let mut controller = Controller::new(&known(600), 0.0);
    controller.allow(1.0, &known(1800));
    assert!((controller.pace() - 30.0).abs() < 1e-9);
    controller.allow(2.0, &BudgetLimits::default());
    assert!((controller.pace() - 30.0).abs() < 1e-9, "auto leaves the limit as it is");
    controller.advertised_limit(3.0, Some(300), None);
    controller.allow(4.0, &known(60));
    assert!((controller.pace() - 1.0).abs() < 1e-9);

    let mut learnt = Controller::new(&BudgetLimits::default(), 0.0);
    play(&plain(30.0, 120.0), &mut learnt, 3);
    let pace = learnt.pace();
    learnt.allow(121.0, &known(180_000));
    assert!(
        learnt.pace() <= pace,
        "a measured pace is more reliable than a configured limit: {}",
        learnt.pace()
    );
}
