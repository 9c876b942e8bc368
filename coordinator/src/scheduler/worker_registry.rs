//! Worker registry: connected workers, and names reserved for workers that are about to connect. No I/O.
//!
//! Each step takes the time of a look-up, however many workers there are: names are numbered from a counter, and
//! reservations end in the order in which they began.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use domain::api_server::ServerIdentity;
use domain::ids::WorkerName;
use domain::scanner::ScannerVersions;
use proto::secret::SharedSecret;
use tokio::sync::watch;

use crate::clock::{Monotonic, Rate};

/// Refused parts after which a worker is drained.
pub(crate) const MAX_REFUSED_PARTS: u32 = 3;

/// How long a name is reserved for a worker that joined and has not connected yet.
const RESERVE_MS: u64 = 5_000;

/// Most workers, connected ones and those that are about to connect.
pub(crate) const MAX_WORKERS: usize = 10_000;

/// Most names that workers of one address have reserved at a time.
pub(crate) const MAX_RESERVED_BY_PEER: usize = 2_048;

/// Characters of a requested name that a numbered name keeps, so that the number fits.
const BASE_CHARS: usize = 50;

/// What a worker can do that not every worker can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The API server that it can ask.
    pub server: Option<Arc<ServerIdentity>>,
    /// Names of the programs that it can start.
    pub programs: Arc<BTreeSet<String>>,
    /// The scanners that it can start.
    pub scanners: ScannerVersions,
}

/// A connected worker: its streams, its committed records and their rate.
#[derive(Debug)]
pub(crate) struct ConnectedWorker {
    /// Number of open streams.
    pub(crate) streams: u32,
    pub(crate) version: String,
    pub(crate) slots: u32,
    pub(crate) connected: Monotonic,
    pub(crate) last_contact: Monotonic,
    pub(crate) shards: u64,
    pub(crate) records: u64,
    pub(crate) rate: Rate,
    /// Turns true when the worker has to drain.
    pub(crate) drain_requested: watch::Sender<bool>,
    /// Parts of it that were refused.
    pub(crate) refused_parts: u32,
    /// Why the coordinator drains it; `None` where a client asked for it.
    pub(crate) drained_because: Option<String>,
    /// Secret of its session.
    pub(crate) session: Option<SharedSecret>,
    /// What it can do that not every worker can.
    pub(crate) abilities: Abilities,
    /// What its records wait for; empty: they do not.
    pub(crate) waits_for: String,
}

impl ConnectedWorker {
    /// A worker that has just connected.
    pub(crate) fn new(now: Monotonic, slots: u32, version: String) -> Self {
        Self {
            streams: 0,
            version,
            slots,
            connected: now,
            last_contact: now,
            shards: 0,
            records: 0,
            rate: Rate::since(now),
            drain_requested: watch::Sender::new(false),
            refused_parts: 0,
            drained_because: None,
            session: None,
            abilities: Abilities::default(),
            waits_for: String::new(),
        }
    }

    /// Counts a refused part. After [`MAX_REFUSED_PARTS`] the worker is drained: whatever is wrong with it, more leases would
    /// only cost more losses. Returns whether this was the last one.
    pub(crate) fn refuse_part(&mut self, why: &str) -> bool {
        self.refused_parts = self.refused_parts.saturating_add(1);
        let last = self.refused_parts == MAX_REFUSED_PARTS;
        if last {
            self.drained_because =
                Some(format!("{MAX_REFUSED_PARTS} of its parts were refused, the last one: {why}"));
            self.drain_requested.send_replace(true);
        }
        last
    }
}

/// Worker registry.
#[derive(Debug, Default)]
pub(crate) struct WorkerRegistry {
    pub(crate) connected: BTreeMap<WorkerName, ConnectedWorker>,
    /// Last message of any worker.
    pub(crate) last_contact: Monotonic,
    /// Names of workers that are about to connect.
    reserved: HashMap<WorkerName, Reservation>,
    /// The reservations in the order of their ends, those that are over already included.
    ends: VecDeque<(Monotonic, WorkerName)>,
    /// Number of reservations of each address.
    by_peer: HashMap<Peer, usize>,
    /// Numbers in use, by the name that they are appended to.
    numbers: HashMap<String, Numbers>,
}

/// The address of a worker as reservations are counted by it.
pub(crate) type Peer = String;

#[derive(Debug)]
struct Reservation {
    until: Monotonic,
    peer: Peer,
    /// Secret of the worker's session.
    session: SharedSecret,
}

/// The numbers that were appended to a name.
#[derive(Debug, Default)]
struct Numbers {
    /// The largest number that was given.
    given: u32,
    /// Smaller ones that are free again.
    free: BTreeSet<u32>,
}

impl Numbers {
    /// The smallest number from 2 on that is not in use.
    fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.given = self.given.max(1) + 1;
            self.given
        })
    }

    /// Whether none is in use.
    fn is_unused(&self) -> bool {
        self.free.len() + 1 >= self.given as usize
    }
}

/// Why a name is not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// There are [`MAX_WORKERS`] workers.
    #[error("there are {MAX_WORKERS} workers already: stop some, or give each more slots (--slots) instead")]
    Full,
    /// The address has [`MAX_RESERVED_BY_PEER`] names that are not in use.
    #[error(
        "{MAX_RESERVED_BY_PEER} workers of this address have joined and not opened their streams: join again a few seconds \
         later"
    )]
    Peer,
}

impl WorkerRegistry {
    /// How many workers are connected.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.connected.len()).unwrap_or(u32::MAX)
    }

    /// Reserves a unique name for a worker of `peer`: the requested one, with a number appended where it is taken.
    /// Workers of one host join under one name, often at the same moment.
    pub(crate) fn reserve_name(
        &mut self,
        now: Monotonic,
        wanted: WorkerName,
        session: SharedSecret,
        peer: Peer,
    ) -> Result<WorkerName, JoinError> {
        self.end_reservations(now);
        if self.connected.len() + self.reserved.len() >= MAX_WORKERS {
            return Err(JoinError::Full);
        }
        let count = self.by_peer.entry(peer.clone()).or_default();
        if *count >= MAX_RESERVED_BY_PEER {
            return Err(JoinError::Peer);
        }
        *count += 1;
        let name = if self.is_free(&wanted) { wanted } else { self.numbered(wanted) };
        let until = now.after(RESERVE_MS);
        self.ends.push_back((until, name.clone()));
        self.reserved.insert(name.clone(), Reservation { until, peer, session });
        Ok(name)
    }

    /// Registers a worker's stream. A worker that joined has its name reserved; one that reconnects does not need it.
    pub(crate) fn connect(
        &mut self,
        name: &WorkerName,
        new: impl FnOnce() -> ConnectedWorker,
    ) -> Result<&mut ConnectedWorker, JoinError> {
        if !self.connected.contains_key(name) && self.connected.len() >= MAX_WORKERS {
            return Err(JoinError::Full);
        }
        let reservation = self.reserved.remove(name);
        if let Some(reservation) = &reservation {
            self.release_peer(&reservation.peer);
        }
        let worker = self.connected.entry(name.clone()).or_insert_with(new);
        worker.session = reservation.map(|reservation| reservation.session).or(worker.session);
        worker.streams += 1;
        Ok(worker)
    }

    /// Notes the end of a worker's stream. Whether it was the last one, so that the worker is not connected any more.
    pub(crate) fn disconnect(&mut self, name: &WorkerName) -> bool {
        let Some(worker) = self.connected.get_mut(name) else { return false };
        worker.streams = worker.streams.saturating_sub(1);
        if worker.streams > 0 {
            return false;
        }
        self.connected.remove(name);
        self.release_number(name);
        true
    }

    /// What a connected worker can do.
    pub(crate) fn abilities_of(&self, name: &WorkerName) -> Abilities {
        self.connected.get(name).map(|worker| worker.abilities.clone()).unwrap_or_default()
    }

    /// The API server that a connected worker can ask.
    pub(crate) fn server_of(&self, name: &WorkerName) -> Option<Arc<ServerIdentity>> {
        self.connected.get(name)?.abilities.server.clone()
    }

    fn is_free(&self, name: &WorkerName) -> bool {
        !self.connected.contains_key(name) && !self.reserved.contains_key(name)
    }

    /// The requested name with the smallest number that is free.
    fn numbered(&mut self, wanted: WorkerName) -> WorkerName {
        let base: String = wanted.as_str().chars().take(BASE_CHARS).collect();
        let mut numbers = self.numbers.remove(&base).unwrap_or_default();
        // Some numbered names may have been requested as they are: each is passed over once.
        let free = (0..=MAX_WORKERS)
            .filter_map(|_| WorkerName::new(format!("{base}-{}", numbers.take())).ok())
            .find(|name| self.is_free(name));
        self.numbers.insert(base, numbers);
        free.unwrap_or(wanted)
    }

    /// Frees the number in a name that is not in use any more.
    fn release_number(&mut self, name: &WorkerName) {
        let Some((base, number)) = name.as_str().rsplit_once('-') else { return };
        let (Ok(number), Some(numbers)) = (number.parse::<u32>(), self.numbers.get_mut(base)) else { return };
        // The name is written with this number, without leading zeros or a sign.
        if (2..=numbers.given).contains(&number) && name.as_str().ends_with(&format!("-{number}")) {
            numbers.free.insert(number);
            if numbers.is_unused() {
                self.numbers.remove(base);
            }
        }
    }

    fn release_peer(&mut self, peer: &str) {
        if let Some(count) = self.by_peer.get_mut(peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(peer);
            }
        }
    }

    /// Ends the reservations whose time is over.
    fn end_reservations(&mut self, now: Monotonic) {
        while let Some((until, _)) = self.ends.front()
            && *until <= now
        {
            let Some((until, name)) = self.ends.pop_front() else { return };
            // A name may have been reserved anew since.
            if self.reserved.get(&name).is_some_and(|reservation| reservation.until == until)
                && let Some(reservation) = self.reserved.remove(&name)
            {
                self.release_peer(&reservation.peer);
                self.release_number(&name);
            }
        }
    }

    /// Whether `session` is that of the connected worker of this name, or of the one that is about to connect.
    pub(crate) fn is_session(&self, worker: &WorkerName, session: SharedSecret) -> bool {
        let connected = self.connected.get(worker).and_then(|worker| worker.session);
        let reserved = self.reserved.get(worker).map(|reserved| reserved.session);
        connected == Some(session) || reserved == Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> WorkerName {
        WorkerName::new(text).unwrap()
    }

    fn secret(byte: u8) -> SharedSecret {
        SharedSecret::new([byte; 16])
    }

    fn reserve(registry: &mut WorkerRegistry, at: u64, wanted: &str) -> String {
        registry.reserve_name(Monotonic(at), name(wanted), secret(1), "p".to_owned()).unwrap().to_string()
    }

    fn connect(registry: &mut WorkerRegistry, worker: &str) {
        registry.connect(&name(worker), || ConnectedWorker::new(Monotonic(0), 1, String::new())).unwrap();
    }

    #[test]
    fn workers_that_join_at_the_same_time_get_unique_names() {
        let mut registry = WorkerRegistry::default();
        let mut reserved = |at| reserve(&mut registry, at, "host");
        assert_eq!([reserved(0), reserved(0), reserved(1)], ["host", "host-2", "host-3"]);
        assert_eq!(reserved(RESERVE_MS), "host", "a reservation ends when the worker does not connect");
        let mut registry = WorkerRegistry::default();
        connect(&mut registry, "host");
        assert_eq!(reserve(&mut registry, 0, "host"), "host-2", "the first one is connected");
    }

    #[test]
    fn a_session_is_that_of_one_worker() {
        let mut registry = WorkerRegistry::default();
        for (number, worker) in (1..).zip(["host", "host-2"]) {
            let given = registry.reserve_name(Monotonic(0), name("host"), secret(number), "p".to_owned());
            assert_eq!(given, Ok(name(worker)));
        }
        connect(&mut registry, "host");
        connect(&mut registry, "other");
        assert!(registry.is_session(&name("host"), secret(1)), "connected");
        assert!(registry.is_session(&name("host-2"), secret(2)), "about to connect");
        assert!(!registry.is_session(&name("host"), secret(2)), "of another worker");
        assert!(!registry.is_session(&name("other"), SharedSecret::default()), "a worker without a session");
    }

    #[test]
    fn a_number_is_given_again_when_its_worker_has_gone() {
        let mut registry = WorkerRegistry::default();
        for expected in ["host", "host-2", "host-3", "host-4"] {
            assert_eq!(reserve(&mut registry, 0, "host"), expected);
            connect(&mut registry, expected);
        }
        assert!(registry.disconnect(&name("host-3")));
        assert_eq!(reserve(&mut registry, 0, "host"), "host-3");
        assert_eq!(reserve(&mut registry, 0, "host-5"), "host-5", "requested as it is");
        assert_eq!(reserve(&mut registry, 0, "host"), "host-6");
        for gone in ["host-2", "host-4", "host"] {
            assert!(registry.disconnect(&name(gone)));
        }
        registry.end_reservations(Monotonic(RESERVE_MS));
        assert!(registry.reserved.is_empty() && registry.by_peer.is_empty() && registry.ends.is_empty());
        assert_eq!(reserve(&mut registry, RESERVE_MS, "host"), "host");
        assert_eq!(reserve(&mut registry, RESERVE_MS, "host"), "host-2");
    }

    #[test]
    fn a_worker_with_several_streams_is_connected_until_the_last_ends() {
        let mut registry = WorkerRegistry::default();
        connect(&mut registry, "w");
        connect(&mut registry, "w");
        assert_eq!(registry.connected[&name("w")].streams, 2);
        assert!(!registry.disconnect(&name("w")));
        assert!(registry.disconnect(&name("w")) && registry.count() == 0);
        assert!(!registry.disconnect(&name("w")));
    }

    #[test]
    fn an_address_cannot_reserve_all_names_and_there_is_a_limit_in_all() {
        let mut registry = WorkerRegistry::default();
        for _ in 0..MAX_RESERVED_BY_PEER {
            reserve(&mut registry, 0, "host");
        }
        let other = |registry: &mut WorkerRegistry, at, peer: usize| {
            registry.reserve_name(Monotonic(at), name("host"), secret(1), peer.to_string())
        };
        let refused = registry.reserve_name(Monotonic(0), name("host"), secret(1), "p".to_owned());
        assert_eq!(refused, Err(JoinError::Peer));
        assert!(other(&mut registry, 0, 0).is_ok(), "workers of other addresses join");
        for number in MAX_RESERVED_BY_PEER + 1..MAX_WORKERS {
            other(&mut registry, 1, number % 5).unwrap();
        }
        assert_eq!(other(&mut registry, 1, 7), Err(JoinError::Full));
        assert!(other(&mut registry, RESERVE_MS, 7).is_ok());
    }

    /// Each name is looked up a constant number of times: the counter never goes back over names in use.
    #[test]
    fn a_name_is_found_without_trying_the_others() {
        let mut registry = WorkerRegistry::default();
        for number in 1..=2_000_u32 {
            reserve(&mut registry, 0, "host");
            let given = registry.numbers.get("host").map_or(1, |numbers| numbers.given);
            assert_eq!(given, number);
        }
    }
}
