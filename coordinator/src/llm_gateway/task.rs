//! The task that owns the gateway's state: connects it to the workers' streams, the response cache, the clock and the runs.
//!
//! It reads and writes the cache in batches, one at a time; what arrives meanwhile makes the next batch. A hundred answers
//! that arrive together cost one sync of the disk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use domain::ids::{AnswerKey, RunId, WorkerName};
use proto::channel::OPEN_QUESTIONS;
use proto::convert::{AcquireCall, CallResult, Ticket};
use proto::status::{ApiError, ErrorReason};

use super::batcher::{BatchResult, Batcher};
use super::effect::{Effect, PendingWrite, Reply, RequestId, StreamId};
use super::permit_key::PermitKey;
use super::runs::{RunChanged, RunHalted, RunLink};
use super::state::{Accepted, GatewayState};
use super::worker_stream::{GatewayMessage, MessageQueue, QueuedMessage, WorkerStream};
use crate::clock::unix_ms;
use crate::database::postgres::ownership::OwnerDeadline;
use crate::llm_gateway::response_cache::{
    Answers, CacheError, CachedResponse, CallId, Counted, LlmUsage, StoreWrite,
};
use crate::metrics::{LlmEvent, Metrics};

/// Capacity of the task's queue of worker messages; further ones wait on their connections.
const QUEUE_CAPACITY: usize = 1024;

/// Requests that a stream may have open. A worker keeps to [`OPEN_QUESTIONS`]; a request that it cancels while the permit
/// is on its way counts here until the result arrives.
const MAX_OPEN_REQUESTS: usize = 2 * OPEN_QUESTIONS + 1000;

/// Capacity of a stream's queue of replies. Each open request gets at most two, so a full queue means that the worker
/// does not read.
const REPLY_CAPACITY: usize = 2 * MAX_OPEN_REQUESTS + 1000;

/// Interval between two status snapshots.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

/// Handle of the gateway, for the streams of workers.
#[derive(Debug, Clone)]
pub(crate) struct GatewayHandle {
    messages: MessageQueue,
    streams: Arc<AtomicU64>,
}

/// Ends the task: [`close`](Self::close) waits for its writes, a drop does not.
#[derive(Debug)]
pub(crate) struct ShutdownHandle {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ShutdownHandle {
    /// Takes no further messages, and waits at most `timeout` for the writes of those that arrived.
    pub(crate) async fn close(mut self, timeout: Duration) {
        drop(self.stop);
        if tokio::time::timeout(timeout, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!(
                "the last results of calls are not persisted; their workers still hold them and send them again"
            );
        }
    }
}

impl GatewayHandle {
    /// Starts the gateway of the runs behind `runs`. There is one gateway for each [`RunLink`].
    pub(crate) async fn open(
        runs: Arc<RunLink>,
        metrics: Arc<Metrics>,
        store: Arc<dyn Answers>,
        owner: OwnerDeadline,
    ) -> Result<(Self, ShutdownHandle), ApiError> {
        let changes = runs.changed.take();
        let mut llm_runs: BTreeSet<RunId> = changes.iter().filter_map(RunChanged::asking).cloned().collect();
        let reader = Arc::clone(&store);
        let read = tokio::task::spawn_blocking(move || {
            let orphans = reader.take_up_calls(&Vec::from_iter(llm_runs.clone()))?;
            llm_runs.extend(orphans.iter().map(|orphan| orphan.call.run_id.clone()));
            Ok::<_, CacheError>((orphans, reader.spent_of(&Vec::from_iter(llm_runs))?, reader.permit_key()?))
        });
        let internal = |error: String| ApiError::new(ErrorReason::Internal, error);
        let read = read.await.map_err(|error| internal(error.to_string()))?;
        let (orphans, spent, permit_key) =
            read.map_err(|error| ApiError::new(ErrorReason::Storage, error.to_string()))?;
        runs.status.attach(Arc::clone(&store));
        let (messages, queue) = MessageQueue::queue(QUEUE_CAPACITY);
        let before = CallId::random().map_err(|error| internal(error.to_string()))?;
        let mut state = GatewayState::new(spent.into_iter().collect(), unix_ms(), before);
        for change in changes {
            state.run_changed(0.0, change);
        }
        if !orphans.is_empty() {
            tracing::info!(
                calls = orphans.len(),
                "calls were under way when the process before ended: they count until their workers report them, at most until their deadlines"
            );
        }
        state.take_up(0.0, orphans);
        let task = GatewayTask {
            runs,
            metrics,
            owner,
            state,
            permit_key,
            began: Instant::now(),
            reply_queues: HashMap::new(),
            lookups: Batcher::new(),
            writes: Batcher::new(),
            totals: Batcher::new(),
            blocked: None,
            store,
            dirty: true,
            troubled: false,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(task.work(queue, stopped));
        Ok((Self { messages, streams: Arc::default() }, ShutdownHandle { stop, task }))
    }

    /// Registers the stream that a worker opened. The receiver gets the replies to its requests, and ends when another
    /// stream replaces this one: one that was opened with the ticket of this one as `resume`.
    pub(crate) async fn connect(
        &self,
        worker: WorkerName,
        resume: Option<Ticket>,
    ) -> Result<(WorkerStream, mpsc::Receiver<(u64, Reply)>), ApiError> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let (replies, outgoing) = mpsc::channel(REPLY_CAPACITY);
        self.messages.send(GatewayMessage::Connected(stream, worker, resume, replies)).await?;
        Ok((self.messages.inbox(stream), outgoing))
    }
}

/// Keys with their cached responses.
type Found = Vec<(AnswerKey, Option<CachedResponse>)>;

/// The gateway's state with its reply queues and batchers, owned by one task.
struct GatewayTask {
    runs: Arc<RunLink>,
    metrics: Arc<Metrics>,
    store: Arc<dyn Answers>,
    /// Until when calls may be permitted.
    owner: OwnerDeadline,
    state: GatewayState,
    permit_key: PermitKey,
    /// Zero of the time that the state uses.
    began: Instant,
    /// Queue of replies of each stream.
    reply_queues: HashMap<StreamId, mpsc::Sender<(u64, Reply)>>,
    /// Reads cached responses.
    lookups: Batcher<AnswerKey, Found>,
    /// Makes calls that are to be permitted, and results of calls, durable.
    writes: Batcher<PendingWrite, Vec<Counted>>,
    /// Reads the usage of runs that are not in memory.
    totals: Batcher<RunId, Vec<(RunId, LlmUsage)>>,
    /// Message that waits for this usage; the task takes no other one meanwhile.
    blocked: Option<GatewayMessage>,
    /// Whether something changed since the last status snapshot.
    dirty: bool,
    /// Whether the last use of the store failed.
    troubled: bool,
}

impl GatewayTask {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Begins an input to the state; returns the time.
    fn turn(&mut self) -> f64 {
        let now = self.now();
        self.state.own_until(now + self.owner.left().as_secs_f64());
        now
    }

    /// Whether the task takes further messages. Not while the store is slow or fails: this is backpressure on workers.
    fn has_room(&self) -> bool {
        self.blocked.is_none() && !self.lookups.is_full() && !self.writes.is_full()
    }

    async fn work(
        mut self,
        mut messages: mpsc::UnboundedReceiver<QueuedMessage>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut publish = tokio::time::interval(PUBLISH_INTERVAL);
        publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut open, mut stopping) = (true, false);
        self.publish();
        while open || !self.writes.is_idle() {
            let wake = self.wake();
            tokio::select! {
                posted = messages.recv(), if open && self.has_room() => match posted {
                    Some(posted) => self.take(posted.message),
                    None => open = false,
                },
                // Sent or dropped: both end the task.
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    messages.close();
                    self.state.stop();
                }
                result = self.writes.done() => self.persisted(result),
                result = self.lookups.done() => self.looked_up(result),
                result = self.totals.done() => self.totalled(result),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let now = self.turn();
                    self.state.tick(now);
                }
                // Applied below.
                () = self.runs.changed.arrived() => {}
                _ = publish.tick(), if self.dirty => {
                    self.drop_ended_runs();
                    self.publish();
                }
            }
            self.apply_run_changes();
            self.apply_effects();
            self.start_batches();
        }
        self.publish();
    }

    /// Starts the next batches.
    fn start_batches(&mut self) {
        let store = Arc::clone(&self.store);
        self.totals.begin(move |runs| store.spent_of(runs));
        let store = Arc::clone(&self.store);
        self.lookups.begin(move |keys| store.look_up(keys));
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        self.writes.begin(move |batch| {
            let begun = std::time::Instant::now();
            let batch: Vec<&StoreWrite> = batch.iter().map(|pending_write| &pending_write.write).collect();
            let counted = store.apply(&batch)?;
            metrics.answers_kept(begun.elapsed());
            Ok(counted)
        });
    }

    /// When the next timer is due.
    fn wake(&self) -> Option<Instant> {
        let due = self.state.wake(self.now()).map(|at| self.began + Duration::from_secs_f64(at.max(0.0)));
        let now = Instant::now();
        let retries = [self.lookups.not_before, self.writes.not_before, self.totals.not_before];
        retries.into_iter().flatten().filter(|at| *at > now).chain(due).min()
    }

    /// Handles a message if the usage of its run is in memory; otherwise blocks the queue until that is read.
    fn take(&mut self, message: GatewayMessage) {
        self.apply_run_changes();
        match message.run_id().filter(|run_id| !self.state.knows(run_id)) {
            Some(run_id) => {
                self.totals.push(run_id.clone());
                self.blocked = Some(message);
            }
            None => self.handle(message),
        }
    }

    fn handle(&mut self, message: GatewayMessage) {
        let now = self.turn();
        self.dirty = true;
        match message {
            GatewayMessage::Connected(stream, worker, resume, replies) => {
                // The first reply: the queue is empty.
                let _ = replies.try_send((0, Reply::Opened(self.permit_key.of_stream(&worker, stream))));
                self.reply_queues.insert(stream, replies);
                let is_replaced =
                    |older| PermitKey::is_right(resume, self.permit_key.of_stream(&worker, older));
                let replaced = self.state.streams_of(&worker).find(|older| is_replaced(*older));
                self.state.connected(now, stream, worker, replaced);
            }
            GatewayMessage::Acquire(stream, request) => {
                if self.state.open_requests(stream) >= MAX_OPEN_REQUESTS {
                    tracing::error!(
                        open = MAX_OPEN_REQUESTS,
                        "a worker has too many open requests: closing its stream"
                    );
                    self.reply_queues.remove(&stream);
                    self.state.disconnected(now, stream);
                    return;
                }
                let AcquireCall { run_id, key, number, .. } = &request;
                let permitted = self.permit_key.call_of(request.ticket, run_id, key, *number);
                if self.state.acquire(now, stream, &request, permitted) == Accepted::Refused {
                    self.metrics.question(LlmEvent::Refused, 0);
                }
            }
            GatewayMessage::Complete(stream, result) => {
                let result = *result;
                let (event, tokens) = (LlmEvent::from(&result.outcome), result.usage.total);
                let CallResult { run_id, key, number, .. } = &result;
                let permitted = self.permit_key.call_of(result.ticket, run_id, key, *number);
                match self.state.complete(now, stream, result, permitted) {
                    Accepted::Counted => self.metrics.question(event, tokens),
                    Accepted::Repeated => self.metrics.question(LlmEvent::Repeated, 0),
                    Accepted::Refused => self.metrics.question(LlmEvent::Refused, 0),
                }
            }
            GatewayMessage::Cancel(request_id) => self.state.cancel(now, request_id),
            GatewayMessage::Disconnected(stream) => {
                self.reply_queues.remove(&stream);
                self.state.disconnected(now, stream);
            }
        }
    }

    fn totalled(&mut self, result: BatchResult<RunId, Vec<(RunId, LlmUsage)>>) {
        match result {
            BatchResult::Done(_, totals) => {
                for (run_id, spent) in totals {
                    self.state.spent_before(run_id, spent);
                }
                self.cache_recovered();
                if let Some(message) = self.blocked.take() {
                    self.handle(message);
                }
            }
            BatchResult::Failed(reason) => self.cache_failed(&reason),
            // Without the usage the run could exceed its spend limit, so the read is retried without end. The message
            // waits.
            BatchResult::GivenUp(run_id, reason) => {
                self.totals.push(run_id);
                self.cache_failed(&reason);
            }
        }
    }

    fn looked_up(&mut self, result: BatchResult<AnswerKey, Found>) {
        let now = self.turn();
        match result {
            BatchResult::Done(_, found) => {
                self.cache_recovered();
                for (key, found) in found {
                    self.state.looked_up(now, key, found);
                }
            }
            BatchResult::Failed(reason) => self.cache_failed(&reason),
            BatchResult::GivenUp(key, reason) => {
                tracing::error!(%key, reason, "a cached response cannot be read: the model is called again");
                self.state.looked_up(now, key, None);
            }
        }
    }

    fn persisted(&mut self, result: BatchResult<PendingWrite, Vec<Counted>>) {
        let now = self.turn();
        self.dirty = true;
        match result {
            BatchResult::Done(batch, counted) => {
                self.cache_recovered();
                let has_results = batch.iter().any(|write| matches!(write.write, StoreWrite::End(_)));
                for (pending_write, counted) in batch.into_iter().zip(counted) {
                    self.state.persisted(now, pending_write, counted);
                }
                if has_results {
                    // Before the replies: the run may end with these answers, and its status has to include their usage.
                    self.publish();
                }
            }
            BatchResult::Failed(reason) => self.cache_failed(&reason),
            BatchResult::GivenUp(pending_write, reason) => {
                tracing::error!(run = %pending_write.write.run_id(), reason, "a call or its result cannot be recorded");
                self.state.not_kept(now, pending_write, &reason);
            }
        }
    }

    fn cache_recovered(&mut self) {
        if std::mem::take(&mut self.troubled) {
            self.runs.halted.post(RunHalted::Recovered { run_ids: self.state.runs() });
        }
    }

    /// The batch is retried; its requests stay as they are.
    fn cache_failed(&mut self, reason: &str) {
        tracing::error!(reason, "the response cache cannot be used; trying again");
        self.troubled = true;
        let blocked = self.blocked.as_ref().and_then(GatewayMessage::run_id).cloned();
        let run_ids = self.state.runs().into_iter().chain(blocked).collect();
        self.runs.halted.post(RunHalted::Stalled { run_ids, reason: reason.to_owned() });
    }

    /// Applies the changes of runs that the coordinator posted.
    fn apply_run_changes(&mut self) {
        let changes = self.runs.changed.take();
        if changes.is_empty() {
            return;
        }
        let now = self.turn();
        for change in changes {
            self.state.run_changed(now, change);
        }
        self.drop_ended_runs();
    }

    /// Drops ended runs from memory, except those with usage that is not durable yet.
    fn drop_ended_runs(&mut self) {
        for run_id in self.state.runs() {
            let pending = || self.writes.any(|pending_write| *pending_write.write.run_id() == run_id);
            if !self.state.is_active(&run_id) && !pending() {
                self.dirty |= self.state.forget_run(&run_id);
            }
        }
    }

    fn apply_effects(&mut self) {
        loop {
            let effects = self.state.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Send(request_id, reply) => self.send_reply(request_id, reply),
                    Effect::LookUp(key) => self.lookups.push(key),
                    Effect::Persist(pending_write) => self.writes.push(*pending_write),
                    Effect::Halt(run_id, reason) => {
                        self.runs.halted.post(RunHalted::Halted { run_id, reason });
                    }
                    Effect::Close(stream) => drop(self.reply_queues.remove(&stream)),
                }
            }
        }
    }

    fn send_reply(&mut self, request_id: RequestId, mut reply: Reply) {
        match &mut reply {
            Reply::CachedResponse(_) => self.metrics.question(LlmEvent::Reused, 0),
            Reply::Stopped(_) => self.metrics.question(LlmEvent::Stopped, 0),
            Reply::CallPermit { call, ticket, .. } => {
                let request = self.state.call_of(request_id);
                *ticket = request
                    .map(|(run_id, key)| self.permit_key.of_call(run_id, &key, request_id.number, *call));
            }
            Reply::Opened(_) | Reply::ResultPersisted | Reply::AskAgain => {}
        }
        let Some(replies) = self.reply_queues.get(&request_id.stream) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = replies.try_send((request_id.number, reply)) {
            tracing::error!("a worker does not read its replies: closing its stream");
            self.reply_queues.remove(&request_id.stream);
            let now = self.now();
            self.state.disconnected(now, request_id.stream);
        }
    }

    /// Publishes the status snapshot.
    fn publish(&mut self) {
        let statuses = self.state.statuses(self.now());
        self.metrics.models(&statuses);
        // Publish again while a rate of calls changes with time alone, or an ended run cannot be dropped yet.
        self.dirty = statuses.iter().any(|(run_id, status)| {
            status.calls_per_min > 0.0
                || status.under_way + status.waiting > 0
                || status.waits_for.is_some()
                || !self.state.is_active(run_id)
        });
        self.runs.status.replace(statuses);
    }
}
