//! Resources of runs: time, CPU and memory, summed over the processes that worked on them.
//!
//! *Invariant*: the ledger holds the usage of each process; of a killed one up to [`RECORD_EVERY`] may be missing.

mod attribution;

use std::sync::Arc;
use std::time::Duration;

use super::Coordinator;
use crate::ledger::RunResources;
use crate::scheduler::state::ActiveRun;

pub(super) use attribution::Attribution;

/// Interval of recording the usage of the active runs.
const RECORD_EVERY: Duration = Duration::from_secs(5);

/// Time limit of the last record at shutdown.
const LAST_RECORD: Duration = Duration::from_secs(3);

impl Coordinator {
    /// Resources that a run has used so far.
    pub(crate) fn resources_of(&self, run: &ActiveRun) -> RunResources {
        run.used_before.followed_by(RunResources::of_process(run.since.elapsed(), self.attribution.usage()))
    }

    /// Starts the task that records the usage of the active runs.
    pub(super) fn record_periodically(self: &Arc<Self>) {
        let coordinator = Arc::downgrade(self);
        self.spawn(async move {
            loop {
                tokio::time::sleep(RECORD_EVERY).await;
                let Some(coordinator) = coordinator.upgrade() else { return };
                coordinator.record_resources().await;
            }
        });
    }

    async fn record_resources(&self) {
        let used: Vec<_> = {
            let scheduler = self.scheduler();
            scheduler.active.iter().map(|(run_id, run)| (run_id.clone(), self.resources_of(run))).collect()
        };
        let recording = used.iter().map(|(run_id, used)| async move {
            if let Err(error) = self.ledger.record_resources(run_id, *used).await {
                tracing::warn!(run = %run_id, %error, "cannot record the resources of a run");
            }
        });
        // Concurrently, so that they share one transaction.
        futures::future::join_all(recording).await;
    }

    /// Ends the background tasks and records the usage of the active runs. For an orderly shutdown, after the server has
    /// stopped.
    pub async fn close(&self) {
        let mut background = self.take_background();
        background.shutdown().await;
        if tokio::time::timeout(LAST_RECORD, self.record_resources()).await.is_err() {
            tracing::warn!("the ledger did not record the resources of the runs in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use cli_support::usage::Usage;
    use domain::ids::RunId;
    use results::run_file::RunFile;
    use results::store::Store;

    use super::*;
    use crate::ledger::{Ledger as _, MemoryLedger, suite};
    use crate::run::{OwnerDeadline, Parts, Recovery};

    struct Scene {
        folder: tempfile::TempDir,
        ledger: Arc<MemoryLedger>,
    }

    impl Scene {
        async fn with_runs(names: &[&str]) -> Self {
            let scene = Self { folder: tempfile::tempdir().unwrap(), ledger: Arc::default() };
            for name in names {
                scene.ledger.create_run(suite::run(name)).await.unwrap();
            }
            scene
        }

        /// A coordinator that resumes the runs, as a new process does.
        async fn take_up(&self, recovery: Recovery) -> Arc<Coordinator> {
            let (store, scratch) = (Store::local(self.folder.path()).unwrap(), self.folder.path().to_owned());
            let ledger = Arc::clone(&self.ledger) as Arc<_>;
            Coordinator::open(Parts { ledger, store, scratch, recovery, owner: OwnerDeadline::unlimited() })
                .await
                .unwrap()
        }

        async fn used(&self, name: &str) -> RunResources {
            self.ledger.run(&RunId::new(name).unwrap()).await.unwrap().unwrap().resources
        }

        async fn described(&self, coordinator: &Arc<Coordinator>, name: &str) -> RunFile {
            let run_id = RunId::new(name).unwrap();
            coordinator.cancel(&run_id).await.unwrap();
            RunFile::load(&coordinator.folder(&run_id).unwrap()).await.unwrap()
        }
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (expected..expected + 0.5).contains(&found))
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn usage_of_earlier_processes_is_added_and_a_killed_one_loses_seconds_at_most() {
        let scene = Scene::with_runs(&["r"]).await;
        let killed = scene.take_up(Recovery::Grace).await;
        pass(12).await;
        killed.kill();
        drop(killed);
        assert!(near(scene.used("r").await.wall_s(), 10.0), "{:?}", scene.used("r").await);
        // The time without a coordinator does not count.
        pass(100).await;
        let orderly = scene.take_up(Recovery::Grace).await;
        pass(7).await;
        orderly.close().await;
        drop(orderly);
        assert!(near(scene.used("r").await.wall_s(), 17.0), "{:?}", scene.used("r").await);

        let last = scene.take_up(Recovery::Grace).await;
        pass(3).await;
        let described = scene.described(&last, "r").await;
        assert!(near(described.wall_s, 20.0), "{:?}", described.wall_s);
        assert_eq!(described.wall_s, scene.used("r").await.wall_s());
        assert_eq!(
            (described.cpu_s, described.peak_rss_mb),
            (None, None),
            "workers elsewhere are not measured"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cpu_and_memory_are_known_only_for_processes_that_worked_on_one_run_alone() {
        if Usage::of_this_process().is_none() {
            cli_support::output::say("skipped: this system does not report the usage of a process");
            return;
        }
        let scene = Scene::with_runs(&["r"]).await;
        let first = scene.take_up(Recovery::Forfeit).await;
        first.close().await;
        let before = scene.used("r").await;
        assert!(before.peak_rss_bytes > Some(0), "{before:?}");
        drop(first);
        // As if the earlier process had used more than this one can.
        let much = RunResources { cpu_ms: Some(3_600_000), peak_rss_bytes: Some(1 << 50), ..before };
        scene.ledger.record_resources(&RunId::new("r").unwrap(), much).await.unwrap();
        let second = scene.take_up(Recovery::Forfeit).await;
        let described = scene.described(&second, "r").await;
        assert!(described.cpu_s >= Some(3600.0), "{:?}", described.cpu_s);
        assert_eq!(described.peak_rss_mb, much.peak_rss_mb());

        let both = Scene::with_runs(&["one", "two"]).await;
        let coordinator = both.take_up(Recovery::Forfeit).await;
        pass(2).await;
        for name in ["one", "two"] {
            let described = both.described(&coordinator, name).await;
            assert_eq!((described.cpu_s, described.peak_rss_mb), (None, None), "they cannot be attributed");
            assert!(near(described.wall_s, 2.0), "{:?}", described.wall_s);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unmeasured_resources_stay_unknown() {
        let scene = Scene { folder: tempfile::tempdir().unwrap(), ledger: Arc::default() };
        let old = crate::ledger::RunEntry { resources: RunResources::UNKNOWN, ..suite::run("old") };
        scene.ledger.create_run(old).await.unwrap();
        let coordinator = scene.take_up(Recovery::Forfeit).await;
        pass(6).await;
        let described = scene.described(&coordinator, "old").await;
        assert_eq!((described.wall_s, described.cpu_s, described.peak_rss_mb), (None, None, None));
    }
}
