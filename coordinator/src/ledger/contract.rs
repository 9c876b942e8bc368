//! What a ledger must do: one trait, every step a compare-and-set on one small value.
//!
//! *Invariants* every implementation keeps (`suite.rs` checks them):
//! 1. A call that returned `Ok` is durable. One that returned `Err`, or that nobody waited for, may have happened or may
//!    still happen; it can be repeated, and happens once at most.
//! 2. `lease` succeeds only on the token that the caller saw; the token of a shard grows with every step on it.
//! 3. The length of a shard never grows, and changes only together with its token: whoever acts under a token acts on
//!    as many records as the ledger held when it took that token.
//! 4. `commit` succeeds only under the newest token of the shard, once; under the same token it answers `Already`.
//! 5. Nothing that is committed changes or disappears, until the run is removed whole.
//! 6. The configuration of a run is replaced only by one of the same hash.
//! 7. The state of a run moves only from the state that the caller saw.
//! 8. What a run has used never shrinks, and what is not known of it stays unknown; recording it twice changes nothing.
//! 9. A step answers from the newest value. Reads (`run`, `runs`, `shards`) may be stale, and pages of `shards` need not
//!    be of one moment: what they miss, the next step on the value tells.
//!
//! Callers rely on nothing else: no transaction over several values, no ordering between runs, no time. A replicated
//! engine with compare-and-set on keys can stand in.
//!
//! A shard is split by a lease of its first half. The other half has no entry until it is leased itself; that it exists
//! follows from the length of the first ([`domain::run::Shard::shrunk_to`]), and because that never grows, whoever has
//! once seen the half may lease it.

use std::time::Duration;

use cli_support::usage::Usage;
use futures::future::BoxFuture;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex, WorkerName};
use domain::run::{RunPlan, RunState, Shard};
use domain::tally::Tally;

/// A run in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEntry {
    /// What the run is.
    pub plan: RunPlan,
    /// Where it stands.
    pub state: RunState,
    /// Where its corpus came from, for people.
    pub source: String,
    /// When it was submitted, in ms since the Unix epoch.
    pub created_at_ms: u64,
    /// Fingerprint of its results, once finished.
    pub fingerprint: Option<String>,
    /// What it came to. `None`: it has not ended, or nobody has counted it yet.
    pub totals: Option<Totals>,
    /// What it has used so far, over all processes that worked on it.
    pub resources: RunResources,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the tallies of its committed parts.
    pub tally: Tally,
    /// How many shards are committed.
    pub committed: u32,
}

/// What a run has used, over all processes that worked on it. `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResources {
    /// Time during which a coordinator had the run active, in ms.
    pub wall_ms: Option<u64>,
    /// CPU time of the processes, in ms.
    pub cpu_ms: Option<u64>,
    /// Most memory that one of the processes held at a time, in bytes.
    pub peak_rss_bytes: Option<u64>,
}

impl RunResources {
    /// A run that has just begun.
    pub const ZERO: Self = Self { wall_ms: Some(0), cpu_ms: Some(0), peak_rss_bytes: Some(0) };

    /// A run of which nothing was measured.
    pub const UNKNOWN: Self = Self { wall_ms: None, cpu_ms: None, peak_rss_bytes: None };

    /// What one process has used, `wall` of its time for the run; `None`: its share of CPU and memory is not known.
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

    /// The time in seconds.
    pub fn wall_s(self) -> Option<f64> {
        self.wall_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// The CPU time in seconds.
    pub fn cpu_s(self) -> Option<f64> {
        self.cpu_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// The memory in MB (10⁶ bytes).
    pub fn peak_rss_mb(self) -> Option<f64> {
        self.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6)
    }

    /// The larger value of each; unknown where one of them is. In whatever order and however often records of one run
    /// are joined, the result is the same.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let larger = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
        Self {
            wall_ms: larger(self.wall_ms, other.wall_ms),
            cpu_ms: larger(self.cpu_ms, other.cpu_ms),
            peak_rss_bytes: larger(self.peak_rss_bytes, other.peak_rss_bytes),
        }
    }

    /// What was used by earlier processes and by the one after them: times add up, of memory the larger value counts.
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
    /// Which shard, and how many records it has.
    pub shard: Shard,
    /// Its newest token.
    pub token: FencingToken,
    /// How many times it has been leased.
    pub attempt: u32,
    /// How many of its leases had ended in the loss of their workers when it was leased last.
    pub lost: u32,
    /// Who leased it last.
    pub worker: WorkerName,
    /// Its part, once committed.
    pub part: Option<CommittedPart>,
}

/// A part that is visible.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedPart {
    /// Its key in the store.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub hash: PartHash,
    /// Counts over its rows.
    pub tally: Tally,
}

/// A lease to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Which shard, and how many records it has from now on.
    pub shard: Shard,
    /// The token that the ledger must hold (0: never leased).
    pub previous: FencingToken,
    /// The new token.
    pub token: FencingToken,
    /// How many times the shard has been leased, this lease included.
    pub attempt: u32,
    /// How many of its leases ended in the loss of their workers.
    pub lost: u32,
    /// Who gets it.
    pub worker: WorkerName,
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, PartialEq)]
pub enum Swap<T> {
    /// The value was as expected and has been replaced.
    Done,
    /// The value was another one, and stays.
    Differs(T),
}

/// What became of a new run.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is in the ledger now.
    New,
    /// A run of that id is there already.
    Existed(Box<RunEntry>),
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitVerdict {
    /// The part is visible now.
    Committed,
    /// It already was, under the same token.
    Already,
    /// The token is not the newest, or another one committed the shard.
    Stale {
        /// The newest token.
        current: FencingToken,
    },
}

/// Why the ledger cannot serve. Text for people; the variants by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Try again: locked, busy, or without space just now.
    #[error("the ledger at {place} does not work for now: {reason}")]
    Unavailable {
        /// Where it lies.
        place: String,
        /// What happened.
        reason: String,
    },
    /// A person has to look: damaged, foreign or not writable.
    #[error("the ledger at {place} cannot be used: {reason}")]
    Unusable {
        /// Where it lies.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No run has this id.
    #[error("there is not a run {0}")]
    UnknownRun(RunId),
}

/// Result of a ledger's call.
pub type LedgerResult<T> = Result<T, LedgerError>;

/// The durable record. See the head of this file for what every implementation guarantees.
pub trait Ledger: Send + Sync + 'static {
    /// Records a run, unless one of its id exists.
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>>;

    /// One run.
    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>>;

    /// Every run, oldest first.
    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>>;

    /// Moves a run from state `from` to `to`; a fingerprint, once given, stays.
    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        fingerprint: Option<String>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;

    /// Replaces the configuration of a run by one of the same hash: what decides no outcome may change.
    /// `Differs`: its hash is another one.
    fn reconfigure(&self, run_id: &RunId, config: RunConfig)
    -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>>;

    /// Shards that were ever leased, in order of their index, from `first` on, at most `limit`.
    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>>;

    /// Records a lease if the shard is not committed, its token is still `leased.previous`, the new one is larger, and
    /// it has not fewer records than the lease.
    /// `Differs(None)` cannot happen unless the caller expected a token and the shard was never leased.
    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>>;

    /// Makes a part visible if `token` is the newest of its shard and nothing is committed yet.
    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>>;

    /// Stores what a run came to, over what was stored before. `Differs`: it is neither finishing nor has it ended.
    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;

    /// Stores what a run has used: the larger value of each figure stays ([`RunResources::join`]).
    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>>;

    /// Forgets a run that is in state [`RunState::Removing`], shards and all; one that is not there is forgotten already.
    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>>;
}
