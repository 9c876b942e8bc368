//! What is watched, rendered once a tick for all who watch it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::body::Bytes;
use domain::ids::RunId;
use proto::status::ApiError;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::board::{Board, Collector};
use super::history::{History, INTERVAL_S};
use super::{overview, run_view};
use crate::run::Coordinator;

/// Between two looks at the runs.
const TICK: Duration = Duration::from_secs(1);

/// Streams of events at a time. Fewer than connections, so that metrics and pages are reached beside them.
pub(super) const MOST_WATCHERS: usize = 56;

/// What is watched.
pub(super) type Topic = Option<RunId>;

/// The page, and who watches it.
pub(super) struct LivePage {
    collector: Collector,
    started: Instant,
    history: Mutex<History>,
    /// The last event of each topic that is watched: the runs together (`None`), or one of them.
    topics: Mutex<HashMap<Topic, watch::Sender<Bytes>>>,
    pub(super) places: Arc<Semaphore>,
}

impl LivePage {
    /// The page of a coordinator. Its task ends with it.
    pub(super) fn start(coordinator: &Arc<Coordinator>) -> Arc<Self> {
        let page = Arc::new(Self {
            collector: Collector::new(Arc::clone(coordinator)),
            started: Instant::now(),
            history: Mutex::default(),
            topics: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_WATCHERS)),
        });
        coordinator.spawn(tick(Arc::downgrade(&page)));
        page
    }

    pub(super) fn coordinator(&self) -> &Arc<Coordinator> {
        self.collector.coordinator()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, watch::Sender<Bytes>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything at this moment, with the history.
    pub(super) async fn board(&self) -> Result<Board, ApiError> {
        let mut board = self.collector.collect().await?;
        let history = self.history();
        let tracks = board.runs.iter().filter_map(|run| Some((run.run_id.clone(), history.of(&run.run_id)?)));
        board.tracks = tracks.collect();
        drop(history);
        Ok(board)
    }

    /// Notes where the active runs are, and sends what is watched and has changed.
    async fn refresh(&self, keeps_history: bool) {
        let is_watched = {
            let mut topics = self.topics();
            topics.retain(|_, topic| topic.receiver_count() > 0);
            !topics.is_empty()
        };
        if !is_watched && !keeps_history {
            return;
        }
        if keeps_history {
            match self.collector.active().await {
                Ok(active) => {
                    self.history().note(self.started.elapsed().as_secs(), active.iter().map(AsRef::as_ref));
                }
                Err(error) => tracing::debug!(%error, "cannot read the active runs for the page"),
            }
        }
        if !is_watched {
            return;
        }
        let board = self.board().await;
        for (topic, sender) in &*self.topics() {
            let event = event(topic.as_ref(), &board);
            sender.send_if_modified(|last| {
                let changed = *last != event;
                *last = event;
                changed
            });
        }
    }

    /// The events of a topic from now on.
    pub(super) async fn watch(&self, topic: Topic) -> watch::Receiver<Bytes> {
        let known = self.topics().get(&topic).map(watch::Sender::subscribe);
        let mut receiver = if let Some(receiver) = known {
            receiver
        } else {
            let first = event(topic.as_ref(), &self.board().await);
            let mut topics = self.topics();
            topics.entry(topic).or_insert_with(|| watch::Sender::new(first)).subscribe()
        };
        receiver.mark_changed();
        receiver
    }
}

/// Looks at the runs until the page is gone.
async fn tick(page: Weak<LivePage>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        ticks.tick().await;
        let Some(page) = page.upgrade() else { return };
        page.refresh(count.is_multiple_of(INTERVAL_S)).await;
        count += 1;
    }
}

/// An event: the parts of the page by their ids, as HTML.
fn event(topic: Option<&RunId>, board: &Result<Board, ApiError>) -> Bytes {
    let sections = match (board, topic) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(board), None) => Ok(overview::sections(board)),
        (Ok(board), Some(run_id)) => match board.runs.iter().find(|run| run.run_id == *run_id) {
            Some(run) => Ok(run_view::sections(board, run)),
            None => Err(format!("run {run_id} is not known here")),
        },
    };
    let message = match sections {
        Ok(sections) => {
            let sections: serde_json::Map<_, _> =
                sections.into_iter().map(|(id, html)| (id.to_owned(), html.into())).collect();
            json!({"sections": sections})
        }
        Err(trouble) => json!({"trouble": cli_support::escape::one_line(&trouble)}),
    };
    // JSON holds no line feed, which would end the data.
    Bytes::from(format!("data: {message}\n\n"))
}

#[cfg(test)]
mod tests {
    use proto::status::ErrorReason;

    use super::*;

    #[test]
    fn an_event_is_one_line_of_data() {
        let text = String::from_utf8(event(None, &Ok(Board::default())).to_vec()).unwrap();
        let data = text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'), "{text}");
        let message: serde_json::Value = serde_json::from_str(data).unwrap();
        assert!(message["sections"]["runs"].as_str().unwrap().contains("No runs yet"));
        let lost = event(Some(&RunId::new("r").unwrap()), &Ok(Board::default()));
        assert!(String::from_utf8_lossy(&lost).contains("run r is not known here"));
        let broken = Err(ApiError::new(ErrorReason::Storage, "a\nb\u{1b}"));
        let text = String::from_utf8(event(None, &broken).to_vec()).unwrap();
        assert!(text.contains("\"trouble\":") && text.lines().count() == 2, "{text}");
    }
}
