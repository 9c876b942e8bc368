//! Simulated workers: each joins, requests shards, processes them in order, renews its leases and commits, over a network
//! that loses, delays, repeats and reorders messages. They crash, freeze, wake as zombies and restart.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use domain::config::RunConfig;
use domain::ids::{FencingToken, PartHash, RunId, ShardIndex, WorkerName};
use domain::outcome::{Fault, Outcome, Status};
use domain::run::{Lease, Shard};
use domain::tally::Tally;
use proto::convert::{LeaseKey, PartHeader};
use proto::status::ErrorReason;
use results::part::write_part;

use super::dice::Dice;
use super::world::{World, lock};
use crate::run::Coordinator;
use crate::run::commit::Sender;
use crate::scheduler::worker_registry::Abilities;

/// Time to live of a lease in the simulation.
pub(super) const TTL: Duration = Duration::from_secs(1);

/// The running coordinator; `None` while it is down.
pub(super) type Endpoint = watch::Receiver<Option<Arc<Coordinator>>>;

/// A fault that hits a worker.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Its connection breaks.
    Break,
    /// It crashes; the coordinator sees its connection end so many ms later.
    Die(u64),
    /// It is frozen for so many ms, then goes on.
    Sleep(u64),
}

/// Properties of a worker.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) name: Arc<WorkerName>,
    pub(super) ms_per_record: u64,
    /// A record that crashes it.
    pub(super) poison: Option<(RunId, u32)>,
}

#[derive(Clone)]
struct Worker {
    world: Arc<World>,
    endpoint: Endpoint,
    profile: Profile,
    dice: Arc<Dice>,
    fate: mpsc::Sender<Fate>,
    held: Arc<Mutex<BTreeMap<LeaseKey, Instant>>>,
    asleep_until: Arc<Mutex<Instant>>,
    requested: Arc<Semaphore>,
    slot: Arc<Semaphore>,
}

/// Marks a worker as connected until it is dropped.
struct Connection(Arc<Coordinator>, Arc<WorkerName>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.disconnect(&self.1);
    }
}

/// Runs a worker that restarts after each crash, for ever.
pub(super) async fn live(
    world: Arc<World>,
    endpoint: Endpoint,
    profile: Profile,
    dice: Dice,
    (fate, mut fates): (mpsc::Sender<Fate>, mpsc::Receiver<Fate>),
) {
    let dice = Arc::new(dice);
    loop {
        let worker = Worker {
            world: Arc::clone(&world),
            endpoint: endpoint.clone(),
            profile: profile.clone(),
            dice: Arc::clone(&dice),
            fate: fate.clone(),
            held: Arc::default(),
            asleep_until: Arc::new(Mutex::new(Instant::now())),
            requested: Arc::new(Semaphore::new(2)),
            slot: Arc::new(Semaphore::new(1)),
        };
        worker.live(&mut fates).await;
        let ms = if world.is_calm() { 50 } else { dice.between(20, 1500) };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        while fates.try_recv().is_ok() {}
    }
}

impl Worker {
    /// Runs sessions until the worker crashes. Its work goes on between sessions.
    async fn live(&self, fates: &mut mpsc::Receiver<Fate>) {
        let work = Arc::new(Mutex::new(JoinSet::new()));
        loop {
            let mut endpoint = self.endpoint.clone();
            let Some(coordinator) = endpoint.borrow_and_update().clone() else {
                if endpoint.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::time::sleep(Duration::from_millis(self.dice.below(30))).await;
            let _ = coordinator.connect(&self.profile.name, 1, "", Abilities::default());
            let connection = Connection(Arc::clone(&coordinator), Arc::clone(&self.profile.name));
            let mut session = JoinSet::new();
            session.spawn(self.clone().dispatch_loop(Arc::clone(&coordinator), Arc::clone(&work)));
            session.spawn(self.clone().send_heartbeats(Arc::clone(&coordinator)));
            let delay_of_end = loop {
                tokio::select! {
                    biased;
                    fate = fates.recv() => match fate {
                        Some(Fate::Sleep(ms)) => {
                            *lock(&self.asleep_until) = Instant::now() + Duration::from_millis(ms);
                        }
                        Some(Fate::Break) => break None,
                        Some(Fate::Die(ms)) => break Some(ms),
                        None => return,
                    },
                    _ = endpoint.changed() => break None,
                    _ = session.join_next() => break None,
                }
            };
            session.abort_all();
            if let Some(ms) = delay_of_end {
                lock(&work).abort_all();
                self.world.later(ms, async move { drop(connection) });
                return;
            }
        }
    }

    async fn awake(&self) {
        loop {
            let until = *lock(&self.asleep_until);
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Requests shards and starts work on them.
    async fn dispatch_loop(self, coordinator: Arc<Coordinator>, work: Arc<Mutex<JoinSet<()>>>) {
        loop {
            let Ok(permit) = self.requested.acquire().await else { return };
            self.awake().await;
            let Ok(granted) = coordinator.lease(&self.profile.name).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return;
            };
            let lease = granted.lease;
            lock(&self.world.sent).push((lease.run_id.clone(), lease.shard.index, lease.token));
            self.world.delay().await;
            if self.world.happens(self.world.faults.loss) {
                // A lost message is a broken stream.
                return;
            }
            // Until here the end of the stream restores the request: the next stream sends it again.
            permit.forget();
            lock(&self.held).insert(LeaseKey::from(&lease), Instant::now() + TTL);
            lock(&work).spawn(self.clone().work(lease));
        }
    }

    /// Processes a shard when the slot is free, and commits it.
    async fn work(self, lease: Lease) {
        let key = LeaseKey::from(&lease);
        if let Ok(_slot) = self.slot.acquire().await {
            let ms = self.profile.ms_per_record * u64::from(lease.shard.len);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if let Some((run_id, record)) = &self.profile.poison
                && *run_id == lease.run_id
                && lease.shard.holds(ShardIndex(*record))
            {
                let _ = self.fate.send(Fate::Die(self.dice.below(100))).await;
                std::future::pending::<()>().await;
            }
        }
        self.awake().await;
        if self.world.happens(4) {
            self.release_leases(&key).await;
        } else {
            self.commit(&lease, &key).await;
        }
        lock(&self.held).remove(&key);
        self.requested.add_permits(1);
    }

    async fn release_leases(&self, key: &LeaseKey) {
        self.world.delay().await;
        let Some(coordinator) = self.endpoint.borrow().clone() else { return };
        coordinator.release_leases(std::slice::from_ref(key), self.dice.chance(10));
        let scheduler = coordinator.scheduler();
        let held = scheduler.active.get(&key.run_id).map(|run| run.leases.held_by(&self.profile.name));
        if held.is_some_and(|held| held.contains(&(key.shard, key.token))) {
            self.world.report(format!("shard {} is held after it was released", key.shard));
        }
    }

    fn is_over(&self, key: &LeaseKey) -> bool {
        lock(&self.held).get(key).is_none_or(|deadline| *deadline <= Instant::now())
    }

    /// Tries to commit until a reply arrives or the lease has ended; a zombie tries before it checks the lease.
    async fn commit(&self, lease: &Lease, key: &LeaseKey) {
        let (header, bytes) = part(lease, &self.profile.name);
        let mut checks_lease = self.dice.chance(50);
        while !(checks_lease && self.is_over(key)) {
            checks_lease = true;
            self.world.delay().await;
            self.awake().await;
            let mut endpoint = self.endpoint.clone();
            let Some(coordinator) = endpoint.borrow_and_update().clone() else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if self.world.happens(10) {
                // A duplicate arrives some time later.
                let (mut duplicate_to, header, bytes) =
                    (self.endpoint.clone(), header.clone(), bytes.clone());
                self.world.later(self.dice.below(3000), async move {
                    let Some(coordinator) = duplicate_to.borrow_and_update().clone() else { return };
                    tokio::select! {
                        biased;
                        _ = duplicate_to.changed() => {}
                        _ = coordinator.commit(header, stream::iter([Ok(bytes)]), Sender::Peer) => {}
                    }
                });
            }
            if self.world.happens(self.world.faults.loss) {
                continue;
            }
            let committed = tokio::select! {
                biased;
                _ = endpoint.changed() => continue,
                committed = coordinator.commit(header.clone(), stream::iter([Ok(bytes.clone())]), Sender::Peer) => committed,
            };
            if self.world.happens(self.world.faults.loss) {
                continue;
            }
            match committed {
                Err(refusal) if refusal.reason == ErrorReason::Storage => {
                    tokio::time::sleep(Duration::from_millis(self.dice.between(5, 100))).await;
                }
                _ => return,
            }
        }
    }

    /// Sends heartbeats that renew the leases.
    async fn send_heartbeats(self, coordinator: Arc<Coordinator>) {
        loop {
            tokio::time::sleep(TTL / 3).await;
            self.awake().await;
            let (keys, sent) = (lock(&self.held).keys().cloned().collect::<Vec<_>>(), Instant::now());
            if keys.is_empty() {
                continue;
            }
            self.world.delay().await;
            if self.world.happens(self.world.faults.loss) {
                continue;
            }
            coordinator.worker_seen(&self.profile.name);
            let renewal = coordinator.renew(keys);
            for key in &renewal.renewed {
                self.world.check_renewed(key);
            }
            self.world.delay().await;
            if self.world.happens(self.world.faults.loss) {
                continue;
            }
            let mut held = lock(&self.held);
            for key in renewal.renewed {
                if let Some(deadline) = held.get_mut(&key) {
                    *deadline = (*deadline).max(sent + TTL);
                }
            }
            for key in renewal.lost {
                held.remove(&key);
            }
        }
    }
}

type Parts = BTreeMap<(RunId, Shard), (Bytes, Tally)>;

/// Parts do not depend on the worker, so each is written once for all simulations.
static PARTS: LazyLock<Mutex<Parts>> = LazyLock::new(Mutex::default);

/// The part of a lease.
pub(super) fn part(lease: &Lease, worker: &WorkerName) -> (PartHeader, Bytes) {
    let made = lock(&PARTS).get(&(lease.run_id.clone(), lease.shard)).cloned();
    let (bytes, tally) = made.unwrap_or_else(|| {
        let rows: Vec<Outcome> =
            (lease.shard.index.0..lease.shard.end()).map(|position| row(position, lease)).collect();
        let made = (write_part(&lease.run_id, &rows).unwrap(), Tally::of(&rows));
        lock(&PARTS).insert((lease.run_id.clone(), lease.shard), made.clone());
        made
    });
    let header = PartHeader {
        key: LeaseKey::from(lease),
        worker: worker.clone(),
        bytes: bytes.len() as u64,
        hash: PartHash::of(&bytes),
        tally,
    };
    (header, bytes)
}

fn row(position: u32, lease: &Lease) -> Outcome {
    let (record, _) = domain::testing::record(position.into(), "latest-tag", "kind: Pod");
    let dead_letter = crate::run::dead_letter_outcome(&record, lease, &RunConfig::default());
    Outcome {
        status: Status::Accepted,
        fault: Fault::None,
        errors: Vec::new(),
        error_kind: None,
        attempts: 1,
        ..dead_letter
    }
}

impl World {
    /// Checks that a heartbeat renewed only the newest lease of a shard.
    fn check_renewed(&self, key: &LeaseKey) {
        let sent = lock(&self.sent);
        let of_shard = sent.iter().filter(|(run_id, shard, _)| *run_id == key.run_id && *shard == key.shard);
        let newest = of_shard.map(|(_, _, token)| *token).max().unwrap_or(FencingToken::default());
        if key.token != newest && !self.several {
            self.report(format!(
                "token {} of shard {} was renewed, the newest is {newest}",
                key.token, key.shard
            ));
        }
    }
}
