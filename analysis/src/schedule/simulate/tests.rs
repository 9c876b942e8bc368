//! Comparison with queueing theory, with the static orders, and of the learning rules.

use rand_distr::{Distribution as _, Exp};

use super::jobs::{Arm, Job, Pool, Try, arrive};
use super::measure::Measures;
use super::rule::Rule;
use super::server::{Served, serve};
use crate::schedule::order::{Strategy, order, waits_hours};
use crate::schedule::{Candidate, Replicas, RolloutTimes, Terms, Weights};
use crate::stats::random;

fn job(arm: usize, risk: f64, seconds: f64) -> Job {
    Job { arrival: 0.0, arm, risk, tries: vec![Try { seconds, succeeds: true }] }
}

fn arm(policy: &str, risk: f64, probability: f64, seconds: Vec<f64>) -> Arm {
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    Arm { policy: policy.to_owned(), risk, probability, seconds, mean }
}

fn mean_wait(jobs: &[Job], served: &[Served]) -> f64 {
    // The first tenth warms up.
    let skip = jobs.len() / 10;
    let waits = jobs.iter().zip(served).skip(skip).map(|(job, served)| served.started - job.arrival);
    waits.sum::<f64>() / (jobs.len() - skip) as f64
}

/// Mean wait at load 0.5 with mean service 1: 1 for M/M/1, one half for M/D/1.
fn theory(service: impl Fn(&mut rand_pcg::Pcg64Mcg) -> f64) -> f64 {
    let mut random = random(11);
    let mut jobs: Vec<Job> = (0..400_000).map(|_| job(0, 1.0, service(&mut random))).collect();
    arrive(&mut jobs, 0.5, &mut random);
    mean_wait(&jobs, &serve(&jobs, &[], Rule::Fifo, 1, 0.0, 1))
}

#[test]
fn one_server_waits_as_theory_says() {
    let exponential = Exp::new(1.0).unwrap();
    let mm1 = theory(|random| exponential.sample(random));
    assert!((mm1 - 1.0).abs() < 0.02, "M/M/1: {mm1}");
    let md1 = theory(|_| 1.0);
    assert!((md1 / 0.5 - 1.0).abs() < 0.02, "M/D/1: {md1}");
}

#[test]
fn two_servers_wait_less_than_one_of_double_speed_starts() {
    // Jobs of 2 s every second: with two servers no job waits.
    let jobs: Vec<Job> = (0..10).map(|i| Job { arrival: f64::from(i), ..job(0, 1.0, 2.0) }).collect();
    let waits = |servers| {
        let served = serve(&jobs, &[], Rule::Fifo, servers, 0.0, 1);
        jobs.iter().zip(&served).map(|(job, served)| served.started - job.arrival).collect::<Vec<_>>()
    };
    assert!(waits(2).iter().all(|wait| *wait == 0.0), "{:?}", waits(2));
    assert_eq!(waits(1).last(), Some(&9.0));
}

#[test]
fn a_static_order_is_the_simulation_of_one_server_that_learns_nothing() {
    let policies =
        [("a", 85.0, 0.9, 30.0), ("b", 40.0, 0.5, 6.0), ("c", 70.0, 0.99, 60.0), ("d", 40.0, 0.5, 6.0)];
    let arms: Vec<Arm> =
        policies.iter().map(|(policy, risk, p, seconds)| arm(policy, *risk, *p, vec![*seconds])).collect();
    let mut jobs = vec![];
    let mut candidates = vec![];
    for index in 0..40_usize {
        let place = (index * 7) % policies.len();
        let (policy, risk, probability, seconds) = policies[place];
        jobs.push(job(place, risk, seconds));
        let expected_time = seconds / 60.0;
        let terms = Terms { risk, probability, expected_time, wait: 0.0, kev: false, explore: 0.0 };
        candidates.push(Candidate {
            id: index.to_string(),
            policy: policy.into(),
            detection_index: index,
            terms,
        });
    }
    for (rule, strategy) in
        [(Rule::Told, Strategy::Score), (Rule::Fifo, Strategy::Fifo), (Rule::RiskOnly, Strategy::RiskOnly)]
    {
        let weights = Weights { alpha: 0.0, ..Weights::default() };
        let mut ordered = order(&candidates, strategy, &weights);
        if strategy == Strategy::Fifo {
            // FIFO compares ids as text among equals; no two are equal here.
            ordered.sort_unstable();
        }
        let waits = waits_hours(&candidates, &ordered);
        let served = serve(&jobs, &arms, rule, 1, 0.0, 1);
        for (rank, (place, wait)) in ordered.iter().zip(&waits).enumerate() {
            assert_eq!(served[*place].rank, rank, "{rule:?}");
            assert!((served[*place].started / 3600.0 - wait).abs() < 1e-9, "{rule:?}");
        }
    }
}

#[test]
fn what_fails_is_tried_again_and_given_up() {
    let fails = Try { seconds: 1.0, succeeds: false };
    let works = Try { seconds: 2.0, succeeds: true };
    let of = |tries: Vec<Try>| Job { tries, ..job(0, 1.0, 0.0) };
    let jobs = [of(vec![fails, works, works]), of(vec![fails, fails])];
    let served = serve(&jobs, &[arm("a", 1.0, 0.5, vec![1.0])], Rule::Fifo, 1, 0.0, 1);
    assert_eq!((served[0].closed, served[0].ended), (Some(3.0), 3.0));
    assert_eq!((served[1].started, served[1].closed, served[1].ended), (3.0, None, 5.0));
    assert_eq!(jobs[0].service(), (3.0, true));
}

fn pool() -> (Vec<Arm>, Vec<Job>) {
    // Many slow jobs of low risk that often fail, few quick ones of high risk, in a mixed backlog.
    let arms = vec![
        arm("top", 85.0, 0.95, vec![1.0]),
        arm("mid", 70.0, 0.2, vec![4.0]),
        arm("low", 40.0, 0.9, vec![1.0]),
    ];
    let jobs = (0..2000_usize)
        .map(|index| {
            let place = if index % 20 == 0 { 0 } else { 1 + index % 2 };
            let of = &arms[place];
            let succeeds = (((index / 20) % 100) as f64) < of.probability * 100.0;
            let tries = vec![Try { seconds: of.mean, succeeds }];
            Job { arrival: 0.0, arm: place, risk: of.risk, tries }
        })
        .collect();
    (arms, jobs)
}

#[test]
fn learning_comes_near_to_being_told_and_the_oracle_is_a_bound() {
    let (arms, jobs) = pool();
    let exposure = |rule| Measures::of(&jobs, &serve(&jobs, &arms, rule, 1, 0.0, 7), 100.0).exposure;
    let oracle = exposure(Rule::Oracle);
    for rule in Rule::ALL {
        assert!(exposure(rule) >= oracle * 0.999_999, "{rule:?}");
    }
    let (fifo, told) = (exposure(Rule::Fifo), exposure(Rule::Told));
    for rule in [Rule::Thompson, Rule::Ucb] {
        assert!(exposure(rule) < fifo * 0.9, "{rule:?}: {} {fifo}", exposure(rule));
        assert!(exposure(rule) < told * 1.15, "{rule:?}: {} {told}", exposure(rule));
    }
    let top = |rule| Measures::of(&jobs, &serve(&jobs, &arms, rule, 1, 0.0, 7), 100.0).bands[0].p95;
    assert!(top(Rule::Fifo) / top(Rule::Thompson) >= 5.0, "{} {}", top(Rule::Fifo), top(Rule::Thompson));
}

#[test]
fn aging_serves_those_who_waited() {
    let arms = [arm("top", 85.0, 1.0, vec![1.0]), arm("low", 40.0, 1.0, vec![1.0])];
    let mut jobs = vec![job(1, 40.0, 1.0), job(1, 40.0, 1.0)];
    jobs.extend((0..50).map(|i| Job { arrival: f64::from(i), ..job(0, 85.0, 1.0) }));
    jobs.sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
    let rank = |alpha| {
        let served = serve(&jobs, &arms, Rule::Told, 1, alpha, 1);
        jobs.iter().zip(&served).filter(|(job, _)| job.arm == 1).map(|(_, served)| served.rank).max().unwrap()
    };
    assert!(rank(0.0) > 45 && rank(10.0) < 10, "{} {}", rank(0.0), rank(10.0));
    for rule in [Rule::Thompson, Rule::Ucb] {
        let last = serve(&jobs, &arms, rule, 1, 1e6, 1)
            .iter()
            .zip(&jobs)
            .map(|(s, j)| s.started - j.arrival)
            .fold(0.0, f64::max);
        assert!(last <= 3.0, "{rule:?}: with much aging it is FIFO: {last}");
    }
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let cases: Vec<crate::load::cases::Case> = vec![];
    assert!(Pool::of(&cases, &RolloutTimes::default(), &Replicas::default()).is_empty());
    let (arms, jobs) = pool();
    let once = |seed| serve(&jobs, &arms, Rule::Thompson, 3, 0.1, seed);
    assert_eq!(once(5), once(5));
    assert_ne!(once(5), once(6));
}
