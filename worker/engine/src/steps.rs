//! A bound on the work for one record, in steps: how many, not for how long, so that a record ends alike everywhere.
//!
//! Loops whose length a document or a patch decides call [`spend`]. Where the steps of the current [`limited`] call are used
//! up, the work unwinds to it, as cancelled queries do in `salsa`: no panic hook runs, and the functions in between need no
//! error of their own. Outside of [`limited`] nothing is counted.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// Steps that are left on this thread; `None`: not limited.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The payload that unwinds when the steps are used up.
struct UsedUp;

/// The work took more steps than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record takes more than limits.record_steps = {limit} steps: split its document, leave the record out, or raise the \
     limit"
)]
pub struct TooSlow {
    /// Steps that it may take.
    pub limit: u64,
}

/// Runs `work` with at most `limit` steps. A panic of `work` goes on.
pub fn limited<T>(limit: u64, work: impl FnOnce() -> T) -> Result<T, TooSlow> {
    let before = LEFT.replace(Some(limit));
    let ended = catch_unwind(AssertUnwindSafe(work));
    LEFT.set(before);
    ended.map_err(|payload| match payload.downcast::<UsedUp>() {
        Ok(_) => TooSlow { limit },
        Err(panic) => resume_unwind(panic),
    })
}

/// Runs `work` without a limit and returns its result with the steps that it took.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LEFT.replace(Some(u64::MAX));
    let value = work();
    let left = LEFT.replace(before).unwrap_or(u64::MAX);
    (value, u64::MAX - left)
}

/// Takes `steps`: one for each node, operation or finding that is looked at. Does not return where they are used up.
pub fn spend(steps: usize) {
    let Some(left) = LEFT.get() else { return };
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    match left.checked_sub(steps) {
        Some(left) => LEFT.set(Some(left)),
        None => resume_unwind(Box::new(UsedUp)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_after_its_steps() {
        assert_eq!(limited(10, || spend(10)), Ok(()));
        assert_eq!(limited(10, || spend(11)), Err(TooSlow { limit: 10 }));
        let done = Cell::new(0);
        let endless = limited(100, || {
            loop {
                spend(1);
                done.set(done.get() + 1);
            }
        });
        assert_eq!((endless, done.get()), (Err::<(), _>(TooSlow { limit: 100 }), 100));
        spend(usize::MAX);
    }

    #[test]
    fn limits_nest_and_panics_pass() {
        let outer = limited(5, || {
            spend(1);
            assert!(limited(1, || spend(2)).is_err());
            spend(4);
        });
        assert_eq!(outer, Ok(()));
        assert_eq!(counted(|| spend(7)), ((), 7));
        let panicked = catch_unwind(|| limited(5, || panic!("a bug")));
        assert!(panicked.is_err());
        spend(usize::MAX);
    }
}
