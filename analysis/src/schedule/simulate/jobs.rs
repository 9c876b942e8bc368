//! Jobs with arrival, service times and success, drawn from measured records.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand_distr::{Distribution as _, Exp};
use rand_pcg::Pcg64Mcg;

use crate::load::cases::Case;
use crate::risk::RiskTable;
use crate::schedule::{Replicas, RolloutTimes};

/// An attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Try {
    /// Service time.
    pub(crate) seconds: f64,
    /// Whether it closes the violation.
    pub(crate) succeeds: bool,
}

/// A repair in the queue, with the predetermined results of its attempts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// In seconds.
    pub(crate) arrival: f64,
    /// Its policy, as an index of the pool's arms.
    pub(crate) arm: usize,
    pub(crate) risk: f64,
    /// All allowed attempts; those after a success do not happen.
    pub(crate) tries: Vec<Try>,
}

impl Job {
    /// Seconds of service until success or the last attempt, and whether it succeeds.
    pub(crate) fn service(&self) -> (f64, bool) {
        let mut seconds = 0.0;
        for attempt in &self.tries {
            seconds += attempt.seconds;
            if attempt.succeeds {
                return (seconds, true);
            }
        }
        (seconds, false)
    }
}

/// A policy with its measurements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arm {
    pub(crate) policy: String,
    pub(crate) risk: f64,
    /// Share of its judged records that were accepted.
    pub(crate) probability: f64,
    /// Service times of its records.
    pub(crate) seconds: Vec<f64>,
    /// Mean of `seconds`.
    pub(crate) mean: f64,
}

/// The arrivals of jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrivals {
    /// All at the start.
    Backlog,
    /// A Poisson process with this offered load.
    Load(f64),
}

/// Judged records to draw from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pool {
    /// The policies, in alphabetical order.
    pub(crate) arms: Vec<Arm>,
    /// The arm of each record.
    records: Vec<usize>,
    /// Number of records without a measured time to propose and verify: their rollout alone is their service time.
    pub(crate) unmeasured: usize,
}

impl Pool {
    /// The judged records. The service time of one is what its rollout takes, plus the measured time to propose and verify.
    pub(crate) fn of(cases: &[Case], times: &RolloutTimes, replicas: &Replicas) -> Self {
        let mut policies: BTreeMap<&str, (u64, u64, Vec<f64>)> = BTreeMap::new();
        let mut unmeasured = 0;
        for case in cases.iter().filter(|case| case.judged) {
            let (judged, accepted, seconds) = policies.entry(&case.policy).or_default();
            *judged += 1;
            *accepted += u64::from(case.accepted);
            let computed = case.times.seconds().filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            unmeasured += usize::from(computed.is_none());
            let rollout = times.minutes(&case.kind, &case.policy, replicas.of(&case.run, &case.id)) * 60.0;
            seconds.push(rollout + computed.unwrap_or(0.0));
        }
        let arms: Vec<Arm> = policies
            .into_iter()
            .filter(|(_, (_, _, seconds))| seconds.iter().sum::<f64>() > 0.0)
            .map(|(policy, (judged, accepted, seconds))| Arm {
                policy: policy.to_owned(),
                risk: RiskTable::PolicyMetrics.risk(policy),
                probability: accepted as f64 / judged.max(1) as f64,
                mean: seconds.iter().sum::<f64>() / seconds.len() as f64,
                seconds,
            })
            .collect();
        let records =
            arms.iter().enumerate().flat_map(|(place, arm)| vec![place; arm.seconds.len()]).collect();
        Self { arms, records, unmeasured }
    }

    /// Number of records that can be drawn.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Mean seconds of a record.
    pub(crate) fn mean(&self) -> f64 {
        let sum: f64 = self.arms.iter().flat_map(|arm| &arm.seconds).sum();
        sum / self.len().max(1) as f64
    }

    /// Draws `n` jobs: the policy of a record, and for each of `attempts` one of the policy's service times, and
    /// success with the policy's measured probability.
    pub(crate) fn draw(
        &self,
        n: usize,
        attempts: u32,
        servers: usize,
        arrivals: Arrivals,
        random: &mut Pcg64Mcg,
    ) -> Vec<Job> {
        if self.is_empty() {
            return vec![];
        }
        let mut jobs: Vec<Job> = (0..n)
            .filter_map(|_| {
                let arm = *self.records.get(random.random_range(0..self.records.len()))?;
                let of = self.arms.get(arm)?;
                let tries = (0..attempts.max(1)).filter_map(|_| {
                    let seconds = *of.seconds.get(random.random_range(0..of.seconds.len()))?;
                    Some(Try { seconds, succeeds: random.random_bool(of.probability.clamp(0.0, 1.0)) })
                });
                Some(Job { arrival: 0.0, arm, risk: of.risk, tries: tries.collect() })
            })
            .collect();
        if let Arrivals::Load(load) = arrivals {
            let work = jobs.iter().map(|job| job.service().0).sum::<f64>() / jobs.len().max(1) as f64;
            arrive(&mut jobs, load * servers as f64 / work, random);
        }
        jobs
    }
}

/// Sets the arrivals of jobs to a Poisson process with this rate per second.
pub(super) fn arrive(jobs: &mut [Job], rate: f64, random: &mut Pcg64Mcg) {
    let Ok(gap) = Exp::new(rate) else { return };
    let mut now = 0.0;
    for job in jobs {
        now += gap.sample(random);
        job.arrival = now;
    }
}
