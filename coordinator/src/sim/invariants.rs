//! Invariants of a run as pure functions: the simulation checks them after every step.
//!
//! | | invariant | checked by |
//! | --- | --- | --- |
//! | 1 | the shards of the ledger cut the corpus exactly: none overlaps, none is missing | [`check`] |
//! | 2 | a committed part has a row for each record of its shard | [`check`] |
//! | 3 | a part that the ledger names is in the store, with the length that was committed | [`check`] |
//! | 4 | a run that is finishing or finished has every record committed once | [`check`] |
//! | 5 | a token grows with every lease of its shard, a length changes only with its token and never grows, nothing that is committed changes | [`step`] |
//! | 6 | only the newest token commits | [`step`] |
//! | 7 | a lease is sent to one worker, once | [`sent_once`] |

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{FencingToken, ShardIndex};
use domain::run::{RunPlan, RunState, Shard};

use crate::ledger::ShardEntry;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// Invariant 1: an entry that is not a shard of the plan, nor a part of one after splits.
    #[error("shard {} of {} records is not a shard of the plan, nor a part of one", .0.index, .0.len)]
    Stray(Shard),
    /// Invariant 1: an entry of an impossible length.
    #[error("shard {} has {} records: splitting {whole} cannot lead to that", .shard.index, .shard.len)]
    Length {
        shard: Shard,
        /// Length of the shard before its splits.
        whole: u32,
    },
    /// Invariant 2: the part does not have a row for each record.
    #[error("the part of shard {} has {rows} rows, its shard {} records", .shard.index, .shard.len)]
    Rows {
        shard: Shard,
        /// Rows of its part.
        rows: u64,
    },
    /// Invariant 3: the part is not in the store.
    #[error("the part of shard {shard} is not in the store: {key}")]
    Missing { shard: ShardIndex, key: String },
    /// Invariant 3: the part has another length than when it was committed.
    #[error("the part of shard {shard} has {found} bytes in the store, {bytes} when it was committed: {key}")]
    Size {
        shard: ShardIndex,
        key: String,
        /// Bytes when it was committed.
        bytes: u64,
        found: u64,
    },
    /// Invariant 4: the run is finishing or finished, and a shard is not committed.
    #[error("the run is {}, but shard {} with {} records is not committed", state.as_str(), .shard.index, .shard.len)]
    Incomplete {
        /// State of the run.
        state: RunState,
        /// The shard that is not committed.
        shard: Shard,
    },
    /// Invariant 5.
    #[error("shard {shard}: {what}")]
    Step { shard: ShardIndex, what: &'static str },
    /// Invariant 6.
    #[error("shard {shard} was committed under token {token}, the newest is {newest}")]
    Fence {
        shard: ShardIndex,
        /// The token of the commit.
        token: FencingToken,
        newest: FencingToken,
    },
    /// Invariant 7.
    #[error("token {token} of shard {shard} was sent twice")]
    SentTwice { shard: ShardIndex, token: FencingToken },
}

/// Checks a run: its plan and state, all its shards in the ledger, and, unless its staged parts have been merged, the
/// length of every staged part by its key.
pub(crate) fn check(
    plan: &RunPlan,
    state: RunState,
    entries: &[ShardEntry],
    staged: Option<&BTreeMap<String, u64>>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let by_index: BTreeMap<ShardIndex, &ShardEntry> =
        entries.iter().map(|entry| (entry.shard.index, entry)).collect();
    let (leaves, misfits) = partition(plan, &by_index);
    violations.extend(misfits);
    if matches!(state, RunState::Finishing | RunState::Finished) {
        let incomplete = leaves
            .iter()
            .filter(|leaf| by_index.get(&leaf.index).is_none_or(|entry| entry.part.is_none()))
            .map(|shard| Violation::Incomplete { state, shard: *shard });
        violations.extend(incomplete);
    }
    for entry in entries {
        let Some(part) = &entry.part else { continue };
        if part.tally.records != u64::from(entry.shard.len) {
            violations.push(Violation::Rows { shard: entry.shard, rows: part.tally.records });
        }
        let Some(staged) = staged else { continue };
        let (shard, key) = (entry.shard.index, part.key.clone());
        match staged.get(&part.key) {
            None => violations.push(Violation::Missing { shard, key }),
            Some(found) if *found != part.bytes => {
                violations.push(Violation::Size { shard, key, bytes: part.bytes, found: *found });
            }
            Some(_) => {}
        }
    }
    violations
}

/// The shards into which the corpus is cut now, in order, and the entries that do not fit. The cut is exact by
/// construction: every entry is the first part of the shard that it was split from, and the rest are shards, too.
pub(crate) fn partition(
    plan: &RunPlan,
    entries: &BTreeMap<ShardIndex, &ShardEntry>,
) -> (Vec<Shard>, Vec<Violation>) {
    let (mut leaves, mut violations) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while let Some(planned) = plan.cut().shard_at(next) {
        next = planned.end();
        let mut open = vec![planned];
        while let Some(shard) = open.pop() {
            let Some(entry) = entries.get(&shard.index) else {
                leaves.push(shard);
                continue;
            };
            seen.insert(shard.index);
            match shard.shrunk_to(entry.shard.len) {
                Some((left, off)) => {
                    leaves.push(left);
                    open.extend(off.into_iter().rev());
                }
                None => violations.push(Violation::Length { shard: entry.shard, whole: shard.len }),
            }
        }
    }
    let strays = entries.values().filter(|entry| !seen.contains(&entry.shard.index));
    violations.extend(strays.map(|entry| Violation::Stray(entry.shard)));
    (leaves, violations)
}

/// Checks one step of the ledger on a shard; `commit`: the token of a commit.
pub(crate) fn step(
    before: Option<&ShardEntry>,
    after: Option<&ShardEntry>,
    commit: Option<FencingToken>,
) -> Option<Violation> {
    if before == after {
        return None;
    }
    let Some(after) = after else {
        let shard = before?.shard.index;
        return Some(Violation::Step { shard, what: "its entry disappeared" });
    };
    let shard = after.shard.index;
    let token = before.map_or(FencingToken::default(), |before| before.token);
    if let Some(commit) = commit
        && (commit != token || after.token != token)
    {
        return Some(Violation::Fence { shard, token: commit, newest: token });
    }
    let wrong = |what| Some(Violation::Step { shard, what });
    match before {
        Some(before) if before.part.is_some() => wrong("a committed entry changed"),
        Some(before) if before.shard.len < after.shard.len => wrong("its length grew"),
        Some(before) if before.shard.len != after.shard.len && before.token == after.token => {
            wrong("its length changed under the same token")
        }
        _ if commit.is_none() && after.token <= token => wrong("its token did not grow"),
        _ if commit.is_none() && after.part.is_some() => wrong("a lease committed it"),
        _ => None,
    }
}

/// Checks that no lease was sent twice.
pub(crate) fn sent_once<'a>(
    leases: impl IntoIterator<Item = &'a (ShardIndex, FencingToken)>,
) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    leases
        .into_iter()
        .filter(|lease| !seen.insert(**lease))
        .map(|(shard, token)| Violation::SentTwice { shard: *shard, token: *token })
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::ids::{PartHash, WorkerName};
    use domain::tally::Tally;

    use super::*;
    use crate::ledger::CommittedPart;

    /// Ten records in shards of four.
    fn plan() -> RunPlan {
        let config = domain::config::RunConfig::default();
        RunPlan {
            run_id: domain::ids::RunId::new("r").unwrap(),
            corpus_hash: domain::ids::CorpusHash::of(b""),
            config_hash: config.hash(),
            config,
            records: 10,
            shard_size: 4,
            version: String::new(),
            former_endpoint: None,
        }
    }

    fn entry(index: u32, len: u32, committed: bool) -> ShardEntry {
        let part = committed.then(|| CommittedPart {
            key: format!("parts/{index}"),
            bytes: 7,
            hash: PartHash::of(b""),
            tally: Tally { records: len.into(), ..Tally::default() },
        });
        ShardEntry {
            shard: Shard { index: ShardIndex(index), len },
            token: FencingToken(1),
            attempt: 1,
            lost: 0,
            worker: WorkerName::new("w").unwrap(),
            part,
        }
    }

    #[test]
    fn a_correct_run_has_no_violations() {
        let entries =
            [entry(0, 1, true), entry(1, 1, true), entry(2, 2, true), entry(4, 4, true), entry(8, 2, true)];
        let staged = entries.iter().map(|entry| (format!("parts/{}", entry.shard.index), 7)).collect();
        assert_eq!(check(&plan(), RunState::Finishing, &entries, Some(&staged)), []);
        assert_eq!(check(&plan(), RunState::Running, &[], Some(&BTreeMap::new())), []);
    }

    #[test]
    fn violations_are_named() {
        let check = |state, entries: &[ShardEntry], staged: &[(&str, u64)]| {
            let staged = staged.iter().map(|(key, bytes)| ((*key).to_owned(), *bytes)).collect();
            check(&plan(), state, entries, Some(&staged))
        };
        let running = RunState::Running;
        assert!(matches!(check(running, &[entry(2, 2, false)], &[])[..], [Violation::Stray(_)]));
        assert!(matches!(
            check(running, &[entry(0, 3, false)], &[])[..],
            [Violation::Length { whole: 4, .. }]
        ));
        assert!(matches!(check(running, &[entry(8, 2, true)], &[])[..], [Violation::Missing { .. }]));
        let longer = check(running, &[entry(8, 2, true)], &[("parts/8", 8)]);
        assert!(matches!(longer[..], [Violation::Size { found: 8, .. }]), "{longer:?}");
        let incomplete = check(
            RunState::Finishing,
            &[entry(0, 4, true), entry(4, 4, true)],
            &[("parts/0", 7), ("parts/4", 7)],
        );
        assert!(matches!(incomplete[..], [Violation::Incomplete { .. }]), "{incomplete:?}");
        let mut short = entry(8, 2, true);
        short.part.as_mut().unwrap().tally.records = 1;
        assert!(matches!(check(running, &[short], &[("parts/8", 7)])[..], [Violation::Rows { rows: 1, .. }]));
    }

    #[test]
    fn a_step_that_violates_the_contract_is_named() {
        let (whole, done) = (entry(0, 4, false), entry(0, 4, true));
        let again = ShardEntry { token: FencingToken(2), ..whole.clone() };
        let half = ShardEntry { shard: Shard { len: 2, ..whole.shard }, ..again.clone() };
        assert_eq!(step(None, Some(&whole), None), None);
        assert_eq!(step(Some(&whole), Some(&again), None), None);
        assert_eq!(step(Some(&whole), Some(&half), None), None);
        assert_eq!(step(Some(&whole), Some(&done), Some(FencingToken(1))), None);
        assert!(step(Some(&again), Some(&done), Some(FencingToken(1))).is_some(), "an old token");
        assert!(
            step(Some(&half), Some(&ShardEntry { token: FencingToken(3), ..whole.clone() }), None).is_some()
        );
        assert!(step(Some(&done), Some(&again), None).is_some(), "committed");
        assert!(step(Some(&whole), None, None).is_some());
        assert!(step(Some(&again), Some(&whole), None).is_some(), "backwards");
        let lease = (ShardIndex(0), FencingToken(1));
        assert_eq!(sent_once(&[lease, lease]).len(), 1);
    }
}
