//! Property tests of the lease protocol against a model: a ledger and a list of the leases that were sent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::{TERMS, TTL, worker};

const CUT: Cut = Cut { records: 11, shard_size: 5 };

/// Fate of a lease's step in the ledger.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Recorded, and the reply arrives.
    Recorded,
    /// Recorded, but the reply is lost.
    ReplyLost,
    /// It never reaches the ledger.
    Lost,
    /// Another coordinator leases the shard in between, whole or split.
    Overtaken(bool),
}

#[derive(Debug, Clone)]
enum Event {
    Grant(u8, Fate),
    Speculate(u8, Fate),
    LeasePoison,
    Renew(usize),
    ReleaseLeases(usize, bool),
    Commit(usize),
    Disconnect(u8),
    Pass(u64),
    Expire { last_contact: bool },
    Restart { forfeit: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let fate = || {
        prop_oneof![
            6 => Just(Fate::Recorded),
            1 => Just(Fate::ReplyLost),
            1 => Just(Fate::Lost),
            1 => any::<bool>().prop_map(Fate::Overtaken),
        ]
    };
    prop_oneof![
        5 => (0u8..3, fate()).prop_map(|(name, fate)| Event::Grant(name, fate)),
        2 => (0u8..3, fate()).prop_map(|(name, fate)| Event::Speculate(name, fate)),
        1 => Just(Event::LeasePoison),
        3 => (0usize..64).prop_map(Event::Renew),
        1 => (0usize..64, any::<bool>()).prop_map(|(pick, failed)| Event::ReleaseLeases(pick, failed)),
        3 => (0usize..64).prop_map(Event::Commit),
        1 => (0u8..3).prop_map(Event::Disconnect),
        3 => (0u64..20).prop_map(Event::Pass),
        3 => any::<bool>().prop_map(|last_contact| Event::Expire { last_contact }),
        1 => any::<bool>().prop_map(|forfeit| Event::Restart { forfeit }),
    ]
}

#[derive(Debug, Clone)]
struct Entry {
    len: u32,
    token: u64,
    attempt: u32,
    lost: u32,
    committed: bool,
}

impl Entry {
    fn known(&self, held: bool) -> LedgerShard {
        LedgerShard {
            len: self.len,
            token: FencingToken(self.token),
            attempt: self.attempt,
            lost: self.lost,
            worker: held.then(|| worker(9)),
            committed: self.committed,
        }
    }
}

/// State outside the coordinator.
#[derive(Default)]
struct Model {
    now: u64,
    ledger: BTreeMap<u32, Entry>,
    /// Every lease that was sent to a worker, in order, with its token.
    sent: Vec<(Shard, u64)>,
    /// Token and deadline of each lease that has not ended.
    live: BTreeMap<u32, (u64, u64)>,
}

impl Model {
    fn sent(&self, pick: usize) -> Option<(Shard, u64)> {
        (!self.sent.is_empty()).then(|| self.sent[pick % self.sent.len()])
    }

    /// The compare-and-set of the ledger.
    fn swap(&mut self, grant: &Grant) -> Result<(), Option<Entry>> {
        let known = self.ledger.get(&grant.shard.index.0).cloned();
        let (token, len) = known.as_ref().map_or((0, u32::MAX), |known| (known.token, known.len));
        if token != grant.previous.0 || len < grant.shard.len || known.as_ref().is_some_and(|k| k.committed) {
            return Err(known);
        }
        let Grant { shard, token, attempt, lost, .. } = *grant;
        let entry = Entry { len: shard.len, token: token.0, attempt, lost, committed: false };
        self.ledger.insert(shard.index.0, entry);
        Ok(())
    }

    /// Passes a grant to the ledger and the worker, as `fate` has it.
    fn grant(&mut self, leases: &mut Leases, grant: Grant, fate: Fate) {
        let (now, index) = (Monotonic(self.now), grant.shard.index);
        assert!(grant.token > grant.previous, "tokens grow");
        assert_eq!(grant.deadline, Monotonic(self.now + TTL));
        // A second lease ends the first, even when the ledger does not record it.
        self.live.remove(&index.0);
        if let Fate::Overtaken(split) = fate {
            let entry = self.ledger.entry(index.0).or_insert(Entry {
                len: grant.shard.len,
                token: 0,
                attempt: 0,
                lost: 0,
                committed: false,
            });
            if !entry.committed {
                entry.token += 1;
                entry.attempt += 1;
                entry.len = if split { entry.len.div_ceil(2) } else { entry.len };
            }
        }
        if matches!(fate, Fate::Lost) {
            leases.release_lease(now, index, grant.token, false).unwrap();
            return;
        }
        match (self.swap(&grant), fate) {
            (Ok(()), Fate::ReplyLost) => leases.release_lease(now, index, grant.token, false).unwrap(),
            (Ok(()), _) => {
                assert!(leases.confirm(&grant));
                let lease = (grant.shard, grant.token.0);
                assert!(!self.sent.contains(&lease), "a token is sent once");
                self.sent.push(lease);
                self.live.insert(index.0, (grant.token.0, self.now + TTL));
            }
            (Err(entry), _) => {
                let known = entry.as_ref().map(|entry| entry.known(true));
                leases.refused(now, &grant, known.as_ref()).unwrap();
                if let Some(entry) = entry.filter(|entry| !entry.committed) {
                    self.live.insert(index.0, (entry.token, self.now + TTL));
                }
            }
        }
    }

    /// A commit as the coordinator does it: admitted, recorded by the ledger or not, marked committed.
    fn commit(&mut self, leases: &mut Leases, shard: Shard, token: u64) -> bool {
        let admission = leases.admit(shard.index, FencingToken(token));
        let Some(entry) = self.ledger.get_mut(&shard.index.0) else { panic!("a sent lease has an entry") };
        let newest = entry.token == token;
        match admission {
            Ok(Admission::New(whole)) => assert!(!newest || whole == shard, "{whole:?} {shard:?}"),
            Ok(Admission::Over) => assert!(entry.committed),
            Err(_) => return false,
        }
        if !newest {
            return false;
        }
        let first = !entry.committed;
        entry.committed = true;
        let effect = leases.mark_committed(Monotonic(self.now), shard.index).unwrap();
        assert_eq!(effect == CommitEffect::New, first, "counted once");
        self.live.remove(&shard.index.0);
        first
    }
}

fn step(leases: &mut Leases, model: &mut Model, event: &Event) {
    let now = Monotonic(model.now);
    match *event {
        Event::Grant(name, fate) => {
            let waits = leases.has_waiting();
            let grant = leases.grant(now, &worker(name), 3);
            assert_eq!(grant.is_some(), waits, "a shard that waits can be granted, and no other");
            if let Some(grant) = grant {
                assert!(!model.live.contains_key(&grant.shard.index.0), "one holder");
                model.grant(leases, grant, fate);
            }
        }
        Event::Speculate(name, fate) => {
            if !leases.has_waiting()
                && let Speculation::Granted(grant) = leases.speculate(now, &worker(name), 3)
            {
                model.grant(leases, grant, fate);
            }
            // A lease of a disconnected worker may have become poison instead.
            let held: BTreeSet<u32> = leases.deadlines.iter().map(|(_, index)| index.0).collect();
            model.live.retain(|index, _| held.contains(index));
        }
        Event::LeasePoison => {
            if let Some(grant) = leases.grant_poison(now, &worker(8)) {
                assert!(grant.shard.len == 1 && grant.lost >= TERMS.max_lost, "{grant:?}");
                model.grant(leases, grant, Fate::Recorded);
            }
        }
        Event::Renew(pick) => {
            let Some((shard, token)) = model.sent(pick) else { return };
            let alive = model
                .live
                .get(&shard.index.0)
                .is_some_and(|(held, deadline)| *held == token && *deadline > model.now);
            let renewed = leases.renew(now, shard.index, FencingToken(token));
            assert_eq!(renewed.is_ok(), alive, "exactly an active lease is renewed: {renewed:?}");
            if alive {
                model.live.insert(shard.index.0, (token, model.now + TTL));
            }
        }
        Event::ReleaseLeases(pick, failed) => {
            let Some((shard, token)) = model.sent(pick) else { return };
            let held = model.live.get(&shard.index.0).is_some_and(|(held, _)| *held == token);
            let back = leases.release_lease(now, shard.index, FencingToken(token), failed);
            assert_eq!(back.is_ok(), held);
            if held {
                model.live.remove(&shard.index.0);
            }
        }
        Event::Commit(pick) => {
            let Some((shard, token)) = model.sent(pick) else { return };
            model.commit(leases, shard, token);
        }
        Event::Disconnect(name) => leases.disconnected(now, &worker(name)),
        Event::Pass(ms) => model.now += ms,
        Event::Expire { last_contact } => {
            let last_contact = if last_contact { now } else { Monotonic(0) };
            let expired: BTreeSet<u32> =
                leases.expire(now, last_contact).iter().map(|lease| lease.shard.index.0).collect();
            let due = model.live.iter().filter(|(_, (_, end))| *end <= model.now);
            let due: BTreeSet<u32> = due.map(|(shard, _)| *shard).collect();
            assert_eq!(expired, due, "exactly what is due");
            model.live.retain(|shard, _| !due.contains(shard));
        }
        Event::Restart { forfeit } => {
            *leases = Leases::new(CUT, TERMS);
            for (index, entry) in &model.ledger {
                leases.observe(now, ShardIndex(*index), Some(&entry.known(!forfeit))).unwrap();
            }
            let open = model.ledger.iter().filter(|(_, entry)| !forfeit && !entry.committed);
            model.live = open.map(|(index, entry)| (*index, (entry.token, model.now + TTL))).collect();
        }
    }
    check(leases, model);
}

/// Checks the invariants after every step.
fn check(leases: &Leases, model: &Model) {
    assert_eq!(leases.leased() as usize, model.live.len());
    assert_eq!(leases.next_deadline(), model.live.values().map(|(_, end)| Monotonic(*end)).min());
    let waiting: u64 = leases.waiting.iter().map(|index| u64::from(leases.open[index].len)).sum();
    assert_eq!(leases.waiting_records, waiting);
    // Every record is in exactly one open or committed shard, or beyond the cursor.
    let committed = model.ledger.iter().filter(|(_, entry)| entry.committed);
    let mut shards: Vec<(u32, u32)> = committed.map(|(index, entry)| (*index, entry.len)).collect();
    shards.extend(leases.open.iter().map(|(index, state)| (index.0, state.len)));
    shards.sort_unstable();
    let mut next = 0;
    for (index, len) in shards {
        assert_eq!(index, next, "{leases:?} {:?}", model.ledger);
        next = index + len;
    }
    assert_eq!(next, leases.cursor.min(CUT.records));
    for (index, state) in &leases.open {
        let places =
            [leases.waiting.contains(index), leases.poison.contains(index), state.lease.worker().is_some()];
        assert_eq!(places.iter().filter(|place| **place).count(), 1, "{index} {state:?} {places:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_protocol_keeps_its_invariants(events in prop::collection::vec(event(), 0..100)) {
        let mut leases = Leases::new(CUT, TERMS);
        let mut model = Model::default();
        for event in &events {
            step(&mut leases, &mut model, event);
        }
        // After any sequence: once all leases have expired, all remaining shards can be granted and committed.
        let mut turns = 0;
        while !leases.is_complete() {
            model.now += 10 * TTL;
            step(&mut leases, &mut model, &Event::Expire { last_contact: false });
            step(&mut leases, &mut model, &Event::LeasePoison);
            step(&mut leases, &mut model, &Event::Grant(1, Fate::Recorded));
            for (shard, token) in model.sent.clone() {
                model.commit(&mut leases, shard, token);
            }
            turns += 1;
            prop_assert!(turns < 100, "the run ends");
        }
        let rows: u32 = model.ledger.values().filter(|entry| entry.committed).map(|entry| entry.len).sum();
        prop_assert_eq!(rows, CUT.records);
        prop_assert_eq!(leases.committed() as usize, model.ledger.len());
        prop_assert!(leases.grant(Monotonic(model.now), &worker(0), 1).is_none());
    }
}
