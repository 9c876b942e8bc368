//! Crash points: named places where a build for tests ends the process at once, as a power cut would.
//!
//! *Owns* the list of them. Without debug assertions (every release), [`reach`] does nothing and no point can be armed.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A place where the process can be made to end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $variant,)*
        }

        impl Point {
            /// Every point, in the order in which a run comes by them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What it is called on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// A corpus has arrived and lies complete under a temporary name.
    CorpusArrived = "corpus-arrived",
    /// It has its name; the ledger does not know the run.
    CorpusPlaced = "corpus-placed",
    /// The run is in the ledger; the client has no acknowledgement yet.
    RunRecorded = "run-recorded",
    /// A lease is about to be recorded.
    LeaseTentative = "lease-tentative",
    /// Steps are applied in the ledger's transaction, which is still open.
    LedgerApplied = "ledger-applied",
    /// The transaction is durable; who asked for its steps was not told.
    LedgerDurable = "ledger-durable",
    /// A lease is recorded; its worker was not told.
    LeaseRecorded = "lease-recorded",
    /// Calls that are to be permitted are recorded in the transaction of the answers, which is still open.
    CallsApplied = "calls-applied",
    /// The transaction is durable; the permits were not sent.
    CallsDurable = "calls-durable",
    /// What calls to a model came to is applied in the transaction of the answers, which is still open.
    AnswersApplied = "answers-applied",
    /// The transaction is durable; the workers were not told.
    AnswersDurable = "answers-durable",
    /// A part arrived whole; nothing of it is written.
    PartReceived = "part-received",
    /// An object lies under a temporary name, half written.
    PutBegun = "put-begun",
    /// An object lies under a temporary name, complete and synced.
    PutSynced = "put-synced",
    /// An object has its name; its folder is not synced.
    PutNamed = "put-named",
    /// A part is durable in the store; the ledger does not know it.
    PartStored = "part-stored",
    /// The ledger has the commit; the worker was not told.
    CommitRecorded = "commit-recorded",
    /// All is committed; the ledger says *finishing*.
    FinishBegun = "finish-begun",
    /// A final part is being written under a temporary name.
    CompactionBegun = "compaction-begun",
    /// All final parts are complete under temporary names.
    CompactionDone = "compaction-done",
    /// A final part has its name; others may not.
    FinalPartPlaced = "final-part-placed",
    /// `run.json` is written; the ledger does not say *finished*.
    RunFileWritten = "run-file-written",
    /// The ledger says *finished*; the staged parts are still there.
    RunFinished = "run-finished",
    /// Some of what is to be swept is gone.
    Sweeping = "sweeping",
}

/// Comes by `point`: the end of the process, if this is where and when it was armed to end.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_point: Point) {}

#[cfg(debug_assertions)]
pub use armed::{CrashAt, arm, reach};

#[cfg(debug_assertions)]
mod armed {
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    static ARMED: OnceLock<CrashAt> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    /// Where the process is to end: `NAME`, or `NAME:n` for the n-th time it comes by.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CrashAt {
        point: Point,
        time: u32,
    }

    impl FromStr for CrashAt {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let (name, time) = match text.split_once(':') {
                None => (text, 1),
                Some((name, time)) => {
                    (name, time.parse().map_err(|_| format!("{time:?} is not a number of times"))?)
                }
            };
            let point = Point::ALL.iter().copied().find(|point| point.as_str() == name);
            let names = || Point::ALL.iter().map(|point| point.as_str()).collect::<Vec<_>>().join(", ");
            let point =
                point.ok_or_else(|| format!("no crash point of that name; there are: {}", names()))?;
            Ok(Self { point, time })
        }
    }

    /// From now on the process ends at `crash`. Only the first call counts.
    pub fn arm(crash: CrashAt) {
        let _ = ARMED.set(crash);
    }

    /// Comes by `point`: the end of the process, if this is where and when it was armed to end.
    pub fn reach(point: Point) {
        if let Some(crash) = ARMED.get()
            && crash.point == point
            && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == crash.time
        {
            // No destructor runs, no buffer is flushed.
            std::process::abort();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn points_are_named_with_the_time_to_end() {
            let third: CrashAt = "put-synced:3".parse().unwrap();
            assert_eq!(third, CrashAt { point: Point::PutSynced, time: 3 });
            assert!("nowhere".parse::<CrashAt>().unwrap_err().contains("put-synced"));
            assert!("put-synced:x".parse::<CrashAt>().is_err());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|point| point.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
