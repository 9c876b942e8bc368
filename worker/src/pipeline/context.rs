//! What the records of a slice share: the run, the lease, and the start of their times.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::config::{Limits, RunConfig};
use domain::ids::{ShardIndex, WorkerName};
use domain::outcome::ErrorKind;
use domain::record::Problem;
use engine::steps::limited;

use super::tool_rescan::ToolRescans;
use crate::server_judge::LeaseJudge;

/// What the records of a slice share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Configuration of the run.
    pub config: RunConfig,
    /// Shard of the records.
    pub shard: ShardIndex,
    /// How many times the shard has been leased, this time included.
    pub attempt: u32,
    /// The worker that computes the slice.
    pub worker: WorkerName,
    /// When the worker had received the whole slice: `queue_ms` and `total_ms` of its records start here.
    pub arrived: Instant,
    /// The API server, where the run needs one.
    pub server: Option<Arc<LeaseJudge>>,
    /// The other scanners, where the run asks some.
    pub rescans: Option<Arc<ToolRescans>>,
}

impl Context {
    /// Milliseconds since the slice arrived.
    pub(super) fn now_ms(&self) -> f64 {
        ms_since(self.arrived)
    }

    /// Whether the slice cannot be finished, because the API server gave no answer.
    pub(super) fn is_stopped(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.is_stopped())
    }
}

pub(super) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Microseconds since 1970.
pub(super) fn unix_us() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

/// Runs `work` within the steps of a record, and turns too many of them, or a panic, into a problem of the record.
pub(super) fn within_bounds<T>(doing: &str, limits: &Limits, work: impl FnOnce() -> T) -> Result<T, Problem> {
    match catch_unwind(AssertUnwindSafe(|| limited(limits.record_steps, work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(too_slow)) => Err(Problem { kind: ErrorKind::TooSlow, message: too_slow.to_string() }),
        Err(_) => Err(Problem {
            kind: ErrorKind::Internal,
            message: format!("bug in the harness while {doing}; please report the record"),
        }),
    }
}
