//! `--crash-at`, in builds for tests alone.

use results::crash::{CrashAt, arm};

/// Where the process is to end.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CrashArgs {
    /// End the process at once at a named point, or at the n-th time it comes by: NAME[:n]
    #[arg(long, value_name = "POINT", hide = true)]
    crash_at: Option<CrashAt>,
}

impl CrashArgs {
    /// From here on the point is live.
    pub(crate) fn arm(&self) {
        if let Some(point) = self.crash_at {
            arm(point);
        }
    }
}
