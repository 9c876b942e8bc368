//! The task that owns the questions: streams, store, clock and runs on one side, the machine on the other.
//!
//! The store is asked and written in batches, one at a time: what comes while a batch is under way makes the next one. So
//! a hundred answers that arrive together cost one sync of the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::channel::OPEN_QUESTIONS;
use proto::status::{Reason, Refusal};

use super::batches::{Batches, Came};
use super::effect::{Effect, Keeping, Place, Reply, StreamId};
use super::inbox::{Inbox, Note, Notes, Posted};
use super::machine::Questions;
use crate::answers::{Answers, Keep, Spent, Stored};
use crate::metrics::QuestionEvent;
use crate::runs::Runs;

/// Messages of workers that may wait for the task; more of them wait on their links.
const NOTES: usize = 1024;

/// Questions that a stream may have open. A worker keeps to [`OPEN_QUESTIONS`]; those that it withdraws while leave for them
/// is on its way count here until their calls come back.
const MOST_OPEN: usize = 2 * OPEN_QUESTIONS + 1000;

/// Replies that may wait for a link. Each open question has two at most, so a link that is full is not read from.
const REPLIES: usize = 2 * MOST_OPEN + 1000;

/// Between two looks at where runs stand.
const PUBLISH: Duration = Duration::from_millis(500);

/// The way to the task.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    notes: Notes,
    streams: Arc<AtomicU64>,
}

/// Ends the task. Dropped, it does so without waiting.
#[derive(Debug)]
pub(crate) struct Closing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Closing {
    /// Takes no more, and waits until what came is kept, but no longer than `patience`.
    pub(crate) async fn close(mut self, patience: Duration) {
        drop(self.stop);
        if tokio::time::timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("what calls came to at last is not kept: their workers have it still");
        }
    }
}

impl Desk {
    /// Opens the desk, and gives what ends it.
    pub(crate) async fn open(runs: Arc<Runs>, store: Arc<dyn Answers>) -> Result<(Self, Closing), Refusal> {
        let asking =
            |(run_id, live): (&RunId, &crate::runs::Live)| live.terms.is_some().then(|| run_id.clone());
        let live: Vec<RunId> = runs.book().live.iter().filter_map(asking).collect();
        let reader = Arc::clone(&store);
        let spent = tokio::task::spawn_blocking(move || reader.spent_of(&live)).await;
        let spent = spent.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
        let spent = spent.map_err(|error| Refusal::new(Reason::Storage, error.to_string()))?;
        runs.board.attach(Arc::clone(&store));
        let (notes, queue) = Notes::queue(NOTES);
        let clerk = Clerk {
            changes: runs.changed.subscribe(),
            runs,
            machine: Questions::new(spent.into_iter().collect()),
            began: Instant::now(),
            links: HashMap::new(),
            look: Batches::new(),
            keep: Batches::new(),
            totals: Batches::new(),
            blocked: None,
            store,
            dirty: true,
            troubled: false,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(clerk.work(queue, stopped));
        Ok((Self { notes, streams: Arc::default() }, Closing { stop, task }))
    }

    /// A worker opened its stream; what it hears of its questions comes by the receiver, which ends when another stream
    /// of the worker takes its place.
    pub(crate) async fn connect(
        &self,
        worker: WorkerName,
    ) -> Result<(Inbox, mpsc::Receiver<(u64, Reply)>), Refusal> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let (replies, outgoing) = mpsc::channel(REPLIES);
        self.notes.send(Note::Opened(stream, worker, replies)).await?;
        Ok((self.notes.inbox(stream), outgoing))
    }
}

/// Keys with their answers, where there are any.
type Found = Vec<(AnswerKey, Option<Stored>)>;

/// The task.
struct Clerk {
    runs: Arc<Runs>,
    changes: watch::Receiver<crate::runs::Change>,
    store: Arc<dyn Answers>,
    machine: Questions,
    began: Instant,
    links: HashMap<StreamId, mpsc::Sender<(u64, Reply)>>,
    look: Batches<AnswerKey, Found>,
    keep: Batches<Keeping, Vec<bool>>,
    /// What runs have spent that this process did not know.
    totals: Batches<RunId, Vec<(RunId, Spent)>>,
    /// The message that waits for that; nothing else is taken meanwhile.
    blocked: Option<Note>,
    /// Whether something happened since runs were shown last.
    dirty: bool,
    /// Whether the store failed when it was used last.
    troubled: bool,
}

impl Clerk {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Whether messages are taken: a store that is behind, or does not work, holds the workers up.
    fn has_room(&self) -> bool {
        self.blocked.is_none() && !self.look.is_full() && !self.keep.is_full()
    }

    async fn work(mut self, mut notes: mpsc::UnboundedReceiver<Posted>, mut stopped: oneshot::Receiver<()>) {
        let mut publish = tokio::time::interval(PUBLISH);
        publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut open, mut stopping) = (true, false);
        self.publish();
        while open || !self.keep.is_idle() {
            let wake = self.wake();
            tokio::select! {
                posted = notes.recv(), if open && self.has_room() => match posted {
                    Some(posted) => self.take(posted.note),
                    None => open = false,
                },
                // Sent or dropped, it means the same.
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    notes.close();
                }
                came = self.keep.done() => self.kept(came),
                came = self.look.done() => self.looked(came),
                came = self.totals.done() => self.totalled(came),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let now = self.now();
                    self.machine.tick(now);
                }
                changed = self.changes.changed(), if open => match changed {
                    Ok(()) => self.look_at_runs(),
                    Err(_) => open = false,
                },
                _ = publish.tick(), if self.dirty => {
                    self.forget_ended();
                    self.publish();
                }
            }
            self.carry_out();
            self.begin();
        }
        self.publish();
    }

    /// Gives the store what there is to do.
    fn begin(&mut self) {
        let store = Arc::clone(&self.store);
        self.totals.begin(move |runs| store.spent_of(runs));
        let store = Arc::clone(&self.store);
        self.look.begin(move |keys| store.look_up(keys));
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.runs.metrics));
        self.keep.begin(move |batch| {
            let begun = std::time::Instant::now();
            let batch: Vec<Keep> = batch.iter().map(|keeping| keeping.keep.clone()).collect();
            let kept = store.keep(&batch)?;
            metrics.answers_kept(begun.elapsed());
            Ok(kept)
        });
    }

    /// When something is due by itself.
    fn wake(&self) -> Option<Instant> {
        let due = self.machine.wake().map(|at| self.began + Duration::from_secs_f64(at.max(0.0)));
        let now = Instant::now();
        let retries = [self.look.not_before, self.keep.not_before, self.totals.not_before];
        retries.into_iter().flatten().filter(|at| *at > now).chain(due).min()
    }

    /// Takes a message. What a run has spent has to be known before anything is heard of it.
    fn take(&mut self, note: Note) {
        match note.run_id().filter(|run_id| !self.machine.knows(run_id)) {
            Some(run_id) => {
                self.totals.push(run_id.clone());
                self.blocked = Some(note);
            }
            None => self.hear(note),
        }
    }

    fn hear(&mut self, note: Note) {
        let now = self.now();
        self.dirty = true;
        match note {
            Note::Opened(stream, worker, link) => {
                self.links.insert(stream, link);
                self.machine.opened(now, stream, worker);
            }
            Note::Asked(stream, asked) => {
                if self.machine.open_questions(stream) >= MOST_OPEN {
                    tracing::error!(
                        open = MOST_OPEN,
                        "a worker has too many questions open: its stream ends"
                    );
                    self.links.remove(&stream);
                    self.machine.gone(now, stream);
                    return;
                }
                let standing = self.runs.standing(&asked.run_id);
                self.machine.asked(now, stream, &asked, &standing);
            }
            Note::Ended(stream, ended) => {
                let tokens = ended.usage.total;
                self.runs.metrics.question(QuestionEvent::from(&ended.outcome), tokens);
                let standing = self.runs.standing(&ended.run_id);
                self.machine.ended(now, stream, ended, &standing);
            }
            Note::Withdrawn(place) => self.machine.withdrawn(now, place),
            Note::Gone(stream) => {
                self.links.remove(&stream);
                self.machine.gone(now, stream);
            }
        }
    }

    fn totalled(&mut self, came: Came<RunId, Vec<(RunId, Spent)>>) {
        match came {
            Came::Done(_, totals) => {
                for (run_id, spent) in totals {
                    self.machine.spent_before(run_id, spent);
                }
                self.works();
                if let Some(note) = self.blocked.take() {
                    self.hear(note);
                }
            }
            Came::Failed(reason) => self.fails(&reason),
            // Without it the run's bounds on spending would be passed: tried for ever, and its message waits.
            Came::GivenUp(run_id, reason) => {
                self.totals.push(run_id);
                self.fails(&reason);
            }
        }
    }

    fn looked(&mut self, came: Came<AnswerKey, Found>) {
        let now = self.now();
        match came {
            Came::Done(_, found) => {
                self.works();
                for (key, found) in found {
                    self.machine.looked(now, key, found);
                }
            }
            Came::Failed(reason) => self.fails(&reason),
            Came::GivenUp(key, reason) => {
                tracing::error!(%key, reason, "a kept answer cannot be read: it is asked for again");
                self.machine.looked(now, key, None);
            }
        }
    }

    fn kept(&mut self, came: Came<Keeping, Vec<bool>>) {
        let now = self.now();
        self.dirty = true;
        match came {
            Came::Done(batch, counted) => {
                self.works();
                for (keeping, counted) in batch.into_iter().zip(counted) {
                    self.machine.kept(now, keeping, counted);
                }
                // Before anybody hears of it: a run whose last answers these are may end at once, with what it spent.
                self.publish();
            }
            Came::Failed(reason) => self.fails(&reason),
            Came::GivenUp(keeping, reason) => {
                tracing::error!(run = %keeping.keep.run_id, reason, "what a call came to cannot be kept");
                self.machine.not_kept(now, keeping, &reason);
            }
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.troubled) {
            for run_id in self.machine.runs() {
                self.runs.with_live(&run_id, |live| live.stalled = None);
            }
            self.runs.tell(false);
        }
    }

    /// Nothing is lost and nobody is told anything: it is tried again.
    fn fails(&mut self, reason: &str) {
        tracing::error!(reason, "the answers cannot be used; trying again");
        self.troubled = true;
        let blocked = self.blocked.as_ref().and_then(Note::run_id).cloned();
        for run_id in self.machine.runs().into_iter().chain(blocked) {
            self.runs.stall(&run_id, reason.to_owned());
        }
    }

    /// Something about runs has changed.
    fn look_at_runs(&mut self) {
        let now = self.now();
        for run_id in self.machine.runs() {
            self.machine.changed(now, &run_id, &self.runs.standing(&run_id));
        }
        self.forget_ended();
    }

    /// Drops what is known of runs that have ended. The store has what they spent; until it has all of it, it stays here.
    fn forget_ended(&mut self) {
        for run_id in self.machine.runs() {
            let pending = || self.keep.any(|keeping| keeping.keep.run_id == run_id);
            if !self.runs.lives(&run_id) && !pending() {
                self.dirty |= self.machine.forget_run(&run_id);
            }
        }
    }

    fn carry_out(&mut self) {
        loop {
            let effects = self.machine.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Tell(place, reply) => self.tell(place, reply),
                    Effect::LookUp(key) => self.look.push(key),
                    Effect::Keep(keeping) => self.keep.push(keeping),
                    Effect::Halt(run_id, reason) => self.runs.halt(&run_id, reason),
                    Effect::Close(stream) => drop(self.links.remove(&stream)),
                }
            }
        }
    }

    fn tell(&mut self, place: Place, reply: Reply) {
        match &reply {
            Reply::Known(_) => self.runs.metrics.question(QuestionEvent::Reused, 0),
            Reply::Stopped(_) => self.runs.metrics.question(QuestionEvent::Stopped, 0),
            Reply::Go { .. } | Reply::Kept => {}
        }
        let Some(link) = self.links.get(&place.stream) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = link.try_send((place.number, reply)) {
            tracing::error!("a worker does not read what it asked for: its stream ends");
            self.links.remove(&place.stream);
            let now = self.now();
            self.machine.gone(now, place.stream);
        }
    }

    /// Shows where runs stand.
    fn publish(&mut self) {
        let statuses = self.machine.statuses(self.now());
        self.runs.metrics.models(&statuses);
        // A rate falls by itself: as long as one does, it is looked at again.
        self.dirty = statuses.values().any(|status| status.calls_per_min > 0.0 || status.under_way > 0);
        if self.runs.board.replace(statuses) {
            self.runs.tell(false);
        }
    }
}
