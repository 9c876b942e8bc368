//! Simulation of the coordinator: real scheduler, leases and commits on paused time, with a simulated ledger, store, network
//! and workers whose faults are drawn from a seed. Invariants: [`crate::sim::invariants`].
//!
//! The test runs 2,000 seeds, `scripts/test --long` 10,000 (`SIM_SEEDS=10000`). `SIM_SEEDS=1000000 cargo test --release -p
//! coordinator --lib sim::scenario::seeds` runs more of them, `SIM_FIRST=4711 SIM_SEEDS=1` repeats one.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of a simulation")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::FutureExt as _;
use object_store::ObjectStoreExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use domain::config::RunConfig;
use domain::ids::{CorpusHash, FencingToken, RunId, ShardIndex, WorkerName};
use domain::run::{Lease, RunPlan, RunState, Shard};
use results::corpus_copy::CorpusWriter;
use results::fingerprint::fingerprint;
use results::layout::CORPUS_FILE;
use results::scan::Part;
use results::store::Store;

use super::dice::Dice;
use super::fleet;
use super::fleet::{Fate, Profile};
use super::world::{Faults, SimLedger, SimStore, World, lock};
use crate::ledger::{Ledger as _, RunEntry, RunResources};
use crate::run::{Coordinator, OwnerDeadline, Parts, Recovery};
use crate::scheduler::state::Finish;
use crate::sim::invariants;
use crate::sim::mutation::{self, Mutation};

/// Numbers of records of the prepared corpora.
const SIZES: [u32; 4] = [3, 5, 8, 13];

/// How long a run may take after the last fault.
const PATIENCE: Duration = Duration::from_secs(300);

/// Everything that is drawn from a seed before the simulation starts.
#[derive(Debug, Clone)]
struct Scenario {
    runs: Vec<RunEntry>,
    faults: Faults,
    coordinators: usize,
    workers: Vec<Profile>,
    /// How long faults are injected, in ms.
    faults_ms: u64,
    /// Whether the run is also finalized.
    finishes: bool,
    poison: bool,
}

fn run_id(records: u32) -> RunId {
    RunId::new(format!("r{records}")).unwrap()
}

/// A folder with the corpora, created once.
static CORPORA: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for records in SIZES {
        let path = folder.path().join(format!("{}.{CORPUS_FILE}", run_id(records)));
        let mut writer = CorpusWriter::create(&path).unwrap();
        for position in 0..records {
            let (record, document) = domain::testing::record(position.into(), "latest-tag", "kind: Pod");
            writer.push(record, &document).unwrap();
        }
        writer.finish().unwrap();
    }
    folder
});

/// A folder of one coordinator with the corpora: its files on their way are swept by its next process.
fn scratch() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(CORPORA.path()).unwrap();
    for records in SIZES {
        let name = format!("{}.{CORPUS_FILE}", run_id(records));
        std::fs::hard_link(CORPORA.path().join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

fn entry(records: u32, shard_size: u32) -> RunEntry {
    let mut config = RunConfig::default();
    config.fleet.lease_seconds = 1;
    config.fleet.max_lost = 2;
    config.fleet.shard_size = shard_size;
    let plan = RunPlan {
        run_id: run_id(records),
        corpus_hash: CorpusHash::of(b"corpus"),
        config_hash: config.hash(),
        config,
        records: records.into(),
        shard_size,
        version: String::new(),
        former_endpoint: None,
    };
    let source = "the simulation".to_owned();
    RunEntry {
        plan,
        state: RunState::Running,
        source,
        created_at_ms: 0,
        fingerprint: None,
        run_file: None,
        totals: None,
        resources: RunResources::ZERO,
        failure: None,
    }
}

impl Scenario {
    fn draw(dice: &Dice) -> Self {
        let several = dice.chance(20);
        let first = dice.below(4) as usize;
        let mut runs = vec![entry(SIZES[first], dice.between(1, 6) as u32)];
        if dice.chance(20) {
            runs.push(entry(SIZES[(first + 1) % 4], dice.between(1, 6) as u32));
        }
        let has_faults = dice.chance(70);
        let percent = |most| if has_faults { dice.below(most) } else { 0 };
        let faults = Faults {
            before: percent(20),
            after: percent(20),
            later: percent(10),
            stuck: percent(8),
            loss: percent(25),
            delay_ms: dice.between(1, 60),
        };
        let poison = dice.chance(15);
        let fleet = dice.between(1, 4);
        let workers = (0..fleet).map(|number| Profile {
            name: Arc::new(WorkerName::new(format!("w{number}")).unwrap()),
            ms_per_record: dice.between(1, 40) * if dice.chance(15) { 10 } else { 1 },
            poison: poison.then(|| (runs[0].plan.run_id.clone(), SIZES[first] / 2)),
        });
        Self {
            workers: workers.collect(),
            runs,
            faults,
            coordinators: if several { 2 } else { 1 },
            faults_ms: dice.between(200, 6000),
            finishes: !several && dice.chance(6),
            poison,
        }
    }
}

/// A coordinator that is killed and restarted.
struct SimCoordinator {
    world: Arc<World>,
    endpoint: watch::Sender<Option<Arc<Coordinator>>>,
    finishes: bool,
    reaper: JoinSet<()>,
    scratch: tempfile::TempDir,
}

impl SimCoordinator {
    async fn start(&mut self) {
        loop {
            let parts = Parts {
                ledger: Arc::new(SimLedger(Arc::clone(&self.world))),
                store: Store::over(Arc::new(SimStore(Arc::clone(&self.world))), "sim"),
                scratch: self.scratch.path().to_owned(),
                recovery: Recovery::Grace,
                owner: OwnerDeadline::unlimited(),
            };
            let Ok(coordinator) = Coordinator::open(parts).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if !self.finishes {
                for live in coordinator.scheduler().active.values_mut() {
                    live.finish = Finish::UnderWay;
                }
            }
            let reaping = Arc::clone(&coordinator);
            self.reaper.spawn(async move { reaping.reap_leases().await });
            self.endpoint.send_replace(Some(coordinator));
            return;
        }
    }

    fn kill(&mut self) {
        self.reaper.abort_all();
        if let Some(coordinator) = self.endpoint.send_replace(None) {
            coordinator.kill();
        }
    }
}

/// Result of one seed.
#[derive(Debug)]
struct Report {
    violations: Vec<String>,
    steps: u64,
}

/// Runs one seed.
fn simulate(seed: u64, bug: Option<Mutation>) -> Report {
    mutation::switch(bug);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = runtime.block_on(run_seed(seed));
    drop(runtime);
    mutation::switch(None);
    let steps = *lock(&world.steps);
    Report { violations: world.violations(), steps }
}

async fn run_seed(seed: u64) -> Arc<World> {
    let dice = Dice::new(seed);
    let scenario = Scenario::draw(&dice);
    let several = scenario.coordinators > 1;
    let world = Arc::new(World::new(dice.fork(), scenario.faults, several));
    for run in &scenario.runs {
        world.ledger.create_run(run.clone()).now_or_never();
    }
    let mut coordinators = Vec::new();
    for _ in 0..scenario.coordinators {
        let mut coordinator = SimCoordinator {
            world: Arc::clone(&world),
            endpoint: watch::Sender::new(None),
            finishes: scenario.finishes,
            reaper: JoinSet::new(),
            scratch: scratch(),
        };
        coordinator.start().await;
        coordinators.push(coordinator);
    }
    let mut workers = JoinSet::new();
    let mut fates = Vec::new();
    for (number, profile) in scenario.workers.iter().enumerate() {
        let endpoint = coordinators[number % coordinators.len()].endpoint.subscribe();
        let (sender, inbox) = mpsc::channel(4);
        fates.push(sender.clone());
        workers.spawn(fleet::live(
            Arc::clone(&world),
            endpoint,
            profile.clone(),
            dice.fork(),
            (sender, inbox),
        ));
    }
    inject_faults(&scenario, &dice, &mut coordinators, &fates).await;
    world.calm.store(true, Ordering::Relaxed);
    wait_for_end(&scenario, &world, &coordinators).await;
    for run in &scenario.runs {
        check_result(&scenario, &world, run).await;
    }
    workers.abort_all();
    for coordinator in &mut coordinators {
        coordinator.kill();
    }
    world
}

/// Injects faults for the time of the scenario.
async fn inject_faults(
    scenario: &Scenario,
    dice: &Dice,
    coordinators: &mut [SimCoordinator],
    fates: &[mpsc::Sender<Fate>],
) {
    let end = Instant::now() + Duration::from_millis(scenario.faults_ms);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(dice.between(20, 800))).await;
        let fate = &fates[dice.below(fates.len() as u64) as usize];
        let coordinator = dice.below(coordinators.len() as u64) as usize;
        match dice.below(10) {
            0 | 1 => drop(fate.try_send(Fate::Break)),
            2 | 3 => drop(fate.try_send(Fate::Die(dice.below(2000)))),
            4 | 5 => drop(fate.try_send(Fate::Sleep(dice.between(100, 4000)))),
            6 | 7 => {
                coordinators[coordinator].kill();
                tokio::time::sleep(Duration::from_millis(dice.below(2500))).await;
                coordinators[coordinator].start().await;
            }
            // The machine is suspended: all of it sleeps.
            8 => tokio::time::advance(Duration::from_millis(dice.between(500, 3000))).await,
            _ => {}
        }
    }
}

/// Waits until every run has ended.
async fn wait_for_end(scenario: &Scenario, world: &World, coordinators: &[SimCoordinator]) {
    let end = Instant::now() + PATIENCE;
    for run in &scenario.runs {
        let run_id = &run.plan.run_id;
        loop {
            let ended = if scenario.finishes {
                world.run_entry(run_id).is_some_and(|run| run.state == RunState::Finished)
            } else {
                world.is_committed(run_id) && (world.several || is_complete(run, coordinators, world))
            };
            if ended {
                break;
            }
            if !world.violations().is_empty() {
                return;
            }
            if Instant::now() > end {
                let state = world.run_entry(run_id).map(|run| (run.state, run.failure));
                world.report(format!("run {run_id} does not end: {state:?}, {:?}", world.entries(run_id)));
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
            for coordinator in coordinators {
                check_deadlines(coordinator, world);
            }
        }
    }
}

/// Whether the run is complete in the coordinator's state, too; checks its counts then.
fn is_complete(run: &RunEntry, coordinators: &[SimCoordinator], world: &World) -> bool {
    let Some(coordinator) = coordinators[0].endpoint.borrow().clone() else { return false };
    if world.run_entry(&run.plan.run_id).is_some_and(|run| run.state == RunState::Finished) {
        // It was complete when the coordinator resumed it.
        return true;
    }
    let scheduler = coordinator.scheduler();
    let Some(active) = scheduler.active.get(&run.plan.run_id) else { return false };
    if active.leases.is_complete() && active.tally.records != run.plan.records {
        world.report(format!(
            "{} outcomes are counted, {} are committed",
            active.tally.records, run.plan.records
        ));
    }
    active.leases.is_complete()
}

/// Checks that no lease is past its deadline after leases were expired.
fn check_deadlines(coordinator: &SimCoordinator, world: &World) {
    let Some(coordinator) = coordinator.endpoint.borrow().clone() else { return };
    let mut scheduler = coordinator.scheduler();
    let now = coordinator.now();
    scheduler.expire(now);
    if scheduler.next_deadline().is_some_and(|deadline| deadline <= now) {
        world.report("a lease is held past its deadline");
    }
}

/// Checks the result of a run.
async fn check_result(scenario: &Scenario, world: &World, run: &RunEntry) {
    let run_id = &run.plan.run_id;
    world.check(run_id);
    let sent = lock(&world.sent).clone();
    let sent: Vec<(ShardIndex, FencingToken)> = sent
        .into_iter()
        .filter(|(of_run, _, _)| of_run == run_id)
        .map(|(_, shard, token)| (shard, token))
        .collect();
    for violation in invariants::sent_once(&sent) {
        world.report(violation);
    }
    let entries = world.entries(run_id);
    let dead_letters: u64 =
        entries.iter().filter_map(|entry| entry.part.as_ref()).map(|part| part.tally.errors).sum();
    let poisoned = scenario.poison && *run_id == scenario.runs[0].plan.run_id;
    if poisoned && dead_letters == 0 && world.violations().is_empty() {
        world.report("the poison record has the outcome of a worker");
    }
    if !scenario.finishes || !world.violations().is_empty() {
        return;
    }
    let ended = world.run_entry(run_id);
    let found = ended.and_then(|run| run.fingerprint);
    if dead_letters == 0 && found.as_deref() != Some(undisturbed(run).as_str()) {
        world.report(format!("fingerprint {found:?} is not that of an undisturbed run"));
    }
    let path = object_store::path::Path::from(format!("{run_id}/run.json"));
    let read = async { world.objects.get(&path).await?.bytes().await };
    let file: serde_json::Value = serde_json::from_slice(&read.await.unwrap_or_default()).unwrap_or_default();
    let counted: u64 = file["counts"]
        .as_object()
        .map_or(0, |counts| counts.values().filter_map(serde_json::Value::as_u64).sum());
    if counted != run.plan.records {
        world.report(format!("run.json counts {counted} outcomes of {}: {file}", run.plan.records));
    }
}

/// The fingerprint of a run without faults.
fn undisturbed(run: &RunEntry) -> String {
    let worker = WorkerName::new("w").unwrap();
    let lease = Lease {
        run_id: run.plan.run_id.clone(),
        shard: Shard { index: ShardIndex(0), len: run.plan.cut().records },
        worker: worker.clone(),
        token: FencingToken(1),
        ttl_ms: 1,
        attempt: 1,
    };
    let (_, bytes) = fleet::part(&lease, &worker);
    fingerprint(vec![Part::Bytes { name: "undisturbed".to_owned(), bytes }]).unwrap().to_string()
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn seeds() {
    let (first, count) = (number("SIM_FIRST", 0), number("SIM_SEEDS", 2_000));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let steps = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for start in (first..).take(threads) {
            let steps = &steps;
            scope.spawn(move || {
                for seed in (start..first + count).step_by(threads) {
                    let report = simulate(seed, None);
                    steps.fetch_add(report.steps, Ordering::Relaxed);
                    assert!(
                        report.violations.is_empty(),
                        "seed {seed}: {:#?}\nagain: SIM_FIRST={seed} SIM_SEEDS=1 cargo test -p coordinator --lib sim::scenario::seeds",
                        report.violations
                    );
                }
            });
        }
    });
    let steps = steps.into_inner();
    assert!(count < 100 || steps > 10 * count, "the simulation does too little: {steps} steps");
}

/// The only worker's stream broke twice while leases were being sent: it has to request as many shards again.
#[test]
fn a_worker_requests_shards_again_after_a_broken_stream() {
    for seed in [16_472, 16_769] {
        let violations = simulate(seed, None).violations;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

/// Each planted bug is found by a seed that finds nothing without it.
#[test]
fn every_planted_bug_is_found() {
    let most = number("SIM_MUTANT_SEEDS", 500);
    let mut missed = Vec::new();
    for bug in Mutation::ALL {
        match (0..most).find(|seed| !simulate(*seed, Some(bug)).violations.is_empty()) {
            Some(seed) => {
                let found = simulate(seed, Some(bug)).violations;
                println!("{bug:?}: seed {seed}: {}", found.first().map_or("", String::as_str));
                assert!(simulate(seed, None).violations.is_empty(), "seed {seed} fails without {bug:?}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found in {most} seeds: {missed:?}");
}
