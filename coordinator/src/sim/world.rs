//! The surroundings of a simulated coordinator: a ledger and a store that are slow, fail before or after a step took
//! effect, or let it take effect after they failed. Every step that changes something is checked against the
//! invariants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::task::JoinSet;

use domain::config::RunConfig;
use domain::ids::{ConfigHash, FencingToken, RunId, ShardIndex};
use domain::run::RunState;

use super::dice::Dice;
use crate::ledger::{
    CommitVerdict, CommittedPart, Created, Leased, Ledger, LedgerError, LedgerResult, MemoryLedger, RunEntry,
    RunResources, ShardEntry, Swap, Totals,
};
use crate::sim::invariants;

/// What goes wrong, in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// A step fails and has not happened.
    pub(super) before: u64,
    /// A step fails and has happened.
    pub(super) after: u64,
    /// A step fails and happens later.
    pub(super) later: u64,
    /// A step takes longer than a lease.
    pub(super) stuck: u64,
    /// A message is lost.
    pub(super) loss: u64,
    /// Longest ordinary delay, in ms.
    pub(super) delay_ms: u64,
}

/// What all parts of a simulation share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// No faults any more.
    pub(super) calm: AtomicBool,
    violations: Mutex<Vec<String>>,
    pub(super) objects: Arc<InMemory>,
    pub(super) ledger: MemoryLedger,
    late: Mutex<JoinSet<()>>,
    /// Leases that workers were told of.
    pub(super) told: Mutex<Vec<(RunId, ShardIndex, FencingToken)>>,
    /// Several coordinators serve the same runs.
    pub(super) several: bool,
    pub(super) steps: Mutex<u64>,
}

impl World {
    pub(super) fn new(dice: Dice, faults: Faults, several: bool) -> Self {
        Self {
            dice,
            faults,
            calm: AtomicBool::new(false),
            violations: Mutex::default(),
            objects: Arc::default(),
            ledger: MemoryLedger::default(),
            late: Mutex::default(),
            told: Mutex::default(),
            several,
            steps: Mutex::default(),
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(super) fn happens(&self, percent: u64) -> bool {
        !self.is_calm() && self.dice.one_in(percent)
    }

    pub(super) fn accuse(&self, what: impl std::fmt::Display) {
        lock(&self.violations).push(what.to_string());
    }

    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Does something in so many ms, whoever dies meanwhile.
    pub(super) fn later(&self, ms: u64, what: impl Future<Output = ()> + Send + 'static) {
        lock(&self.late).spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            what.await;
        });
    }

    /// An ordinary delay, or a long one.
    pub(super) async fn delay(&self) {
        let ms = if self.happens(self.faults.stuck) {
            self.dice.between(500, 2500)
        } else {
            self.dice.below(self.faults.delay_ms)
        };
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    /// The whole of a run in the ledger.
    pub(super) fn entries(&self, run_id: &RunId) -> Vec<ShardEntry> {
        let shards = self.ledger.shards(run_id, ShardIndex(0), usize::MAX);
        shards.now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn run_entry(&self, run_id: &RunId) -> Option<RunEntry> {
        self.ledger.run(run_id).now_or_never()?.ok()?
    }

    /// Every object of a run by its key, with its length.
    pub(super) fn staged(&self, run_id: &RunId) -> BTreeMap<String, u64> {
        let prefix = Path::from(run_id.as_str());
        let listed = self.objects.list(Some(&prefix)).try_collect::<Vec<_>>().now_or_never();
        let folder = format!("{run_id}/");
        let listed = listed.and_then(Result::ok).unwrap_or_default().into_iter();
        listed.map(|object| (object.location.as_ref().replacen(&folder, "", 1), object.size)).collect()
    }

    /// Whether every record of a run has a committed outcome.
    pub(super) fn is_committed(&self, run_id: &RunId) -> bool {
        let Some(run) = self.run_entry(run_id) else { return false };
        let rows: u64 = self
            .entries(run_id)
            .iter()
            .filter(|entry| entry.part.is_some())
            .map(|entry| u64::from(entry.shard.len))
            .sum();
        rows >= run.plan.records
    }

    /// Checks a run as it lies.
    pub(super) fn check(&self, run_id: &RunId) {
        *lock(&self.steps) += 1;
        let Some(run) = self.run_entry(run_id) else { return };
        let staged = (run.state != RunState::Finished).then(|| self.staged(run_id));
        for violation in invariants::check(&run.plan, run.state, &self.entries(run_id), staged.as_ref()) {
            self.accuse(violation);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ledger as a coordinator meets it.
#[derive(Debug, Clone)]
pub(super) struct SimLedger(pub(super) Arc<World>);

fn failed<T>(what: &str) -> LedgerResult<T> {
    Err(LedgerError::Unavailable { place: "the simulation".to_owned(), reason: what.to_owned() })
}

impl SimLedger {
    /// A step with what can go wrong around it.
    fn step<T: Send + 'static>(
        &self,
        act: impl FnOnce(&World) -> LedgerResult<T> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        let world = Arc::clone(&self.0);
        async move {
            world.delay().await;
            if world.happens(world.faults.before) {
                return failed("it did not happen");
            }
            if world.happens(world.faults.later) {
                let (late, wait) = (Arc::clone(&world), world.dice.between(1, 3000));
                world.later(wait, async move {
                    let _ = act(&late);
                });
                return failed("it will happen");
            }
            let done = act(&world);
            if world.happens(world.faults.after) {
                return failed("it has happened");
            }
            world.delay().await;
            done
        }
        .boxed()
    }

    /// A step on one shard, checked.
    fn shard_step<T: Send + 'static>(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        commit: Option<FencingToken>,
        act: impl FnOnce(&World) -> LedgerResult<T> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        let run_id = run_id.clone();
        self.step(move |world| {
            let look = || world.entries(&run_id).into_iter().find(|entry| entry.shard.index == shard);
            let before = look();
            let done = act(world);
            let after = look();
            if let Some(violation) = invariants::step(before.as_ref(), after.as_ref(), commit) {
                world.accuse(violation);
            }
            world.check(&run_id);
            done
        })
    }
}

fn now<T>(future: BoxFuture<'_, LedgerResult<T>>) -> LedgerResult<T> {
    future.now_or_never().unwrap_or_else(|| failed("a ledger in memory answers at once"))
}

impl Ledger for SimLedger {
    fn create_run(&self, run: RunEntry) -> BoxFuture<'_, LedgerResult<Created>> {
        self.step(move |world| now(world.ledger.create_run(run)))
    }

    fn run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Option<RunEntry>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.run(&run_id)))
    }

    fn runs(&self) -> BoxFuture<'_, LedgerResult<Vec<RunEntry>>> {
        self.step(move |world| now(world.ledger.runs()))
    }

    fn advance(
        &self,
        run_id: &RunId,
        from: RunState,
        to: RunState,
        fingerprint: Option<String>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| {
            let done = now(world.ledger.advance(&run_id, from, to, fingerprint));
            world.check(&run_id);
            done
        })
    }

    fn reconfigure(
        &self,
        run_id: &RunId,
        config: RunConfig,
    ) -> BoxFuture<'_, LedgerResult<Swap<ConfigHash>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.reconfigure(&run_id, config)))
    }

    fn shards(
        &self,
        run_id: &RunId,
        first: ShardIndex,
        limit: usize,
    ) -> BoxFuture<'_, LedgerResult<Vec<ShardEntry>>> {
        let run_id = run_id.clone();
        // Pages that are small, so that they are of different moments.
        let limit = limit.min(3);
        self.step(move |world| now(world.ledger.shards(&run_id, first, limit)))
    }

    fn lease(&self, run_id: &RunId, leased: Leased) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let id = run_id.clone();
        let shard = leased.shard.index;
        self.shard_step(run_id, shard, None, move |world| now(world.ledger.lease(&id, leased)))
    }

    fn commit(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        token: FencingToken,
        part: CommittedPart,
    ) -> BoxFuture<'_, LedgerResult<CommitVerdict>> {
        let id = run_id.clone();
        self.shard_step(run_id, shard, Some(token), move |world| {
            now(world.ledger.commit(&id, shard, token, part))
        })
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.record_totals(&run_id, totals)))
    }

    /// At once and without a fault: it comes by the clock, and would change what every seed means.
    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        let recorded = now(self.0.ledger.record_resources(run_id, resources));
        futures::future::ready(recorded).boxed()
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.remove_run(&run_id)))
    }
}

/// The store as a coordinator meets it.
#[derive(Debug)]
pub(super) struct SimStore(pub(super) Arc<World>);

impl std::fmt::Display for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the simulation")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "the simulation", source: "a disk failed".into() }
}

#[async_trait::async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.0.delay().await;
        if self.0.happens(self.0.faults.before) {
            return Err(broken());
        }
        let put = self.0.objects.put_opts(location, payload, opts).await;
        if self.0.happens(self.0.faults.after) {
            return Err(broken());
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.0.happens(self.0.faults.before) {
            return Err(broken());
        }
        self.0.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        if self.0.happens(self.0.faults.before) {
            return locations.map(|_| Err(broken())).boxed();
        }
        self.0.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.objects.copy_opts(from, to, options).await
    }
}
