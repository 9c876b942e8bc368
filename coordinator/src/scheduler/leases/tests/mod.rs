//! Named cases of the lease protocol; [`model`] tests arbitrary sequences of events.

mod model;

use super::*;

const TTL: u64 = 30;
const TERMS: LeaseTerms = LeaseTerms { ttl_ms: TTL, max_lost: 2 };

fn worker(name: u8) -> Arc<WorkerName> {
    Arc::new(WorkerName::new(format!("w{name}")).unwrap())
}

fn leases(records: u32, shard_size: u32) -> Leases {
    Leases::new(Cut { records, shard_size }, TERMS)
}

/// Grants a lease and confirms that the ledger recorded it.
fn grant(leases: &mut Leases, now: u64, name: u8) -> Grant {
    let grant = leases.grant(Monotonic(now), &worker(name), 1).unwrap();
    assert!(leases.confirm(&grant));
    grant
}

#[test]
fn a_lease_ends_exactly_at_its_deadline() {
    let mut leases = leases(1, 1);
    let grant = grant(&mut leases, 0, 0);
    let index = grant.shard.index;
    assert!(leases.expire(Monotonic(TTL - 1), Monotonic(0)).is_empty());
    assert_eq!(leases.renew(Monotonic(TTL - 1), index, grant.token), Ok(Monotonic(2 * TTL - 1)));
    assert_eq!(leases.renew(Monotonic(2 * TTL - 1), index, grant.token), Err(LeaseError::Ended));
    assert_eq!(leases.expire(Monotonic(2 * TTL - 1), Monotonic(0)).len(), 1);
}

#[test]
fn an_expired_shard_is_leased_before_a_fresh_one() {
    let mut leases = leases(3, 1);
    grant(&mut leases, 0, 0);
    grant(&mut leases, 5, 0);
    leases.expire(Monotonic(TTL), Monotonic(TTL));
    let again = grant(&mut leases, TTL, 1);
    assert_eq!((again.shard.index, again.token, again.attempt), (ShardIndex(0), FencingToken(2), 2));
    assert_eq!(grant(&mut leases, TTL, 1).shard.index, ShardIndex(2));
}

#[test]
fn a_commit_that_overtook_a_grant_in_the_ledger_wins() {
    let mut leases = leases(1, 1);
    let first = grant(&mut leases, 0, 0);
    leases.expire(Monotonic(TTL), Monotonic(TTL));
    // Admitted under the first token while the second grant is on its way to the ledger.
    assert_eq!(leases.admit(first.shard.index, first.token), Ok(Admission::New(first.shard)));
    let second = leases.grant(Monotonic(TTL), &worker(1), 1).unwrap();
    assert_eq!(leases.mark_committed(Monotonic(TTL), first.shard.index), Ok(CommitEffect::New));
    assert!(leases.is_complete());
    assert!(!leases.confirm(&second));
    assert_eq!(leases.leased(), 0);
}

#[test]
fn a_token_that_was_never_granted_commits_nothing() {
    let leases = leases(1, 1);
    assert!(leases.admit(ShardIndex(0), FencingToken(0)).is_err());
    assert!(leases.admit(ShardIndex(0), FencingToken(1)).is_err());
    assert_eq!(leases.admit(ShardIndex(1), FencingToken(1)), Err(LeaseError::UnknownShard));
}

#[test]
fn a_grant_that_the_ledger_never_recorded_leaves_no_gap() {
    let mut leases = leases(1, 1);
    let lost = leases.grant(Monotonic(0), &worker(0), 1).unwrap();
    leases.release_lease(Monotonic(0), lost.shard.index, lost.token, false).unwrap();
    let next = leases.grant(Monotonic(0), &worker(0), 1).unwrap();
    // The ledger replies that the shard was never leased.
    leases.observe(Monotonic(0), next.shard.index, None).unwrap();
    let again = leases.grant(Monotonic(0), &worker(0), 1).unwrap();
    assert_eq!((again.previous, again.token, again.attempt), (FencingToken(0), FencingToken(1), 1));
}

/// Every worker dies of one record: all others are committed, and the record is declared poison.
#[test]
fn a_poison_record_is_isolated_and_dead_lettered() {
    let (poison, mut now, mut deaths) = (ShardIndex(137), 0, 0);
    let mut leases = leases(500, 250);
    let poisoned = loop {
        if let Some(grant) = leases.grant_poison(Monotonic(now), &worker(8)) {
            break grant;
        }
        let lease = grant(&mut leases, now, 0);
        if lease.shard.holds(poison) {
            deaths += 1;
            now += TTL;
            assert_eq!(leases.expire(Monotonic(now), Monotonic(now)).len(), 1);
        } else {
            leases.mark_committed(Monotonic(now), lease.shard.index).unwrap();
        }
        assert!(deaths < 100);
    };
    assert_eq!(poisoned.shard, Shard { index: poison, len: 1 });
    // Two losses of the whole, one for each further split, two of the single record.
    assert_eq!((deaths, poisoned.lost), (2 + 7 + 2, 2));
    leases.mark_committed(Monotonic(now), poison).unwrap();
    while leases.has_waiting() {
        let lease = grant(&mut leases, now, 0);
        leases.mark_committed(Monotonic(now), lease.shard.index).unwrap();
    }
    assert!(leases.is_complete());
    assert_eq!(leases.committed(), leases.shards());
}

#[test]
fn losses_by_an_outage_or_a_restart_do_not_count_against_a_shard() {
    let mut leases = leases(1, 1);
    let lost_after = |leases: &mut Leases, at: u64, last_contact: u64, look: u64| {
        grant(leases, at, 0);
        leases.expire(Monotonic(look), Monotonic(last_contact)).remove(0).lost
    };
    // No message of any worker arrived around its deadline.
    assert_eq!(lost_after(&mut leases, 0, TTL / 2, TTL), 0);
    // The coordinator itself was suspended.
    assert_eq!(lost_after(&mut leases, 100, 1000, 1000), 0);
    // Another worker was alive: the shard may be the cause.
    assert_eq!(lost_after(&mut leases, 2000, 2000 + TTL - 1, 2000 + TTL), 1);
    // A lease of an earlier process.
    let known = LedgerShard {
        len: 1,
        token: FencingToken(7),
        attempt: 7,
        lost: 1,
        worker: Some(worker(0)),
        committed: false,
    };
    let mut leases = Leases::new(Cut { records: 1, shard_size: 1 }, TERMS);
    leases.observe(Monotonic(0), ShardIndex(0), Some(&known)).unwrap();
    assert_eq!(leases.expire(Monotonic(TTL), Monotonic(TTL))[0].lost, 1);
    // A lease released unbegun never counts; one released as failed does.
    let back = grant(&mut leases, 100, 0);
    leases.release_lease(Monotonic(100), back.shard.index, back.token, false).unwrap();
    let back = grant(&mut leases, 100, 0);
    assert_eq!(back.lost, 1);
    leases.release_lease(Monotonic(100), back.shard.index, back.token, true).unwrap();
    assert!(leases.has_poison());
}

#[test]
fn a_half_is_leased_only_after_the_ledger_has_recorded_the_split() {
    let mut leases = leases(4, 4);
    for _ in 0..TERMS.max_lost {
        let lease = grant(&mut leases, 0, 0);
        leases.release_lease(Monotonic(0), lease.shard.index, lease.token, true).unwrap();
    }
    let half = leases.grant(Monotonic(0), &worker(0), 1).unwrap();
    assert_eq!(half.shard, Shard { index: ShardIndex(0), len: 2 });
    assert!(!leases.has_waiting(), "the ledger may still refuse");
    assert!(leases.confirm(&half));
    assert_eq!(grant(&mut leases, 0, 1).shard, Shard { index: ShardIndex(2), len: 2 });
}

#[test]
fn a_half_is_opened_by_its_entry_although_its_whole_was_read_before_the_split() {
    let mut leases = leases(16, 8);
    let entry = |len, token| LedgerShard {
        len,
        token: FencingToken(token),
        attempt: 1,
        lost: 0,
        worker: None,
        committed: false,
    };
    // The first page was read before the shard was split twice, the next one after.
    leases.observe(Monotonic(0), ShardIndex(0), Some(&entry(8, 1))).unwrap();
    leases.observe(Monotonic(0), ShardIndex(6), Some(&entry(2, 1))).unwrap();
    let lens: Vec<_> = leases.open.iter().map(|(index, state)| (index.0, state.len)).collect();
    assert_eq!(lens, [(0, 4), (4, 2), (6, 2)]);
    let refused = leases.observe(Monotonic(0), ShardIndex(8), Some(&entry(3, 1)));
    assert_eq!(refused, Err(LeaseError::UnknownShard), "splitting cannot lead to that length");
}

/// Seed 7264 of the simulation: the second of two refusals arrived after the shard had been granted again.
#[test]
fn a_late_refusal_does_not_bring_back_an_old_token() {
    let mut leases = leases(1, 1);
    let known = LedgerShard {
        len: 1,
        token: FencingToken(1),
        attempt: 1,
        lost: 0,
        worker: Some(worker(9)),
        committed: false,
    };
    let late = leases.grant(Monotonic(0), &worker(0), 1).unwrap();
    leases.expire(Monotonic(TTL), Monotonic(TTL));
    let early = leases.grant(Monotonic(TTL), &worker(0), 1).unwrap();
    leases.refused(Monotonic(TTL), &early, Some(&known)).unwrap();
    leases.expire(Monotonic(2 * TTL), Monotonic(2 * TTL));
    let new = grant(&mut leases, 2 * TTL, 1);
    leases.refused(Monotonic(2 * TTL + 1), &late, Some(&known)).unwrap();
    let index = new.shard.index;
    assert!(leases.renew(Monotonic(2 * TTL + 2), index, known.token).is_err());
    assert!(leases.renew(Monotonic(2 * TTL + 2), index, new.token).is_ok());
}
