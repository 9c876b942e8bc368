//! Per-worker throughput estimates, used to size the next shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ids::WorkerName;

use crate::clock::Monotonic;

/// Work that should not be split further, in ms of its worker: a lease has its price too.
const SMALLEST_MS: f64 = 20.0;

/// The same in records, while no worker's pace is known.
const SMALLEST_RECORDS: f64 = 16.0;

/// How much of what was measured stays when something new is.
const MEMORY: f64 = 0.7;

/// While there are that many shards for every worker, nobody needs a smaller one.
const PLENTY: u64 = 4;

/// What every worker of the run holds, and its pace.
#[derive(Debug, Default)]
pub(super) struct Throughputs {
    workers: BTreeMap<Arc<WorkerName>, Throughput>,
    held: u64,
}

/// One worker's pace: a decaying sum of records over a decaying sum of the time they took.
#[derive(Debug, Clone, Default)]
struct Throughput {
    records: f64,
    ms: f64,
    /// Since when it works on what it holds.
    since: Monotonic,
    held: u64,
}

/// What is left to be leased, and among how many workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) waiting: u64,
    pub(super) fleet: u32,
}

impl Throughput {
    /// Records a ms.
    fn rate(&self) -> Option<f64> {
        (self.ms > 0.0).then(|| self.records / self.ms)
    }
}

impl Throughputs {
    /// `worker` holds `len` records more.
    pub(super) fn took(&mut self, now: Monotonic, worker: &Arc<WorkerName>, len: u32) {
        let throughput = self.workers.entry(Arc::clone(worker)).or_default();
        if throughput.held == 0 {
            throughput.since = now;
        }
        throughput.held += u64::from(len);
        self.held += u64::from(len);
    }

    /// `worker` has committed `len` records of what it holds.
    pub(super) fn done(&mut self, now: Monotonic, worker: &WorkerName, len: u32) {
        if let Some(throughput) = self.workers.get_mut(worker) {
            throughput.records = throughput.records * MEMORY + f64::from(len);
            throughput.ms = throughput.ms * MEMORY + now.since(throughput.since) as f64;
            throughput.since = now;
        }
    }

    /// `worker` holds `len` records less.
    pub(super) fn dropped(&mut self, worker: &WorkerName, len: u32) {
        if let Some(throughput) = self.workers.get_mut(worker) {
            let len = throughput.held.min(u64::from(len));
            throughput.held -= len;
            self.held -= len;
        }
    }

    /// `worker` may be gone for good: it is not remembered unless it holds something.
    pub(super) fn forget_idle(&mut self, worker: &WorkerName) {
        if self.workers.get(worker).is_some_and(|throughput| throughput.held == 0) {
            self.workers.remove(worker);
        }
    }

    /// Since when `worker` works on what it holds.
    pub(super) fn since(&self, worker: &WorkerName) -> Option<Monotonic> {
        self.workers.get(worker).map(|throughput| throughput.since)
    }

    /// The pace of `worker` in records a ms, as far as it is known.
    pub(super) fn rate(&self, worker: &WorkerName) -> Option<f64> {
        self.workers.get(worker).and_then(Throughput::rate)
    }

    /// How long `worker` will need for `len` records more, in ms; a stranger is taken for an average worker.
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

    /// How much of a shard of `len` records `worker` should get: all of it while there is plenty; then half of what it
    /// can do until the others have done the rest, so that all end together.
    pub(super) fn piece(&self, worker: &WorkerName, len: u32, work: Work) -> u32 {
        let fleet = work.fleet.max(1);
        if work.waiting >= PLENTY * u64::from(fleet) * u64::from(len) {
            return len;
        }
        let average = self.average();
        let typical = average.unwrap_or(1.0);
        let mine = self.rate(worker).unwrap_or(typical);
        let others = self.workers.iter().filter(|(name, _)| ***name != *worker);
        let known: Vec<f64> = others.filter_map(|(_, throughput)| throughput.rate()).collect();
        let strangers = f64::from(fleet - 1) - known.len() as f64;
        let all = mine + known.iter().sum::<f64>() + strangers.max(0.0) * typical;
        let held = self.workers.get(worker).map_or(0, |throughput| throughput.held);
        let share = mine * (work.waiting + self.held) as f64 / all - held as f64;
        let smallest = if average.is_some() { mine * SMALLEST_MS } else { SMALLEST_RECORDS };
        let mut piece = len;
        while piece > 1 && f64::from(piece) > share / 2.0 && f64::from(piece) >= 2.0 * smallest {
            piece = piece.div_ceil(2);
        }
        piece
    }
}
