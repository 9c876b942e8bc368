//! What the page shows at one time: runs, what they may spend, workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::config::SpendConfig;
use domain::ids::RunId;
use proto::convert::{RunStatus, WorkerStatus};
use proto::status::ApiError;
use tokio::sync::Mutex;

use super::history::Track;
use crate::run::Coordinator;

/// Runs that the page lists at most: the active ones, and the newest of the others.
pub(super) const MOST_RUNS: usize = 100;

/// How long ended runs are shown as they were read, while nothing ends.
const ENDED_FOR: Duration = Duration::from_secs(30);

/// All that the page shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    /// The newest first.
    pub(super) runs: Vec<Arc<RunStatus>>,
    /// How many older runs are not listed.
    pub(super) older: usize,
    /// What active runs may spend.
    pub(super) bounds: BTreeMap<RunId, SpendConfig>,
    pub(super) workers: Vec<WorkerStatus>,
    /// What is known of active runs over time.
    pub(super) tracks: BTreeMap<RunId, Track>,
}

/// The runs that have ended, as they were read last.
#[derive(Debug, Default)]
struct Ended {
    read: Option<Instant>,
    /// Runs that had ended, and that were active, when they were read.
    mark: (u64, Vec<RunId>),
    runs: Vec<Arc<RunStatus>>,
    older: usize,
}

/// Collects boards. Ended runs are read again only when one more has ended, for each is read from ledger and cache.
#[derive(Debug)]
pub(super) struct Collector {
    coordinator: Arc<Coordinator>,
    ended: Mutex<Ended>,
}

impl Collector {
    pub(super) fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, ended: Mutex::default() }
    }

    pub(super) fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// The statuses of the active runs.
    pub(super) async fn active(&self) -> Result<Vec<Arc<RunStatus>>, ApiError> {
        let mut runs = Vec::new();
        for run_id in self.coordinator.spend_bounds().into_keys() {
            runs.push(Arc::new(self.coordinator.status(&run_id).await?));
        }
        Ok(runs)
    }

    /// Everything at this moment, but for the history.
    pub(super) async fn collect(&self) -> Result<Board, ApiError> {
        let bounds = self.coordinator.spend_bounds();
        let mut runs = self.active().await?;
        let (ended, older) = self.ended(bounds.keys().cloned().collect()).await?;
        let active: Vec<RunId> = runs.iter().map(|run| run.run_id.clone()).collect();
        runs.extend(ended.into_iter().filter(|run| !active.contains(&run.run_id)));
        runs.sort_by(|a, b| (b.created_at_ms, &b.run_id).cmp(&(a.created_at_ms, &a.run_id)));
        let workers = self.coordinator.workers();
        Ok(Board { runs, older, bounds, workers, tracks: BTreeMap::new() })
    }

    /// The newest ended runs, and how many there are besides.
    async fn ended(&self, active: Vec<RunId>) -> Result<(Vec<Arc<RunStatus>>, usize), ApiError> {
        let mut ended = self.ended.lock().await;
        let mark = (self.coordinator.changed.borrow().ended, active);
        let is_fresh = ended.read.is_some_and(|read| read.elapsed() < ENDED_FOR) && ended.mark == mark;
        if !is_fresh {
            let all = self.coordinator.list().await?;
            let (count, room) = (all.len(), MOST_RUNS.saturating_sub(mark.1.len()));
            // Oldest first: the newest are at the end.
            let newest = all.into_iter().filter(|run| run.state.has_ended()).rev().take(room);
            ended.runs = newest.map(Arc::new).collect();
            ended.older = count.saturating_sub(ended.runs.len()).saturating_sub(mark.1.len());
            (ended.read, ended.mark) = (Some(Instant::now()), mark);
        }
        Ok((ended.runs.clone(), ended.older))
    }
}
