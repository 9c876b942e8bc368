//! Contract of a ledger: one trait, every step a compare-and-set on one small value.
//!
//! *Invariants* of every implementation (`suite.rs` checks them):
//! 1. A call that returned `Ok` is durable. One that returned `Err`, or whose future was dropped, may have taken effect or
//!    may still do so; it can be repeated, and takes effect at most once.
//! 2. `lease` succeeds only if the token is the one that the caller read; the token of a shard grows with every lease.
//! 3. The length of a shard never grows, and changes only together with its token: so work under a token covers exactly the
//!    records that the shard had when that token was recorded.
//! 4. `commit` succeeds only under the newest token of the shard, once; repeated under the same token it returns `Already`.
//! 5. Nothing that is committed changes or disappears, until the whole run is removed; but `reopen` takes back the one part
//!    that its caller names by its hash.
//! 6. The configuration of a run is replaced only by one of the same hash.
//! 7. The state of a run changes only from the state that the caller read.
//! 8. Recorded resources never shrink, unknown ones stay unknown, and recording them is idempotent.
//! 9. A step compares with the newest value, and returns it where it differs. Reads (`run`, `runs`, `shards`) may be
//!    stale, and pages of `shards` need not be a consistent snapshot: the next step on a value returns what a read has
//!    missed.
//!
//! Callers rely on nothing else: no transaction over several values, no ordering between runs, no clock. So a
//! replicated store with compare-and-set on keys can implement it.
//!
//! A shard is split by leasing its first half: the lease records the shorter length. The second half has no entry until
//! it is leased itself; it is derived from the length of the first ([`domain::run::Shard::shrunk_to`]). That length
//! never grows, so the second half can be leased from then on.

use std::time::Duration;

use cli_support::usage::Usage;
use futures::future::BoxFuture;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunFileHash, RunId, ShardIndex, WorkerName};
use domain::run::{RunPlan, RunState, Shard};
use domain::tally::Tally;

use crate::database::Trouble;

/// A run in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEntry {
    /// The plan of the run.
    pub plan: RunPlan,
    /// Its state.
    pub state: RunState,
    /// Source of its corpus, for display.
    pub source: String,
    /// When it was submitted, in ms since the Unix epoch.
    pub created_at_ms: u64,
    /// Fingerprint of its results, once finished.
    pub fingerprint: Option<String>,
    /// Hash of the `run.json` with which it was finished; `None` before, and where an older release finished it.
    pub run_file: Option<RunFileHash>,
    /// Its totals; `None` before it has ended, or where they have not been counted yet.
    pub totals: Option<Totals>,
    /// Resources that it has used so far, over all processes that worked on it.
    pub resources: RunResources,
    /// Why it failed; `None` in every state but [`RunState::Failed`].
    pub failure: Option<String>,
}

/// What the ledger holds of the results of a finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRun {
    /// Fingerprint of the rows.
    pub fingerprint: String,
    /// Hash of its `run.json`, which names the parts by their hashes.
    pub run_file: RunFileHash,
}

/// Totals of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the tallies of its committed parts.
    pub tally: Tally,
    /// Number of committed shards.
    pub committed: u32,
}

/// Resources of a run over all processes that worked on it. `None` where a figure is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResources {
    /// Time during which the run was active in a coordinator, in ms.
    pub wall_ms: Option<u64>,
    /// CPU time of the processes in ms.
    pub cpu_ms: Option<u64>,
    /// Largest peak memory of one of the processes in bytes.
    pub peak_rss_bytes: Option<u64>,
}

impl RunResources {
    /// Resources of a new run.
    pub const ZERO: Self = Self { wall_ms: Some(0), cpu_ms: Some(0), peak_rss_bytes: Some(0) };

    /// Resources of a run without measurements.
    pub const UNKNOWN: Self = Self { wall_ms: None, cpu_ms: None, peak_rss_bytes: None };

    /// Resources of one process that spent `wall` on the run; `process` is `None` where CPU and memory are not known.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times and sizes of a process: never negative, far below 2^53"
    )]
    pub fn of_process(wall: Duration, process: Option<Usage>) -> Self {
        Self {
            wall_ms: u64::try_from(wall.as_millis()).ok(),
            cpu_ms: process.map(|process| (process.cpu_s * 1000.0).round() as u64),
            peak_rss_bytes: process.map(|process| (process.peak_rss_mb * 1e6).round() as u64),
        }
    }

    /// Wall time in seconds.
    pub fn wall_s(self) -> Option<f64> {
        self.wall_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// CPU time in seconds.
    pub fn cpu_s(self) -> Option<f64> {
        self.cpu_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// Peak memory in MB (10⁶ bytes).
    pub fn peak_rss_mb(self) -> Option<f64> {
        self.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6)
    }

    /// The larger value of each figure; unknown where either is unknown. Associative, commutative and idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let larger = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
        Self {
            wall_ms: larger(self.wall_ms, other.wall_ms),
            cpu_ms: larger(self.cpu_ms, other.cpu_ms),
            peak_rss_bytes: larger(self.peak_rss_bytes, other.peak_rss_bytes),
        }
    }

    /// Resources of earlier processes and of the next one together: the sum of the times, the larger peak memory.
    #[must_use]
    pub fn followed_by(self, next: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        Self {
            wall_ms: sum(self.wall_ms, next.wall_ms),
            cpu_ms: sum(self.cpu_ms, next.cpu_ms),
            ..self.join(next)
        }
    }
}

/// A shard in the ledger. One that was never leased has no entry.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardEntry {
    /// Index and number of records.
    pub shard: Shard,
    /// Its newest token.
    pub token: FencingToken,
    /// How many times it has been leased.
    pub attempt: u32,
    /// How many of its leases counted as losses when it was last leased.
    pub lost: u32,
    /// Its last holder.
    pub worker: WorkerName,
    /// Its part, once committed.
    pub part: Option<CommittedPart>,
}

/// A committed part.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedPart {
    /// Its key in the store.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub hash: PartHash,
    /// Tally of its rows.
    pub tally: Tally,
}

/// A lease to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Index, and number of records from now on.
    pub shard: Shard,
    /// The token that the ledger must hold (0: never leased).
    pub previous: FencingToken,
    /// The new token.
    pub token: FencingToken,
    /// How many times the shard has been leased, this lease included.
    pub attempt: u32,
    /// How many of its leases count as losses.
    pub lost: u32,
    /// The new holder.
    pub worker: WorkerName,
}

/// Result of a compare-and-set.
#[derive(Debug, Clone, PartialEq)]
pub enum Swap<T> {
    /// The value was as expected and has been replaced.
    Done,
    /// The value was another one, and is unchanged.
    Differs(T),
}

/// Result of creating a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The run was recorded.
    New,
    /// A run of that id exists.
    Existed(Box<RunEntry>),
}

/// Result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitVerdict {
    /// The part is committed.
    Committed,
    /// It was committed before under the same token.
    Already,
    /// The token is not the newest, or the shard was committed under another one.
    Stale {
        /// The newest token.
        current: FencingToken,
    },
}

/// An error of the ledger, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Try again: locked, busy or out of space for now.
    #[error("the ledger at {place} is unavailable: {reason}")]
    Unavailable {
        /// Path of the ledger.
        place: String,
        /// Cause and remedy.
        reason: String,
    },
    /// Needs repair: damaged, not a ledger, or not writable.
    #[error("the ledger at {place} cannot be used: {reason}")]
    Unusable {
        /// Path of the ledger.
        place: String,
        /// Cause and remedy.
        reason: String,
    },
    /// No run has this id.
    #[error("unknown run {0}")]
    UnknownRun(RunId),
}

impl LedgerError {
    /// The error of the ledger at `place` for what is wrong with its database.
    pub(crate) fn of(place: String, trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unavailable(reason) => Self::Unavailable { place, reason },
            Trouble::Unusable(reason) => Self::Unusable { place, reason },
        }
    }
}

/// Result of a call of the ledger.
pub type LedgerResult<T> = Result<T, LedgerError>;

/// The durable state of runs. The documentation of this module lists what every implementation guarantees.
pub trait Ledger: Send + Sync + 'static {
    /// Records a run, unless one of its id exists.
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>>;

    /// Reads a run.
    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>>;

    /// Reads every run, oldest first.
    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>>;

    /// Changes the state of a run from `from` to `to`. `None` leaves what is recorded of its results as it is.
    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;

    /// Changes the state of a run from `from` to [`RunState::Failed`], with the reason. Any later change of the state drops the
    /// reason.
    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;

    /// Replaces the configuration of a run by one of the same hash: only keys that do not affect outcomes may change.
    /// `Differs`: the run has another hash.
    fn reconfigure(&self, run_id: &RunId, config: RunConfig)
    -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>>;

    /// Reads at most `limit` shards that were ever leased, in order of their index, from `first` on.
    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>>;

    /// Records a lease if the shard is not committed, its token is still `leased.previous`, the new one is larger, and the
    /// shard has at least as many records as the lease.
    /// `Differs(None)`: the caller expected a token, and the shard was never leased.
    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>>;

    /// Commits a part if `token` is the newest of its shard and the shard is not committed yet.
    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>>;

    /// Takes back the part of a shard, whose file is damaged or missing, so that the shard can be leased again under a larger
    /// token. `Differs`: the shard has no part, or one of another hash.
    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>>;

    /// Stores the totals of a run, replacing earlier ones. `Differs`: the run is neither finishing nor ended.
    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;

    /// Stores the resources of a run; the larger value of each figure stays ([`RunResources::join`]).
    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>>;

    /// Deletes a run in the state [`RunState::Removing`] with its shards; `Done` also for an unknown run.
    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;
}
