//! Per-worker throughput estimates, used to size the next shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ids::WorkerName;

use crate::clock::Monotonic;

/// Least work of a split shard in ms of its worker: smaller ones would cost more than they save.
const MIN_WORK_MS: f64 = 20.0;

/// The same in records, while no throughput is known.
const MIN_RECORDS: f64 = 16.0;

/// Weight of earlier measurements at each new one.
const DECAY: f64 = 0.7;

/// While so many shards wait for each worker, shards are not split to balance the end of the run.
const SHARDS_PER_WORKER: u64 = 4;

/// Records held by, and throughput of, each worker of the run.
#[derive(Debug, Default)]
pub(super) struct Throughputs {
    workers: BTreeMap<Arc<WorkerName>, Throughput>,
    held: u64,
}

/// Throughput of one worker: a decaying sum of records over a decaying sum of their processing time.
#[derive(Debug, Clone, Default)]
struct Throughput {
    records: f64,
    ms: f64,
    /// When it began to work on what it holds.
    since: Monotonic,
    held: u64,
}

/// Records that wait to be leased, and the number of workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) waiting: u64,
    pub(super) fleet: u32,
}

impl Throughput {
    /// Records per millisecond.
    fn rate(&self) -> Option<f64> {
        (self.ms > 0.0).then(|| self.records / self.ms)
    }
}

impl Throughputs {
    /// Adds `len` records to those that `worker` holds.
    pub(super) fn took(&mut self, now: Monotonic, worker: &Arc<WorkerName>, len: u32) {
        let throughput = self.workers.entry(Arc::clone(worker)).or_default();
        if throughput.held == 0 {
            throughput.since = now;
        }
        throughput.held += u64::from(len);
        self.held += u64::from(len);
    }

    /// Measures the throughput of `worker` at a commit of `len` records.
    pub(super) fn done(&mut self, now: Monotonic, worker: &WorkerName, len: u32) {
        if let Some(throughput) = self.workers.get_mut(worker) {
            throughput.records = throughput.records * DECAY + f64::from(len);
            throughput.ms = throughput.ms * DECAY + now.since(throughput.since) as f64;
            throughput.since = now;
        }
    }

    /// Subtracts `len` records from those that `worker` holds.
    pub(super) fn dropped(&mut self, worker: &WorkerName, len: u32) {
        if let Some(throughput) = self.workers.get_mut(worker) {
            let len = throughput.held.min(u64::from(len));
            throughput.held -= len;
            self.held -= len;
        }
    }

    /// Removes `worker`, which may not come back, unless it holds records.
    pub(super) fn remove_idle(&mut self, worker: &WorkerName) {
        if self.workers.get(worker).is_some_and(|throughput| throughput.held == 0) {
            self.workers.remove(worker);
        }
    }

    /// When `worker` began to work on what it holds.
    pub(super) fn since(&self, worker: &WorkerName) -> Option<Monotonic> {
        self.workers.get(worker).map(|throughput| throughput.since)
    }

    /// Throughput of `worker` in records per millisecond, if known.
    pub(super) fn rate(&self, worker: &WorkerName) -> Option<f64> {
        self.workers.get(worker).and_then(Throughput::rate)
    }

    /// Time that `worker` will need for `len` more records, in ms; a worker without measurements counts as average.
    pub(super) fn expected_ms(&self, worker: &WorkerName, len: u32) -> Option<f64> {
        let rate = self.rate(worker).or_else(|| self.average())?;
        let held = self.workers.get(worker).map_or(0, |throughput| throughput.held);
        Some((held as f64 + f64::from(len)) / rate)
    }

    fn average(&self) -> Option<f64> {
        let rates = self.workers.values().filter_map(Throughput::rate);
        let (sum, count) = rates.fold((0.0, 0.0), |(sum, count), rate| (sum + rate, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    /// How many records of a shard of `len` records to lease to `worker`: all while many shards wait; later half of its share
    /// of the remaining work, so that all workers end together.
    pub(super) fn piece(&self, worker: &WorkerName, len: u32, work: Work) -> u32 {
        let fleet = work.fleet.max(1);
        if work.waiting >= SHARDS_PER_WORKER * u64::from(fleet) * u64::from(len) {
            return len;
        }
        let average = self.average();
        let typical = average.unwrap_or(1.0);
        let own = self.rate(worker).unwrap_or(typical);
        let others = self.workers.iter().filter(|(name, _)| ***name != *worker);
        let known: Vec<f64> = others.filter_map(|(_, throughput)| throughput.rate()).collect();
        let unmeasured = f64::from(fleet - 1) - known.len() as f64;
        let all = own + known.iter().sum::<f64>() + unmeasured.max(0.0) * typical;
        let held = self.workers.get(worker).map_or(0, |throughput| throughput.held);
        let share = own * (work.waiting + self.held) as f64 / all - held as f64;
        let smallest = if average.is_some() { own * MIN_WORK_MS } else { MIN_RECORDS };
        let mut piece = len;
        while piece > 1 && f64::from(piece) > share / 2.0 && f64::from(piece) >= 2.0 * smallest {
            piece = piece.div_ceil(2);
        }
        piece
    }
}
