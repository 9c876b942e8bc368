//! Properties of the lease protocol against a model that is nothing but a list of what happened.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const TTL: u64 = 30;
const SHARDS: u32 = 4;

fn worker(name: u8) -> Arc<WorkerName> {
    Arc::new(WorkerName::new(format!("w{name}")).unwrap())
}

#[derive(Debug, Clone)]
enum Event {
    Grant(u8),
    Renew(usize),
    HandBack(usize),
    Commit(usize),
    /// The ledger refuses the newest grant because somebody else leased the shard in between.
    Overtaken(usize),
    Pass(u64),
    Expire,
    Restart {
        forfeit: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u8..3).prop_map(Event::Grant),
        3 => (0usize..64).prop_map(Event::Renew),
        1 => (0usize..64).prop_map(Event::HandBack),
        3 => (0usize..64).prop_map(Event::Commit),
        1 => (0usize..64).prop_map(Event::Overtaken),
        3 => (0u64..20).prop_map(Event::Pass),
        2 => Just(Event::Expire),
        1 => any::<bool>().prop_map(|forfeit| Event::Restart { forfeit }),
    ]
}

/// What the outside world knows: every token handed out, who still lives, what is committed.
#[derive(Default)]
struct Model {
    now: u64,
    /// Every lease ever granted, in order.
    granted: Vec<(u32, u64)>,
    /// Deadline of each lease that neither ended nor was renewed away.
    live: BTreeMap<u32, (u64, u64)>,
    newest: BTreeMap<u32, (u64, u32)>,
    committed: BTreeMap<u32, u64>,
}

impl Model {
    fn granted(&self, pick: usize) -> Option<(u32, u64)> {
        (!self.granted.is_empty()).then(|| self.granted[pick % self.granted.len()])
    }

    fn newest(&self, shard: u32) -> u64 {
        self.newest.get(&shard).map_or(0, |(token, _)| *token)
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per event of the protocol")]
fn step(leases: &mut Leases, model: &mut Model, event: &Event) {
    let now = Moment(model.now);
    match *event {
        Event::Grant(name) => {
            let open = (0..SHARDS)
                .filter(|shard| !model.live.contains_key(shard) && !model.committed.contains_key(shard))
                .count();
            let grant = leases.grant(now, &worker(name));
            assert_eq!(grant.is_some(), open > 0, "a shard that waits can be granted, and no other");
            if let Some(grant) = grant {
                let shard = grant.shard.0;
                assert!(!model.live.contains_key(&shard), "one holder");
                assert!(!model.committed.contains_key(&shard));
                assert_eq!(grant.previous.0, model.newest(shard));
                assert!(grant.token.0 > grant.previous.0, "tokens grow");
                assert!(!model.granted.contains(&(shard, grant.token.0)), "a token is granted once");
                assert_eq!(grant.deadline, Moment(model.now + TTL));
                model.granted.push((shard, grant.token.0));
                model.live.insert(shard, (grant.token.0, model.now + TTL));
                model.newest.insert(shard, (grant.token.0, grant.attempt));
            }
        }
        Event::Renew(pick) => {
            let Some((shard, token)) = model.granted(pick) else { return };
            let alive = model
                .live
                .get(&shard)
                .is_some_and(|(held, deadline)| *held == token && *deadline > model.now);
            let renewed = leases.renew(now, ShardIndex(shard), FencingToken(token));
            assert_eq!(renewed.is_ok(), alive, "exactly a living lease is renewed: {renewed:?}");
            if alive {
                model.live.insert(shard, (token, model.now + TTL));
            }
        }
        Event::HandBack(pick) => {
            let Some((shard, token)) = model.granted(pick) else { return };
            let held = model.live.get(&shard).is_some_and(|(held, _)| *held == token);
            assert_eq!(leases.hand_back(ShardIndex(shard), FencingToken(token)).is_ok(), held);
            if held {
                model.live.remove(&shard);
            }
        }
        Event::Commit(pick) => {
            let Some((shard, token)) = model.granted(pick) else { return };
            let admission = leases.admit(ShardIndex(shard), FencingToken(token));
            match model.committed.get(&shard) {
                Some(winner) if *winner == token => assert_eq!(admission, Ok(Admission::Again)),
                Some(_) => assert!(admission.is_err(), "one committed outcome per shard"),
                None if token == model.newest(shard) => {
                    assert_eq!(admission, Ok(Admission::New));
                    assert_eq!(leases.settle(ShardIndex(shard), FencingToken(token)), Ok(Admission::New));
                    model.committed.insert(shard, token);
                    model.live.remove(&shard);
                }
                None => assert!(matches!(admission, Err(Refused::Stale { .. })), "no commit by an old token"),
            }
        }
        Event::Overtaken(pick) => {
            let Some((shard, _)) = model.granted(pick) else { return };
            if model.committed.contains_key(&shard) {
                return;
            }
            let (token, attempt) = model.newest[&shard];
            let known = Known {
                token: FencingToken(token + 1),
                attempt: attempt + 1,
                worker: Some(worker(9)),
                committed: false,
            };
            leases.observe(now, ShardIndex(shard), &known).unwrap();
            model.granted.push((shard, token + 1));
            model.live.insert(shard, (token + 1, model.now + TTL));
            model.newest.insert(shard, (token + 1, attempt + 1));
        }
        Event::Pass(ms) => model.now += ms,
        Event::Expire => {
            let expired: BTreeSet<u32> = leases.expire(now).iter().map(|lease| lease.shard.0).collect();
            let due: BTreeSet<u32> = model
                .live
                .iter()
                .filter(|(_, (_, end))| *end <= model.now)
                .map(|(shard, _)| *shard)
                .collect();
            assert_eq!(expired, due, "exactly what is due");
            model.live.retain(|shard, _| !due.contains(shard));
        }
        Event::Restart { forfeit } => {
            *leases = Leases::new(SHARDS, TTL);
            for (shard, (token, attempt)) in &model.newest {
                let known = Known {
                    token: FencingToken(*token),
                    attempt: *attempt,
                    worker: (!forfeit).then(|| worker(0)),
                    committed: model.committed.contains_key(shard),
                };
                leases.observe(now, ShardIndex(*shard), &known).unwrap();
            }
            model.live = model
                .newest
                .iter()
                .filter(|(shard, _)| !forfeit && !model.committed.contains_key(shard))
                .map(|(shard, (token, _))| (*shard, (*token, model.now + TTL)))
                .collect();
        }
    }
    assert_eq!(leases.committed() as usize, model.committed.len());
    assert_eq!(leases.leased() as usize, model.live.len());
    assert_eq!(leases.next_deadline(), model.live.values().map(|(_, end)| Moment(*end)).min());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_protocol_keeps_its_invariants(events in prop::collection::vec(event(), 0..80)) {
        let mut leases = Leases::new(SHARDS, TTL);
        let mut model = Model::default();
        for event in &events {
            step(&mut leases, &mut model, event);
        }
        // Whatever happened: let every lease run out, and what is left can be granted and committed.
        model.now += 10 * TTL;
        step(&mut leases, &mut model, &Event::Expire);
        while !leases.is_complete() {
            step(&mut leases, &mut model, &Event::Grant(1));
            let newest = model.granted.len() - 1;
            step(&mut leases, &mut model, &Event::Commit(newest));
        }
        prop_assert_eq!(model.committed.len(), SHARDS as usize);
        prop_assert!(leases.grant(Moment(model.now), &worker(0)).is_none());
    }
}

#[test]
fn a_lease_lives_up_to_its_deadline_and_not_at_it() {
    let mut leases = Leases::new(1, TTL);
    let grant = leases.grant(Moment(0), &worker(0)).unwrap();
    assert!(leases.expire(Moment(TTL - 1)).is_empty());
    assert_eq!(leases.renew(Moment(TTL - 1), grant.shard, grant.token), Ok(Moment(2 * TTL - 1)));
    assert_eq!(leases.renew(Moment(2 * TTL - 1), grant.shard, grant.token), Err(Refused::Ended));
    assert_eq!(leases.expire(Moment(2 * TTL - 1)).len(), 1);
}

#[test]
fn what_ran_out_is_leased_again_before_what_is_fresh() {
    let mut leases = Leases::new(3, TTL);
    leases.grant(Moment(0), &worker(0)).unwrap();
    leases.grant(Moment(5), &worker(0)).unwrap();
    leases.expire(Moment(TTL));
    let again = leases.grant(Moment(TTL), &worker(1)).unwrap();
    assert_eq!((again.shard, again.token, again.attempt), (ShardIndex(0), FencingToken(2), 2));
    assert_eq!(leases.grant(Moment(TTL), &worker(1)).unwrap().shard, ShardIndex(2));
}

#[test]
fn a_commit_that_overtook_a_grant_in_the_ledger_wins() {
    let mut leases = Leases::new(1, TTL);
    let first = leases.grant(Moment(0), &worker(0)).unwrap();
    leases.expire(Moment(TTL));
    // Admitted under the first token while the second grant is on its way to the ledger.
    assert_eq!(leases.admit(first.shard, first.token), Ok(Admission::New));
    let second = leases.grant(Moment(TTL), &worker(1)).unwrap();
    assert_eq!(leases.settle(first.shard, first.token), Ok(Admission::New));
    assert!(leases.is_complete());
    assert_eq!(leases.admit(second.shard, second.token), Err(Refused::Stale { current: first.token }));
    assert_eq!(leases.leased(), 0);
}

#[test]
fn a_token_that_was_never_granted_commits_nothing() {
    let leases = Leases::new(1, TTL);
    assert!(leases.admit(ShardIndex(0), FencingToken(0)).is_err());
    assert!(leases.admit(ShardIndex(0), FencingToken(1)).is_err());
    assert_eq!(leases.admit(ShardIndex(1), FencingToken(1)), Err(Refused::UnknownShard));
}

#[test]
fn a_grant_that_the_ledger_never_took_leaves_no_gap() {
    let mut leases = Leases::new(1, TTL);
    let lost = leases.grant(Moment(0), &worker(0)).unwrap();
    leases.hand_back(lost.shard, lost.token).unwrap();
    let next = leases.grant(Moment(0), &worker(0)).unwrap();
    // The ledger answers that the shard was never leased.
    let never = Known { token: FencingToken(0), attempt: 0, worker: None, committed: false };
    leases.observe(Moment(0), next.shard, &never).unwrap();
    let again = leases.grant(Moment(0), &worker(0)).unwrap();
    assert_eq!((again.previous, again.token, again.attempt), (FencingToken(0), FencingToken(1), 1));
}
