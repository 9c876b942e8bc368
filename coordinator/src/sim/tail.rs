//! Measures how much longer than its ideal time a run takes with unequal workers: the lease protocol alone in virtual time,
//! with a cost for each record and each lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::ids::{FencingToken, ShardIndex, WorkerName};
use domain::run::Cut;

use crate::clock::Monotonic;
use crate::scheduler::leases::{Grant, LeaseTerms, Leases, Speculation};

const TERMS: LeaseTerms = LeaseTerms { ttl_ms: 30_000, max_lost: 3 };

/// A worker with one slot that prefetches one shard.
#[derive(Debug)]
struct Member {
    name: Arc<WorkerName>,
    us_per_record: u64,
    from_ms: u64,
    until_ms: u64,
    /// Its leases, in order.
    held: Vec<Grant>,
    /// When the first of them will be done.
    done_ms: u64,
}

/// Simulates a run; returns its time and the records that each worker committed.
fn simulate(cut: Cut, fleet: &[(u64, u64, u64)]) -> (u64, Vec<u64>) {
    let mut leases = Leases::new(cut, TERMS);
    let member = |(number, (us_per_record, from_ms, until_ms)): (usize, &(u64, u64, u64))| Member {
        name: Arc::new(WorkerName::new(format!("w{number}")).unwrap()),
        us_per_record: *us_per_record,
        from_ms: *from_ms,
        until_ms: *until_ms,
        held: Vec::new(),
        done_ms: u64::MAX,
    };
    let mut members: Vec<Member> = fleet.iter().enumerate().map(member).collect();
    let mut committed = vec![0; members.len()];
    let mut gone = BTreeSet::new();
    for ms in 0..10_000_000 {
        let now = Monotonic(ms);
        let here = |member: &Member| member.from_ms <= ms && ms < member.until_ms;
        let count = u32::try_from(members.iter().filter(|member| here(member)).count()).unwrap_or(u32::MAX);
        for (number, member) in members.iter_mut().enumerate() {
            if !here(member) {
                if ms >= member.until_ms && gone.insert(number) {
                    leases.disconnected(now, &member.name);
                }
                continue;
            }
            if ms % TERMS.heartbeat_ms() == 0 {
                member.held.retain(|grant| leases.renew(now, grant.shard.index, grant.token).is_ok());
            }
            member.step(&mut leases, now, count, &mut committed[number]);
        }
        if leases.is_complete() {
            return (ms, committed);
        }
        leases.expire(now, now);
    }
    panic!("the run does not end: {leases:?}");
}

impl Member {
    fn step(&mut self, leases: &mut Leases, now: Monotonic, fleet: u32, committed: &mut u64) {
        if now.0 >= self.done_ms && !self.held.is_empty() {
            let grant = self.held.remove(0);
            self.done_ms = u64::MAX;
            if leases.admit(grant.shard.index, grant.token).is_ok() {
                leases.mark_committed(now, grant.shard.index).unwrap();
                *committed += u64::from(grant.shard.len);
            }
        }
        while self.held.len() < 2 {
            let grant = leases.grant(now, &self.name, fleet).or_else(|| {
                match leases.speculate(now, &self.name, fleet) {
                    Speculation::Granted(grant) => Some(grant),
                    _ => None,
                }
            });
            let Some(grant) = grant else { break };
            assert!(leases.confirm(&grant));
            self.held.push(grant);
        }
        if self.done_ms == u64::MAX
            && let Some(first) = self.held.first()
        {
            // A lease costs two ms of messages and syncs.
            self.done_ms = now.0 + 2 + u64::from(first.shard.len) * self.us_per_record / 1000;
        }
    }
}

/// The shortest possible time with these workers, in ms.
fn ideal(records: u32, us_per_record: &[u64]) -> f64 {
    let rate: f64 = us_per_record.iter().map(|us| 1000.0 / *us as f64).sum();
    f64::from(records) / rate
}

const RULES_FULL: Cut = Cut { records: 13_656, shard_size: 250 };

#[test]
fn one_slow_worker_of_four_makes_no_long_tail() {
    for us in [1_000, 10_000] {
        let rates = [us, us, us, 10 * us];
        let (ms, committed) = simulate(RULES_FULL, &rates.map(|us| (us, 0, u64::MAX)));
        let ideal = ideal(RULES_FULL.records, &rates);
        let over = ms as f64 / ideal;
        println!("{us} us a record: {ms} ms, ideal {ideal:.0} ms, {over:.3}; {committed:?}");
        assert!(over <= 1.10, "{ms} ms instead of {ideal:.0}: {over:.3}; {committed:?}");
    }
}

#[test]
fn equal_workers_end_together() {
    let rates = [5_000; 4];
    let (ms, _) = simulate(RULES_FULL, &rates.map(|us| (us, 0, u64::MAX)));
    let over = ms as f64 / ideal(RULES_FULL.records, &rates);
    println!("equal: {over:.3}");
    assert!(over <= 1.05, "{over:.3}");
}

#[test]
fn a_joining_worker_is_used_at_once_and_a_lost_one_costs_a_heartbeat_at_most() {
    let us = 10_000;
    // Three from the beginning, a fourth after 20 s.
    let fleet = [(us, 0, u64::MAX), (us, 0, u64::MAX), (us, 0, u64::MAX), (us, 20_000, u64::MAX)];
    let (ms, committed) = simulate(RULES_FULL, &fleet);
    // 60 records in the first 20 s are missing from the fourth's quarter.
    let best = (f64::from(RULES_FULL.records) * us as f64 / 1000.0 + 20_000.0) / 4.0;
    println!("joins: {ms} ms, best {best:.0}; {committed:?}");
    assert!((ms as f64) <= best + TERMS.heartbeat_ms() as f64, "{ms} instead of {best}");

    // Four, of which one is lost after 30 s: its shards are processed again, at most a heartbeat later.
    let fleet = [(us, 0, u64::MAX), (us, 0, u64::MAX), (us, 0, u64::MAX), (us, 0, 30_000)];
    let (ms, committed) = simulate(RULES_FULL, &fleet);
    let lost = 2.0 * 250.0 * us as f64 / 1000.0;
    let best = (f64::from(RULES_FULL.records) * us as f64 / 1000.0 - 30_000.0 + lost) / 3.0;
    println!("leaves: {ms} ms, best {best:.0}; {committed:?}");
    assert!((ms as f64) <= best + TERMS.heartbeat_ms() as f64, "{ms} instead of {best}");
}

#[test]
fn speculation_between_two_workers_is_bounded() {
    let mut leases = Leases::new(Cut { records: 8, shard_size: 8 }, TERMS);
    let names = ["a", "b"].map(|name| Arc::new(WorkerName::new(name).unwrap()));
    let mut taken: BTreeMap<(ShardIndex, FencingToken), u64> = BTreeMap::new();
    let first = leases.grant(Monotonic(0), &names[0], 1).unwrap();
    leases.confirm(&first);
    for ms in 1..500_000 {
        for (shard, token) in names.iter().flat_map(|name| leases.held_by(name)).collect::<Vec<_>>() {
            let _ = leases.renew(Monotonic(ms), shard, token);
        }
        for name in &names {
            if let Speculation::Granted(grant) = leases.speculate(Monotonic(ms), name, 2) {
                leases.confirm(&grant);
                taken.insert((grant.shard.index, grant.token), ms);
            }
        }
    }
    assert!(taken.len() <= 3 * 8, "{taken:?}");
}
