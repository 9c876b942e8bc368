//! The event loop of a session: one task handles grants, renewals, finished work, commits, deadlines and the drain.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use domain::config::RunConfig;
use domain::ids::{RunId, WorkerName};
use domain::record::Slice;
use domain::run::Lease;
use proto::channel::Connection;
use proto::convert::{Assembly, BadMessage, LeaseKey, config_from_wire};
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::work_request::Message as Request;
use proto::v1::work_response::Message as Response;

use super::configs::{Configs, Proposer};
use super::lease_table::{LeaseStage, LeaseTable};
use super::outcome::{SessionError, Stage, Summary};
use super::services::{Services, stop};
use crate::cpu_pool::{CpuPool, Crashed};
use crate::deadline::{Deadline, DeadlineWatch, Heartbeats};
use crate::gateway_client::{GatewayClient, LlmClient};
use crate::pipeline;
use crate::remote::{Event, Identity, Link};
use crate::server_judge::{CacheClient, Stop};
use crate::upload::{self, CommitOutcome, Part};

/// Longest time between two heartbeats, also without a lease: the coordinator ends a stream without messages.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(10);

/// Shortest time between two heartbeats.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);

/// How long shards in progress may go on during a drain. What takes longer stops after the current record, and its
/// lease is released.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Report of a task to the dispatcher.
enum TaskReport {
    Computed(LeaseKey, Result<Box<Part>, NotComputed>),
    Sent(LeaseKey, CommitOutcome),
    /// The gateway client takes no more requests.
    Closed,
}

/// Why a shard has no part.
enum NotComputed {
    /// The worker is draining, or the lease has expired.
    Stopped,
    /// A bug in the harness.
    Failed(String),
}

/// The worker's state and the task that owns it.
pub(super) struct Dispatcher {
    name: WorkerName,
    leases: LeaseTable,
    heartbeats: Heartbeats,
    configs: Configs,
    arriving: Option<(LeaseKey, Assembly)>,
    link: Option<Link>,
    /// Set by the drain: until when work in progress may go on. Work that is still queued for the CPU pool does not
    /// start.
    draining: Arc<OnceLock<Instant>>,
    pool: CpuPool,
    connection: Connection,
    gateway: GatewayClient,
    services: Services,
    /// The name and session that the coordinator assigned, for the gateway client and for uploads.
    joined: watch::Sender<Option<Identity>>,
    tasks: JoinSet<TaskReport>,
    /// The lease that each task works for: a task that panics sends no report.
    task_leases: HashMap<Id, LeaseKey>,
    next_heartbeat: Instant,
    summary: Summary,
}

impl Dispatcher {
    pub(super) fn new(
        name: WorkerName,
        leases: LeaseTable,
        pool: CpuPool,
        connection: Connection,
        gateway: GatewayClient,
        services: Services,
        joined: watch::Sender<Option<Identity>>,
    ) -> Self {
        Self {
            name,
            leases,
            heartbeats: Heartbeats::default(),
            configs: Configs::default(),
            arriving: None,
            link: None,
            draining: Arc::default(),
            pool,
            connection,
            gateway,
            services,
            joined,
            tasks: JoinSet::new(),
            task_leases: HashMap::new(),
            next_heartbeat: Instant::now(),
            summary: Summary::default(),
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Runs until drained or refused.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Event>,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<Summary, SessionError> {
        let (settled, gateway) = (Arc::clone(&self.leases.settled), self.gateway.clone());
        loop {
            if self.is_draining() && self.leases.is_empty() && self.tasks.is_empty() {
                if let Some(link) = &self.link {
                    link.send(Request::Deregister(v1::Deregister {}));
                }
                return Ok(self.summary);
            }
            tokio::select! {
                changed = stage.wait_for(|stage| *stage == Stage::Drain), if !self.is_draining() => {
                    drop(changed);
                    self.drain();
                }
                event = inbox.recv() => match event {
                    Some(Event::Refused(status)) => return Err(SessionError::Refused(status)),
                    Some(event) => self.on_event(event),
                    // The connection's task ends only after it has reported a refusal.
                    None => return Ok(self.summary),
                },
                Some(ended) = self.tasks.join_next_with_id() => self.join(ended),
                () = settled.changed() => self.request_shards(),
                () = gateway.call_started() => self.request_shards(),
                () = sleep_until(self.next_heartbeat) => self.send_heartbeat(),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected(link) => {
                self.name = link.identity.worker.clone();
                self.joined.send_replace(Some(link.identity.clone()));
                self.link = Some(link);
                self.leases.reset_requested();
                self.send_heartbeat();
                self.request_shards();
            }
            Event::Disconnected => {
                tracing::info!("disconnected from the coordinator; working on until the leases expire");
                self.link = None;
                // The rest of this slice will not be sent on a new stream, so its lease cannot be worked on.
                self.arriving = None;
                self.leases.take_arriving();
            }
            Event::Message(message) => {
                if let Err(error) = self.on_message(message) {
                    tracing::error!(%error, "cannot read a message of the coordinator; releasing the lease that it belongs to");
                    self.release_arriving();
                }
            }
            Event::Refused(_) => {}
        }
    }

    fn on_message(&mut self, message: Response) -> Result<(), BadMessage> {
        match message {
            Response::Run(run) => {
                let run_id = RunId::new(run.run_id).map_err(|error| BadMessage::new("run.run_id", error))?;
                let config = config_from_wire(&run.config_json)?;
                let proposer = self.proposer(&run_id, &config);
                self.configs.insert(run_id, (Arc::new(config), proposer));
            }
            Response::Grant(lease) => {
                self.release_arriving();
                // The key as it came: with the secret of the lease.
                let key = LeaseKey::try_from(lease.key.clone().unwrap_or_default())?;
                let lease = Lease::try_from(lease)?;
                self.configs.granted(&lease.run_id);
                let deadline = Deadline::granted(Instant::now(), Duration::from_millis(lease.ttl_ms));
                let soon = Instant::now() + heartbeat_interval(deadline.ttl());
                self.next_heartbeat = self.next_heartbeat.min(soon);
                self.leases.insert(key.clone(), lease, deadline);
                if self.is_draining() {
                    self.release(vec![key]);
                } else {
                    self.arriving = Some((key, Assembly::default()));
                }
            }
            Response::Slice(piece) => {
                // A piece of a lease that was released meanwhile is dropped.
                let Some((key, mut assembly)) = self.arriving.take() else { return Ok(()) };
                assembly.push(piece.slice.unwrap_or_default())?;
                if piece.last {
                    self.compute(&key, assembly.finish())?;
                } else {
                    self.arriving = Some((key, assembly));
                }
            }
            Response::Renewed(renewed) => self.renewed(renewed)?,
            // The stream ends next; the connection's task reconnects as soon as a coordinator answers.
            Response::Drain(v1::Drain {}) => tracing::info!("the coordinator is shutting down"),
            Response::DrainWorker(v1::DrainWorker { reason }) => {
                if !reason.is_empty() {
                    tracing::error!(reason, "the coordinator drains this worker");
                }
                tracing::info!("drained by the coordinator");
                self.drain();
            }
        }
        Ok(())
    }

    /// Who proposes for a run with this configuration.
    fn proposer(&self, run_id: &RunId, config: &RunConfig) -> Proposer {
        if let Some(name) = config.program() {
            let program = self.services.programs.get(name);
            let program = program
                .inspect_err(|error| tracing::error!(run = %run_id, %error, "cannot propose for a run"));
            return Proposer::Command(program.ok());
        }
        let (gateway, env) = (self.gateway.clone(), cli_support::env::process);
        let providers = &self.services.providers;
        let client = LlmClient::new(gateway, run_id.clone(), config, providers, &self.name, env);
        client.map_or(Proposer::Rules, |client| Proposer::Llm(Box::new(client)))
    }

    /// Starts the task that processes a slice.
    fn compute(&mut self, key: &LeaseKey, slice: Slice) -> Result<(), BadMessage> {
        let Some(entry) = self.leases.advance(key, LeaseStage::Computing) else { return Ok(()) };
        if slice.records.len() as u64 != u64::from(entry.lease.shard.len) {
            let reason = format!("has {} records instead of {}", slice.records.len(), entry.lease.shard.len);
            self.release(vec![key.clone()]);
            return Err(BadMessage::new("slice", reason));
        }
        let Some((config, proposer)) = self.configs.get(&key.run_id) else {
            self.release(vec![key.clone()]);
            return Err(BadMessage::new("run.config_json", "was not sent before a grant of the run"));
        };
        let (pool, key, watch) = (self.pool.clone(), key.clone(), entry.deadline.watch());
        let (draining, span) = (Arc::clone(&self.draining), entry.span.clone());
        let stop = stop(watch.clone(), Arc::clone(&draining));
        let cache = CacheClient::new(self.connection.clone(), self.joined.subscribe(), key.clone());
        let services = self.services.judge(config, cache, &stop);
        let (server, rescans) = match services.and_then(|server| Ok((server, self.services.rescans(config)?)))
        {
            Ok(services) => services,
            Err(error) => {
                self.release(vec![key]);
                return Err(error);
            }
        };
        let context = pipeline::Context {
            config: RunConfig::clone(config),
            shard: entry.lease.shard.index,
            attempt: entry.lease.attempt,
            worker: self.name.clone(),
            arrived: std::time::Instant::now(),
            server,
            rescans,
        };
        let proposer = proposer.clone();
        if let Proposer::Command(None) = proposer {
            // It is leased such a shard only where it lost the program since it connected.
            self.release(vec![key]);
            return Err(BadMessage::new("run.config_json", "names a program that this worker does not have"));
        }
        if !matches!(proposer, Proposer::Rules) {
            let Some(entry) = self.leases.advance(&key, LeaseStage::Proposing) else { return Ok(()) };
            let progress = entry.progress.clone();
            let lease = key.clone();
            let running = propose_slice(key, slice, context, (proposer, stop), pool, watch, progress);
            self.work_for(lease, running.instrument(tracing::info_span!(parent: &span, "compute")));
            // A shard that waits for answers occupies no slot.
            self.request_shards();
            return Ok(());
        }
        self.work_for(key.clone(), async move {
            let run_id = key.run_id.clone();
            let computed = pool
                .run(move || {
                    let _computing = tracing::info_span!(parent: &span, "compute").entered();
                    if draining.get().is_some() {
                        return Err(NotComputed::Stopped);
                    }
                    tracing::debug!(records = slice.records.len(), "processing a shard");
                    let outcomes = pipeline::run_slice_while(&slice, &context, || !stop());
                    if let Some(server) = &context.server {
                        server.flush_blocking();
                    }
                    let mut outcomes = outcomes.ok_or(NotComputed::Stopped)?;
                    rescan(&context, &slice, &mut outcomes)?;
                    let part = Part::of(&run_id, &outcomes);
                    part.map(Box::new).map_err(|error| NotComputed::Failed(error.to_string()))
                })
                .await
                .unwrap_or_else(|crashed| Err(NotComputed::Failed(crashed.to_string())));
            TaskReport::Computed(key, computed)
        });
        // Before the first shard one was requested, because its kind was unknown; now request as many as there are
        // slots.
        self.request_shards();
        Ok(())
    }

    /// Starts a task that works for a lease.
    fn work_for(&mut self, key: LeaseKey, task: impl Future<Output = TaskReport> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.task_leases.insert(task.id(), key);
    }

    /// Handles the end of a task. A panic fails the task's lease, which would be renewed without end otherwise.
    fn join(&mut self, ended: Result<(Id, TaskReport), JoinError>) {
        match ended {
            Ok((id, report)) => {
                self.task_leases.remove(&id);
                self.on_report(report);
            }
            Err(error) => {
                if let Some(key) = self.task_leases.remove(&error.id()) {
                    self.on_report(TaskReport::Computed(key, Err(NotComputed::Failed(error.to_string()))));
                } else {
                    tracing::error!(%error, "a task of the session panicked");
                }
            }
        }
    }

    fn on_report(&mut self, report: TaskReport) {
        match report {
            TaskReport::Computed(key, Ok(part)) => {
                if let Some(entry) = self.leases.advance(&key, LeaseStage::Committing) {
                    let (connection, identity, watch) =
                        (self.connection.clone(), self.joined.subscribe(), entry.deadline.watch());
                    let span = tracing::info_span!(parent: &entry.span, "send");
                    let lease = key.clone();
                    let sending = async move {
                        let outcome = upload::commit(&connection, &key, &identity, &part, watch).await;
                        TaskReport::Sent(key, outcome)
                    };
                    self.work_for(lease, sending.instrument(span));
                } else {
                    self.summary.lost += 1;
                }
            }
            TaskReport::Closed => {}
            TaskReport::Computed(key, Err(NotComputed::Stopped)) => self.release(vec![key]),
            TaskReport::Computed(key, Err(NotComputed::Failed(error))) => {
                tracing::error!(run = %key.run_id, shard = %key.shard, token = %key.token, error, "a shard was not processed");
                self.leases.remove(&key);
                self.send_release(vec![key], true);
            }
            TaskReport::Sent(key, outcome) => {
                self.leases.remove(&key);
                match outcome {
                    CommitOutcome::Committed => {
                        self.summary.committed += 1;
                        tracing::info!(run = %key.run_id, shard = %key.shard, token = %key.token, "committed");
                    }
                    CommitOutcome::LeaseExpired => {
                        self.summary.lost += 1;
                        tracing::warn!(run = %key.run_id, shard = %key.shard, token = %key.token, "the lease expired before the commit was acknowledged");
                    }
                    // Another worker was faster, as is usual near the end of a run.
                    CommitOutcome::Refused(status)
                        if ErrorReason::of(&status) == Some(ErrorReason::StaleToken) =>
                    {
                        self.summary.lost += 1;
                        tracing::info!(run = %key.run_id, shard = %key.shard, token = %key.token, reason = status.message(), "the commit was refused");
                    }
                    CommitOutcome::Refused(status) => {
                        self.summary.lost += 1;
                        tracing::warn!(run = %key.run_id, shard = %key.shard, token = %key.token, reason = status.message(), "the commit was refused");
                    }
                }
            }
        }
        self.request_shards();
    }

    fn renewed(&mut self, renewed: v1::Renewed) -> Result<(), BadMessage> {
        let sent = self.heartbeats.answered(renewed.sequence);
        for key in renewed.renewed {
            let key = LeaseKey::try_from(key)?;
            if let (Some(sent), Some(entry)) = (sent, self.leases.get(&key)) {
                entry.deadline.renewed(sent);
            }
        }
        for key in renewed.lost {
            let key = LeaseKey::try_from(key)?;
            // A commit in flight ends with its own answer: the coordinator may report the lease as lost because it has
            // already committed the shard.
            let is_committing =
                self.leases.get(&key).is_some_and(|entry| entry.stage == LeaseStage::Committing);
            if !is_committing && let Some(entry) = self.leases.remove(&key) {
                tracing::warn!(run = %key.run_id, shard = %key.shard, token = %key.token, "lost a lease: the coordinator does not renew it");
                entry.deadline.lost(Instant::now());
            }
        }
        self.request_shards();
        Ok(())
    }

    /// Drops expired leases and renews the others.
    fn send_heartbeat(&mut self) {
        let now = Instant::now();
        for key in self.leases.take_expired(now) {
            tracing::warn!(run = %key.run_id, shard = %key.shard, token = %key.token, "a lease expired without a renewal");
        }
        self.next_heartbeat = now + self.leases.shortest_ttl().map_or(IDLE_HEARTBEAT, heartbeat_interval);
        if let Some(link) = &self.link {
            let leases = self.leases.keys().into_iter().map(Into::into).collect();
            let sequence = self.heartbeats.next_sequence(now);
            let waits_for = self.services.waits_for();
            link.send(Request::Heartbeat(v1::Heartbeat { sequence, leases, waits_for }));
        }
    }

    fn request_shards(&mut self) {
        if self.is_draining() {
            return;
        }
        let Some(link) = &self.link else { return };
        let more = self.leases.shards_to_request(Instant::now(), self.gateway.calls_in_progress());
        if let Ok(shards @ 1..) = u32::try_from(more) {
            link.send(Request::RequestShards(v1::RequestShards { shards }));
        }
    }

    /// Releases the leases whose work has not begun, and requests no more.
    fn drain(&mut self) {
        if self.is_draining() {
            return;
        }
        // Set once: the first drain sets the time limit.
        let _ = self.draining.set(Instant::now() + DRAIN_GRACE);
        let gateway = self.gateway.clone();
        self.tasks.spawn(async move {
            gateway.close("the worker is ending").await;
            TaskReport::Closed
        });
        self.arriving = None;
        let arriving: Vec<LeaseKey> = self.leases.take_arriving();
        self.send_release(arriving, false);
    }

    fn release_arriving(&mut self) {
        if let Some((key, _)) = self.arriving.take() {
            self.release(vec![key]);
        }
    }

    fn release(&mut self, keys: Vec<LeaseKey>) {
        for key in &keys {
            self.leases.remove(key);
        }
        self.send_release(keys, false);
    }

    /// `failed`: this worker cannot process these shards; another worker may.
    fn send_release(&mut self, keys: Vec<LeaseKey>, failed: bool) {
        if keys.is_empty() {
            return;
        }
        self.summary.released += keys.len() as u64;
        if let Some(link) = &self.link {
            let leases = keys.into_iter().map(Into::into).collect();
            link.send(Request::ReleaseLeases(v1::ReleaseLeases { leases, failed }));
        }
    }
}

/// Lets the other scanners of the run judge the accepted repairs of a slice.
fn rescan(
    context: &pipeline::Context,
    slice: &Slice,
    outcomes: &mut [domain::outcome::Outcome],
) -> Result<(), NotComputed> {
    let Some(rescans) = &context.rescans else { return Ok(()) };
    let judged = rescans.judge(slice, &context.config.limits, outcomes);
    judged.map_err(|error| NotComputed::Failed(error.to_string()))
}

/// Runs an LLM or a program as the proposer over a shard, until it is done or the lease has expired.
async fn propose_slice(
    key: LeaseKey,
    slice: Slice,
    context: pipeline::Context,
    (proposer, stop): (Proposer, Stop),
    pool: CpuPool,
    mut watch: DeadlineWatch,
    progress: pipeline::Progress,
) -> TaskReport {
    let run_id = key.run_id.clone();
    let computing = async {
        let crashed = |error: Crashed| NotComputed::Failed(error.to_string());
        let server = context.server.clone();
        let (slice, context) = (Arc::new(slice), Arc::new(context));
        let shared = || (Arc::clone(&slice), Arc::clone(&context));
        let rows = match &proposer {
            Proposer::Llm(client) => {
                let (slice, context) = shared();
                pipeline::run_llm_slice(slice, context, client, &pool, &progress).await
            }
            Proposer::Command(Some(program)) => {
                let (slice, context) = shared();
                pipeline::run_command_slice(slice, context, program, &pool, &progress, &stop).await
            }
            Proposer::Rules | Proposer::Command(None) => Ok(None),
        };
        if let Some(server) = server {
            server.flush().await;
        }
        let mut rows = rows.map_err(crashed)?.ok_or(NotComputed::Stopped)?;
        let part = pool.run(move || {
            rescan(&context, &slice, &mut rows)?;
            Part::of(&run_id, &rows).map_err(|error| NotComputed::Failed(error.to_string()))
        });
        part.await.map_err(crashed)?.map(Box::new)
    };
    let done = tokio::select! {
        done = computing => done,
        () = watch.expired() => Err(NotComputed::Stopped),
    };
    TaskReport::Computed(key, done)
}

/// A third of the lease's time to live, so that two heartbeats may get lost.
fn heartbeat_interval(ttl: Duration) -> Duration {
    (ttl / 3).clamp(SHORTEST_HEARTBEAT, IDLE_HEARTBEAT)
}

#[cfg(test)]
mod tests {
    use domain::ids::{FencingToken, ShardIndex};
    use domain::run::Shard;
    use proto::channel::{Access, CoordinatorAddress, connect};

    use super::*;

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(24 * 3600);

    /// A dispatcher whose stream is open, and the receiver of its messages.
    fn connected() -> (Dispatcher, mpsc::Receiver<v1::WorkRequest>) {
        let name = WorkerName::new("w").unwrap();
        let address = CoordinatorAddress::parse("http://127.0.0.1:1", &Access::default()).unwrap();
        let connection = connect(&address);
        let (joined, known) = watch::channel(None);
        let (gateway, _) = GatewayClient::start(connection.clone(), known);
        let leases = LeaseTable::new(1, 100, Instant::now());
        let mut dispatcher = Dispatcher::new(
            name.clone(),
            leases,
            CpuPool::new(1),
            connection,
            gateway,
            Services::default(),
            joined,
        );
        let (outbox, sent) = mpsc::channel(10_000);
        dispatcher.on_event(Event::Connected(Link::of(name, outbox)));
        (dispatcher, sent)
    }

    fn lease(dispatcher: &mut Dispatcher, shard: u32, stage: LeaseStage) -> LeaseKey {
        let lease = Lease {
            run_id: RunId::new("r").unwrap(),
            shard: Shard { index: ShardIndex(shard), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(1),
            ttl_ms: 1000,
            attempt: 1,
        };
        let key = LeaseKey::from(&lease);
        dispatcher.leases.insert(key.clone(), lease, Deadline::granted(Instant::now(), LONG));
        dispatcher.leases.advance(&key, stage);
        key
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_releases_its_lease_as_failed_and_a_drain_ends() {
        let (mut dispatcher, mut sent) = connected();
        let stages = [LeaseStage::Computing, LeaseStage::Proposing, LeaseStage::Committing];
        for (shard, stage) in (0..).zip(stages) {
            let key = lease(&mut dispatcher, shard, stage);
            dispatcher.work_for(key, async { panic!("on purpose") });
        }
        let (_events, inbox) = mpsc::channel(1);
        let (_sender, stage) = watch::channel(Stage::Drain);
        let ended = tokio::time::timeout(LONG / 2, dispatcher.run(inbox, stage)).await;
        assert_eq!(ended.expect("the drain ends").unwrap().released, 3);
        let mut failed = Vec::new();
        while let Some(v1::WorkRequest { message: Some(message) }) = sent.recv().await {
            if let Request::ReleaseLeases(v1::ReleaseLeases { leases, failed: true }) = message {
                failed.extend(leases.into_iter().map(|key| LeaseKey::try_from(key).unwrap().shard.0));
            }
        }
        failed.sort_unstable();
        assert_eq!(failed, [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_are_sent_also_without_leases_and_with_long_ones() {
        let (mut dispatcher, mut sent) = connected();
        lease(&mut dispatcher, 0, LeaseStage::Computing);
        let begun = Instant::now();
        let (_events, inbox) = mpsc::channel(1);
        let (_sender, stage) = watch::channel(Stage::Work);
        let _ = tokio::time::timeout(Duration::from_secs(60), dispatcher.run(inbox, stage)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        let mut heartbeats = 0;
        while let Some(request) = sent.recv().await {
            heartbeats += u32::from(matches!(request.message, Some(Request::Heartbeat(_))));
        }
        assert!((6..=8).contains(&heartbeats), "one every ten seconds: {heartbeats}");
    }
}
