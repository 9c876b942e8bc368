//! Simulated ledger and store: slow, failing before or after a step takes effect, or with an effect after the failure. The
//! invariants are checked after every step that writes.

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
use domain::ids::{ConfigHash, FencingToken, PartHash, RunId, ShardIndex};
use domain::run::RunState;

use super::dice::Dice;
use crate::ledger::{
    CommitVerdict, CommittedPart, Created, FinishedRun, Leased, Ledger, LedgerError, LedgerResult,
    MemoryLedger, RunEntry, RunResources, ShardEntry, Swap, Totals,
};
use crate::sim::invariants;

/// Probabilities of faults in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// A step fails without effect.
    pub(super) before: u64,
    /// A step fails after its effect.
    pub(super) after: u64,
    /// A step fails and takes effect later.
    pub(super) later: u64,
    /// A step takes longer than a lease.
    pub(super) stuck: u64,
    /// A message is lost.
    pub(super) loss: u64,
    /// Longest ordinary delay, in ms.
    pub(super) delay_ms: u64,
}

/// State that all parts of a simulation share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// Set when no more faults are injected.
    pub(super) calm: AtomicBool,
    violations: Mutex<Vec<String>>,
    pub(super) objects: Arc<InMemory>,
    pub(super) ledger: MemoryLedger,
    late: Mutex<JoinSet<()>>,
    /// Leases that were sent to workers.
    pub(super) sent: Mutex<Vec<(RunId, ShardIndex, FencingToken)>>,
    /// Whether several coordinators serve the same runs.
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
            sent: Mutex::default(),
            several,
            steps: Mutex::default(),
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(super) fn happens(&self, percent: u64) -> bool {
        !self.is_calm() && self.dice.chance(percent)
    }

    pub(super) fn report(&self, what: impl std::fmt::Display) {
        lock(&self.violations).push(what.to_string());
    }

    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Runs `what` after `ms`, even if its worker has crashed meanwhile.
    pub(super) fn later(&self, ms: u64, what: impl Future<Output = ()> + Send + 'static) {
        lock(&self.late).spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            what.await;
        });
    }

    /// Waits for a normal delay, or a long one.
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

    /// All shards of a run in the ledger.
    pub(super) fn entries(&self, run_id: &RunId) -> Vec<ShardEntry> {
        let shards = self.ledger.shards(run_id, ShardIndex(0), usize::MAX);
        shards.now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn run_entry(&self, run_id: &RunId) -> Option<RunEntry> {
        self.ledger.run(run_id).now_or_never()?.ok()?
    }

    /// Keys and lengths of all objects of a run.
    pub(super) fn staged(&self, run_id: &RunId) -> BTreeMap<String, u64> {
        let prefix = Path::from(run_id.as_str());
        let listed = self.objects.list(Some(&prefix)).try_collect::<Vec<_>>().now_or_never();
        let folder = format!("{run_id}/");
        let listed = listed.and_then(Result::ok).unwrap_or_default().into_iter();
        listed.map(|object| (object.location.as_ref().replacen(&folder, "", 1), object.size)).collect()
    }

    /// Whether every record of a run is committed.
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

    /// Checks the invariants of a run.
    pub(super) fn check(&self, run_id: &RunId) {
        *lock(&self.steps) += 1;
        let Some(run) = self.run_entry(run_id) else { return };
        let staged = (run.state != RunState::Finished).then(|| self.staged(run_id));
        for violation in invariants::check(&run.plan, run.state, &self.entries(run_id), staged.as_ref()) {
            self.report(violation);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ledger with faults.
#[derive(Debug, Clone)]
pub(super) struct SimLedger(pub(super) Arc<World>);

fn failed<T>(what: &str) -> LedgerResult<T> {
    Err(LedgerError::Unavailable { place: "the simulation".to_owned(), reason: what.to_owned() })
}

impl SimLedger {
    /// Runs a step with faults.
    fn step<T: Send + 'static>(
        &self,
        act: impl FnOnce(&World) -> LedgerResult<T> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        let world = Arc::clone(&self.0);
        async move {
            world.delay().await;
            if world.happens(world.faults.before) {
                return failed("it had no effect");
            }
            if world.happens(world.faults.later) {
                let (late, wait) = (Arc::clone(&world), world.dice.between(1, 3000));
                world.later(wait, async move {
                    let _ = act(&late);
                });
                return failed("it will take effect");
            }
            let done = act(&world);
            if world.happens(world.faults.after) {
                return failed("it has taken effect");
            }
            world.delay().await;
            done
        }
        .boxed()
    }

    /// Runs and checks a step on one shard.
    fn shard_step<T: Send + 'static>(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        commit: Option<FencingToken>,
        act: impl FnOnce(&World) -> LedgerResult<T> + Send + 'static,
    ) -> BoxFuture<'_, LedgerResult<T>> {
        let run_id = run_id.clone();
        self.step(move |world| {
            let read = || world.entries(&run_id).into_iter().find(|entry| entry.shard.index == shard);
            let before = read();
            let done = act(world);
            let after = read();
            if let Some(violation) = invariants::step(before.as_ref(), after.as_ref(), commit) {
                world.report(violation);
            }
            world.check(&run_id);
            done
        })
    }
}

fn now<T>(future: BoxFuture<'_, LedgerResult<T>>) -> LedgerResult<T> {
    future.now_or_never().unwrap_or_else(|| failed("a ledger in memory never waits"))
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
        finished: Option<FinishedRun>,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| {
            let done = now(world.ledger.advance(&run_id, from, to, finished));
            world.check(&run_id);
            done
        })
    }

    fn fail(
        &self,
        run_id: &RunId,
        from: RunState,
        reason: String,
    ) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.fail(&run_id, from, reason)))
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
        // Small pages, so that a listing is not a consistent snapshot.
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

    fn reopen(
        &self,
        run_id: &RunId,
        shard: ShardIndex,
        part: PartHash,
    ) -> BoxFuture<'_, LedgerResult<Swap<Option<ShardEntry>>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.reopen(&run_id, shard, part)))
    }

    fn record_totals(&self, run_id: &RunId, totals: Totals) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.record_totals(&run_id, totals)))
    }

    /// Without delay and faults: it runs on a timer, and draws for it would change every seed.
    fn record_resources(&self, run_id: &RunId, resources: RunResources) -> BoxFuture<'_, LedgerResult<()>> {
        let recorded = now(self.0.ledger.record_resources(run_id, resources));
        futures::future::ready(recorded).boxed()
    }

    fn remove_run(&self, run_id: &RunId) -> BoxFuture<'_, LedgerResult<Swap<RunState>>> {
        let run_id = run_id.clone();
        self.step(move |world| now(world.ledger.remove_run(&run_id)))
    }
}

/// The store with faults.
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
