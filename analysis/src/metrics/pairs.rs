//! Runs of the same records, pair by pair.

use std::collections::{BTreeMap, HashMap};

use crate::load::cases::Case;
use crate::stats::{McNemar, mcnemar};

/// Records are the same if id, policy and document are.
pub(crate) type Key<'a> = (&'a str, &'a str, Option<&'a str>);

pub(crate) fn key(case: &Case) -> Key<'_> {
    (case.id.as_str(), case.policy.as_ref(), case.document.as_deref())
}

/// The cases of each run, in alphabetical order of the runs.
pub(crate) fn by_run(cases: &[Case]) -> BTreeMap<&str, Vec<&Case>> {
    let mut runs: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        runs.entry(&case.run).or_default().push(case);
    }
    runs
}

/// Two runs over the same records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) first: String,
    pub(crate) second: String,
    /// Records that both have.
    pub(crate) records: u64,
    /// Of these, those that the first accepted.
    pub(crate) accepted_first: u64,
    /// `McNemar`'s test of the acceptance of these records.
    pub(crate) test: McNemar,
}

/// `McNemar`'s test for each pair of runs, over the records that both have and `wanted` of the first run's row holds for.
/// Pairs without such records are left out.
pub(crate) fn paired(runs: &BTreeMap<&str, Vec<&Case>>, wanted: impl Fn(&Case, &Case) -> bool) -> Vec<Pair> {
    let mut tests = vec![];
    for (index, (a, first)) in runs.iter().enumerate() {
        let known: HashMap<Key<'_>, &Case> = first.iter().map(|case| (key(case), *case)).collect();
        for (b, second) in runs.iter().skip(index + 1) {
            let (mut records, mut accepted_first, mut only_first, mut only_second) = (0, 0, 0, 0);
            for case in second {
                let Some(other) = known.get(&key(case)).filter(|other| wanted(other, case)) else { continue };
                records += 1;
                accepted_first += u64::from(other.accepted);
                only_first += u64::from(other.accepted && !case.accepted);
                only_second += u64::from(!other.accepted && case.accepted);
            }
            if records > 0 {
                let test = mcnemar(only_first, only_second);
                tests.push(Pair {
                    first: (*a).to_owned(),
                    second: (*b).to_owned(),
                    records,
                    accepted_first,
                    test,
                });
            }
        }
    }
    tests
}
