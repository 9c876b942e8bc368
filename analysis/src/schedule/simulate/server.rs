//! The servers and the simulated clock.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::jobs::{Arm, Job};
use super::rule::{JobQueue, Rule};
use crate::stats::random;

/// The result of a job, in seconds of the simulated clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Served {
    /// First start.
    pub(crate) started: f64,
    /// 0-based rank among the first starts.
    pub(crate) rank: usize,
    /// Success; `None`: no attempt succeeded.
    pub(crate) closed: Option<f64>,
    /// End of its last attempt.
    pub(crate) ended: f64,
}

/// An attempt in service.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Busy {
    until: f64,
    job: usize,
    attempt: usize,
}

impl Eq for Busy {}

impl Ord for Busy {
    fn cmp(&self, other: &Self) -> Ordering {
        self.until.total_cmp(&other.until).then(self.job.cmp(&other.job))
    }
}

impl PartialOrd for Busy {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Simulates `servers` that serve `jobs` (sorted by arrival) under a rule. `alpha` is the weight of waiting for one
/// mean service time; `seed` is for the rule's own draws.
pub(crate) fn serve(
    jobs: &[Job],
    arms: &[Arm],
    rule: Rule,
    servers: usize,
    alpha: f64,
    seed: u64,
) -> Vec<Served> {
    let tries: usize = jobs.iter().map(|job| job.tries.len()).sum();
    let work: f64 = jobs.iter().flat_map(|job| &job.tries).map(|attempt| attempt.seconds).sum();
    let unit = if work > 0.0 { work / tries as f64 } else { 1.0 };
    let mut queue = JobQueue::new(rule, arms, alpha, unit, random(seed));
    let mut served = vec![Served::default(); jobs.len()];
    let mut attempts = vec![0_usize; jobs.len()];
    let mut busy: BinaryHeap<Reverse<Busy>> = BinaryHeap::new();
    let (mut arrived, mut started) = (0, 0);
    loop {
        let arrival = jobs.get(arrived).map(|job| job.arrival);
        let end = busy.peek().map(|Reverse(busy)| busy.until);
        let now = match (arrival, end) {
            (None, None) => return served,
            (Some(arrival), Some(end)) => arrival.min(end),
            (Some(time), None) | (None, Some(time)) => time,
        };
        while let Some(Reverse(done)) = busy.peek().copied().filter(|Reverse(busy)| busy.until <= now) {
            busy.pop();
            end_try(jobs, done, &mut served, &mut queue);
        }
        while let Some(job) = jobs.get(arrived).filter(|job| job.arrival <= now) {
            queue.push(arrived, job);
            arrived += 1;
        }
        while busy.len() < servers.max(1) && !queue.is_empty() {
            let Some(index) = queue.pop() else { break };
            let (Some(job), Some(attempt)) = (jobs.get(index), attempts.get_mut(index)) else { continue };
            let Some(next) = job.tries.get(*attempt) else { continue };
            if let (0, Some(served)) = (*attempt, served.get_mut(index)) {
                served.started = now;
                served.rank = started;
                started += 1;
            }
            busy.push(Reverse(Busy { until: now + next.seconds, job: index, attempt: *attempt }));
            *attempt += 1;
        }
    }
}

fn end_try(jobs: &[Job], done: Busy, served: &mut [Served], queue: &mut JobQueue<'_>) {
    let Some(job) = jobs.get(done.job) else { return };
    let Some(attempt) = job.tries.get(done.attempt) else { return };
    queue.learn(job.arm, attempt.seconds, attempt.succeeds);
    if let Some(served) = served.get_mut(done.job) {
        served.ended = done.until;
        served.closed = attempt.succeeds.then_some(done.until);
    }
    if !attempt.succeeds && done.attempt + 1 < job.tries.len() {
        queue.push(done.job, job);
    }
}
