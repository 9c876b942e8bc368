//! `--crash-at`, in builds for tests only.

use results::crash::{CrashAt, arm};

/// Crash point at which the process ends.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CrashArgs {
    /// End the process at once when it reaches a named point, or reaches it for the n-th time: NAME[:n]
    #[arg(long, value_name = "POINT", hide = true)]
    crash_at: Option<CrashAt>,
}

impl CrashArgs {
    /// Arms the crash point.
    pub(crate) fn arm(&self) {
        if let Some(point) = self.crash_at {
            arm(point);
        }
    }
}
