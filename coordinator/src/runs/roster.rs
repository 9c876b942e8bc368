//! Who is connected, what each worker has done since, and how fast. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;

use domain::ids::WorkerName;
use proto::convert::WorkerStatus;

use super::{Book, Runs};
use crate::leases::Moment;

/// What a rate looks back on.
const WINDOW_MS: u64 = 60_000;

/// What is counted together.
const BUCKET_MS: u64 = 2_000;

/// How long a name is kept for a worker that joined and has not connected yet.
const PROMISE_MS: u64 = 5_000;

/// Records a second over the last minute.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    since: Moment,
    buckets: VecDeque<(Moment, u64)>,
}

impl Rate {
    /// Nothing has been counted yet.
    pub(crate) fn since(now: Moment) -> Self {
        Self { since: now, buckets: VecDeque::new() }
    }

    /// Counts.
    pub(crate) fn add(&mut self, now: Moment, records: u64) {
        self.forget(now);
        match self.buckets.back_mut() {
            Some((begun, count)) if now.0 < begun.0.saturating_add(BUCKET_MS) => *count += records,
            _ => self.buckets.push_back((now, records)),
        }
    }

    /// The rate now: over the last minute, or over the time since the beginning when that is less.
    pub(crate) fn per_second(&self, now: Moment) -> f64 {
        let begin = now.0.saturating_sub(WINDOW_MS);
        let counted: u64 =
            self.buckets.iter().filter(|(at, _)| at.0 >= begin).map(|(_, records)| records).sum();
        // A second at least: the first shard of all would show a rate that nobody can keep.
        let seen = now.0.saturating_sub(self.since.0.max(begin)).max(1000);
        counted as f64 * 1000.0 / seen as f64
    }

    fn forget(&mut self, now: Moment) {
        let begin = now.0.saturating_sub(WINDOW_MS);
        while self.buckets.front().is_some_and(|(at, _)| at.0 < begin) {
            self.buckets.pop_front();
        }
    }
}

/// A connected worker.
#[derive(Debug)]
pub(crate) struct Member {
    /// How many streams it has open.
    pub(crate) streams: u32,
    version: String,
    slots: u32,
    connected: Moment,
    heard: Moment,
    shards: u64,
    records: u64,
    rate: Rate,
    /// Says true once the worker was told to end.
    dismissed: watch::Sender<bool>,
}

impl Member {
    /// A worker that has just come.
    pub(crate) fn new(now: Moment, slots: u32, version: String) -> Self {
        Self {
            streams: 0,
            version,
            slots,
            connected: now,
            heard: now,
            shards: 0,
            records: 0,
            rate: Rate::since(now),
            dismissed: watch::Sender::new(false),
        }
    }
}

impl Book {
    /// A name for a worker that wants to join: its own, or with a number when somebody else has it. Workers of one host
    /// join under one name, often at the same moment.
    fn promise_name(&mut self, now: Moment, wanted: WorkerName) -> WorkerName {
        self.promised.retain(|_, until| *until > now);
        let is_free =
            |name: &WorkerName| !self.workers.contains_key(name) && !self.promised.contains_key(name);
        let name = if is_free(&wanted) {
            wanted
        } else {
            let base: String = wanted.as_str().chars().take(50).collect();
            // One more number than there are names: one of them is free.
            (2..=self.workers.len() + self.promised.len() + 2)
                .filter_map(|number| WorkerName::new(format!("{base}-{number}")).ok())
                .find(is_free)
                .unwrap_or(wanted)
        };
        self.promised.insert(name.clone(), now.after(PROMISE_MS));
        name
    }

    /// The workers as clients see them, by name.
    fn roster(&self, now: Moment) -> Vec<WorkerStatus> {
        let mut leased: BTreeMap<&WorkerName, u32> = BTreeMap::new();
        for live in self.live.values() {
            for worker in live.leases.holders() {
                *leased.entry(worker).or_default() += 1;
            }
        }
        let ago = |moment: Moment| Duration::from_millis(now.0.saturating_sub(moment.0));
        self.workers
            .iter()
            .map(|(worker, member)| WorkerStatus {
                worker: worker.clone(),
                version: member.version.clone(),
                slots: member.slots,
                leased: leased.get(worker).copied().unwrap_or(0),
                shards: member.shards,
                records: member.records,
                records_per_s: member.rate.per_second(now),
                connected: ago(member.connected),
                silent: ago(member.heard),
                draining: *member.dismissed.borrow(),
            })
            .collect()
    }
}

impl Runs {
    /// The workers that are connected, by name.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let now = self.now();
        self.book().roster(now)
    }

    /// Tells a worker to finish what has begun, hand back the rest and end; `None`: nobody of that name is connected.
    pub fn dismiss(&self, worker: &WorkerName) -> Option<WorkerStatus> {
        let now = self.now();
        let status = {
            let book = self.book();
            book.workers.get(worker)?.dismissed.send_replace(true);
            book.roster(now).into_iter().find(|status| status.worker == *worker)
        };
        self.tell(false);
        status
    }

    /// A name for a worker that wants to join, which nobody else has or is about to have.
    pub fn promise_name(&self, wanted: WorkerName) -> WorkerName {
        let now = self.now();
        self.book().promise_name(now, wanted)
    }

    /// A worker's stream is open. What is given says true once the worker is to end.
    pub fn connect(&self, worker: &WorkerName, slots: u32, version: &str) -> watch::Receiver<bool> {
        let now = self.now();
        let dismissed = {
            let mut book = self.book();
            book.heard = now;
            book.promised.remove(worker);
            let version: String = version.chars().filter(|c| !c.is_control()).take(40).collect();
            let member =
                book.workers.entry(worker.clone()).or_insert_with(|| Member::new(now, slots, version));
            member.streams += 1;
            member.dismissed.subscribe()
        };
        self.tell(false);
        dismissed
    }

    /// A message of a worker has arrived.
    pub(crate) fn heard(&self, worker: &WorkerName) {
        let now = self.now();
        let mut book = self.book();
        book.heard = now;
        if let Some(member) = book.workers.get_mut(worker) {
            member.heard = now;
        }
    }

    /// A worker committed a shard.
    pub(crate) fn credit(&self, worker: &WorkerName, records: u64) {
        let now = self.now();
        if let Some(member) = self.book().workers.get_mut(worker) {
            member.heard = now;
            member.shards += 1;
            member.records += records;
            member.rate.add(now, records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_join_at_the_same_moment_get_names_of_their_own() {
        let mut book = Book::default();
        let name = |text: &str| WorkerName::new(text).unwrap();
        let mut given = |at| book.promise_name(Moment(at), name("host")).to_string();
        assert_eq!([given(0), given(0), given(1)], ["host", "host-2", "host-3"]);
        assert_eq!(given(PROMISE_MS), "host", "who does not connect in time loses it");
        book.promised.clear();
        book.workers.insert(name("host"), Member::new(Moment(0), 1, String::new()));
        assert_eq!(book.promise_name(Moment(0), name("host")), name("host-2"), "the first one is connected");
    }

    #[test]
    fn a_rate_looks_back_a_minute_and_no_further() {
        let mut rate = Rate::since(Moment(0));
        assert!(rate.per_second(Moment(0)).abs() < f64::EPSILON);
        rate.add(Moment(100), 500);
        assert!((rate.per_second(Moment(100)) - 500.0).abs() < 1e-9, "not 5,000: a second at least");
        for second in 1..=200 {
            rate.add(Moment(second * 1000), 10);
        }
        let now = rate.per_second(Moment(200_000));
        assert!((9.0..=11.0).contains(&now), "{now}");
        assert!(rate.buckets.len() <= 32, "memory does not grow: {}", rate.buckets.len());
        assert!(rate.per_second(Moment(300_000)).abs() < f64::EPSILON);
    }
}
