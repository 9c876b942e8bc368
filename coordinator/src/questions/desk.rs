//! The task that owns the questions: streams, store, clock and runs on one side, the machine on the other.
//!
//! The store is asked and written in batches, one at a time: what comes while a batch is under way makes the next one. So
//! a hundred answers that arrive together cost one sync of the disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::convert::{Asked, Ended, ModelStatus};
use proto::status::{Reason, Refusal};

use super::batches::{Batches, Done};
use super::effect::{Effect, Keeping, Place, Reply, StreamId};
use super::machine::Questions;
use crate::answers::{AnswerStore, AnswersError, Keep, Stored};
use crate::metrics::QuestionEvent;
use crate::runs::{Runs, ending};

/// Messages of workers that may wait for the task; more of them wait on their links.
const NOTES: usize = 1024;

/// Questions that a stream may have open.
const MOST_OPEN: usize = 50_000;

/// Replies that may wait for a link. Each open question has two at most, so a link that is full is not read from.
const REPLIES: usize = 2 * MOST_OPEN + 1000;

/// Between two looks at where runs stand.
const PUBLISH: Duration = Duration::from_millis(500);

/// Where runs stand with their models, for those who ask for the status of a run.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<RunId, ModelStatus>>);

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, ModelStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a run stands; `None`: it asked no model.
    pub(crate) fn of(&self, run_id: &RunId) -> Option<ModelStatus> {
        self.lock().get(run_id).copied()
    }

    /// Replaces everything; says whether that changed anything.
    fn replace(&self, statuses: BTreeMap<RunId, ModelStatus>) -> bool {
        let mut known = self.lock();
        let changed = *known != statuses;
        *known = statuses;
        changed
    }
}

/// What a worker says.
#[derive(Debug)]
enum Note {
    Opened(StreamId, WorkerName, mpsc::Sender<(u64, Reply)>),
    Asked(StreamId, Asked),
    Ended(StreamId, Ended),
    Withdrawn(Place),
    Gone(StreamId),
}

/// The way to the task.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    notes: mpsc::Sender<Note>,
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

/// A worker's stream at the desk. Dropped, the stream has ended.
#[derive(Debug)]
pub(crate) struct Inbox {
    stream: StreamId,
    notes: mpsc::Sender<Note>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if let Err(mpsc::error::TrySendError::Full(note)) = self.notes.try_send(Note::Gone(self.stream)) {
            let notes = self.notes.clone();
            // Ends when the task takes it, or with the task.
            tokio::spawn(async move { notes.send(note).await });
        }
    }
}

impl Inbox {
    /// The worker wants an answer.
    pub(crate) async fn asked(&self, asked: Asked) -> Result<(), Refusal> {
        self.send(Note::Asked(self.stream, asked)).await
    }

    /// A call of the worker has ended.
    pub(crate) async fn ended(&self, ended: Ended) -> Result<(), Refusal> {
        self.send(Note::Ended(self.stream, ended)).await
    }

    /// The worker wants an answer no more.
    pub(crate) async fn withdrawn(&self, number: u64) -> Result<(), Refusal> {
        self.send(Note::Withdrawn(Place { stream: self.stream, number })).await
    }

    async fn send(&self, note: Note) -> Result<(), Refusal> {
        self.notes.send(note).await.map_err(|_| ending())
    }
}

impl Desk {
    /// Opens the desk, and gives what ends it.
    pub(crate) async fn open(runs: Arc<Runs>, store: Arc<AnswerStore>) -> Result<(Self, Closing), Refusal> {
        let reader = Arc::clone(&store);
        let spent = tokio::task::spawn_blocking(move || reader.spent()).await;
        let spent = spent.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?;
        let spent = spent.map_err(|error| Refusal::new(Reason::Storage, error.to_string()))?;
        let (notes, queue) = mpsc::channel(NOTES);
        let clerk = Clerk {
            changes: runs.changed.subscribe(),
            runs,
            machine: Questions::new(spent),
            began: Instant::now(),
            links: HashMap::new(),
            look: Batches::new(),
            keep: Batches::new(),
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
        self.notes.send(Note::Opened(stream, worker, replies)).await.map_err(|_| ending())?;
        Ok((Inbox { stream, notes: self.notes.clone() }, outgoing))
    }
}

/// Keys with their answers, where there are any.
type Found = Vec<(AnswerKey, Option<Stored>)>;

/// The task.
struct Clerk {
    runs: Arc<Runs>,
    changes: watch::Receiver<crate::runs::Change>,
    store: Arc<AnswerStore>,
    machine: Questions,
    began: Instant,
    links: HashMap<StreamId, mpsc::Sender<(u64, Reply)>>,
    look: Batches<AnswerKey, Found>,
    keep: Batches<Keeping, Vec<bool>>,
    /// Whether something happened since runs were shown last.
    dirty: bool,
    /// Whether the store failed when it was used last.
    troubled: bool,
}

impl Clerk {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    async fn work(mut self, mut notes: mpsc::Receiver<Note>, mut stopped: oneshot::Receiver<()>) {
        let mut publish = tokio::time::interval(PUBLISH);
        publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut open, mut stopping) = (true, false);
        self.publish();
        while open || !self.keep.is_idle() {
            let wake = self.wake();
            tokio::select! {
                note = notes.recv(), if open => match note {
                    Some(note) => self.hear(note),
                    None => open = false,
                },
                // Sent or dropped, it means the same.
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    notes.close();
                }
                done = self.keep.done() => self.kept(done),
                done = self.look.done() => self.looked(done),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let now = self.now();
                    self.machine.tick(now);
                }
                changed = self.changes.changed(), if open => match changed {
                    Ok(()) => self.look_at_runs(),
                    Err(_) => open = false,
                },
                _ = publish.tick(), if self.dirty => self.publish(),
            }
            self.carry_out();
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
        self.publish();
    }

    /// When something is due by itself.
    fn wake(&self) -> Option<Instant> {
        let due = self.machine.wake().map(|at| self.began + Duration::from_secs_f64(at.max(0.0)));
        let now = Instant::now();
        let retries = [self.look.not_before, self.keep.not_before];
        retries.into_iter().flatten().filter(|at| *at > now).chain(due).min()
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

    fn looked(&mut self, done: Result<Done<AnswerKey, Found>, JoinError>) {
        let now = self.now();
        match done {
            Ok(Done { result: Ok(found), .. }) => {
                self.works();
                for (key, found) in found {
                    self.machine.looked(now, key, found);
                }
            }
            Ok(Done { batch, result: Err(error) }) => {
                self.look.put_back(batch);
                self.fails(&error);
            }
            // Cannot be: the store does not panic. Who waits for these keys waits until its stream ends.
            Err(error) => tracing::error!(%error, "looking for answers broke off"),
        }
    }

    fn kept(&mut self, done: Result<Done<Keeping, Vec<bool>>, JoinError>) {
        let now = self.now();
        self.dirty = true;
        match done {
            Ok(Done { batch, result: Ok(counted) }) => {
                self.works();
                for (keeping, counted) in batch.into_iter().zip(counted) {
                    self.machine.kept(now, keeping, counted);
                }
                // Before anybody hears of it: a run whose last answers these are may end at once, with what it spent.
                self.publish();
            }
            Ok(Done { batch, result: Err(error) }) => {
                self.keep.put_back(batch);
                self.fails(&error);
            }
            Err(error) => tracing::error!(%error, "keeping answers broke off"),
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
    fn fails(&mut self, error: &AnswersError) {
        tracing::error!(%error, "the answers cannot be used; trying again");
        self.troubled = true;
        for run_id in self.machine.runs() {
            self.runs.stall(&run_id, error.to_string());
        }
    }

    /// Something about runs has changed.
    fn look_at_runs(&mut self) {
        let now = self.now();
        for run_id in self.machine.runs() {
            self.machine.changed(now, &run_id, &self.runs.standing(&run_id));
            if !self.runs.lives(&run_id) {
                self.machine.forget_run(&run_id);
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
                    Effect::LookUp(key) => self.look.waiting.push(key),
                    Effect::Keep(keeping) => self.keep.waiting.push(keeping),
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
