//! The coordinator in a simulated world: real scheduler, leases and commits on paused time, with a simulated ledger,
//! store, network and workers whose faults a seed decides. Invariants: [`crate::sim::invariants`].
//!
//! The test plays 2,000 seeds, `scripts/test --long` 10,000 (`SIM_SEEDS=10000`). `SIM_SEEDS=1000000 cargo test --release -p
//! coordinator --lib sim::scenario::seeds` plays more of them, `SIM_FIRST=4711 SIM_SEEDS=1` one again.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of a simulation")]

use std::path::PathBuf;
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
use results::run_file::CORPUS_FILE;
use results::scan::Part;
use results::store::Store;

use super::dice::Dice;
use super::fleet;
use super::fleet::{Fate, Nature};
use super::world::{Faults, SimLedger, SimStore, World, lock};
use crate::ledger::{Ledger as _, RunEntry, RunResources};
use crate::run::{Coordinator, Parts, Recovery};
use crate::scheduler::state::Finish;
use crate::sim::invariants;
use crate::sim::mutation::{self, Mutation};

/// Corpora of these many records lie ready.
const SIZES: [u32; 4] = [3, 5, 8, 13];

/// How long a run may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a seed decides before anything happens.
#[derive(Debug, Clone)]
struct Scenario {
    runs: Vec<RunEntry>,
    faults: Faults,
    coordinators: usize,
    workers: Vec<Nature>,
    /// How long things go wrong, in ms.
    trouble_ms: u64,
    /// Whether the run is followed to the end of its finish.
    finishes: bool,
    poison: bool,
}

fn run_id(records: u32) -> RunId {
    RunId::new(format!("r{records}")).unwrap()
}

/// A folder with the corpora, made once.
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

fn corpora() -> PathBuf {
    CORPORA.path().to_owned()
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
    };
    let source = "the simulation".to_owned();
    RunEntry {
        plan,
        state: RunState::Running,
        source,
        created_at_ms: 0,
        fingerprint: None,
        totals: None,
        resources: RunResources::ZERO,
    }
}

impl Scenario {
    fn draw(dice: &Dice) -> Self {
        let several = dice.one_in(20);
        let first = dice.below(4) as usize;
        let mut runs = vec![entry(SIZES[first], dice.between(1, 6) as u32)];
        if dice.one_in(20) {
            runs.push(entry(SIZES[(first + 1) % 4], dice.between(1, 6) as u32));
        }
        let wild = dice.one_in(70);
        let percent = |most| if wild { dice.below(most) } else { 0 };
        let faults = Faults {
            before: percent(20),
            after: percent(20),
            later: percent(10),
            stuck: percent(8),
            loss: percent(25),
            delay_ms: dice.between(1, 60),
        };
        let poison = dice.one_in(15);
        let fleet = dice.between(1, 4);
        let workers = (0..fleet).map(|number| Nature {
            name: Arc::new(WorkerName::new(format!("w{number}")).unwrap()),
            ms_per_record: dice.between(1, 40) * if dice.one_in(15) { 10 } else { 1 },
            poison: poison.then(|| (runs[0].plan.run_id.clone(), SIZES[first] / 2)),
        });
        Self {
            workers: workers.collect(),
            runs,
            faults,
            coordinators: if several { 2 } else { 1 },
            trouble_ms: dice.between(200, 6000),
            finishes: !several && dice.one_in(6),
            poison,
        }
    }
}

/// One coordinator: lives from `open` to a kill, again and again.
struct SimCoordinator {
    world: Arc<World>,
    door: watch::Sender<Option<Arc<Coordinator>>>,
    finishes: bool,
    keeper: JoinSet<()>,
}

impl SimCoordinator {
    async fn start(&mut self) {
        loop {
            let parts = Parts {
                ledger: Arc::new(SimLedger(Arc::clone(&self.world))),
                store: Store::over(Arc::new(SimStore(Arc::clone(&self.world))), "sim"),
                scratch: corpora(),
                recovery: Recovery::Grace,
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
            let kept = Arc::clone(&coordinator);
            self.keeper.spawn(async move { kept.reap_leases().await });
            self.door.send_replace(Some(coordinator));
            return;
        }
    }

    fn kill(&mut self) {
        self.keeper.abort_all();
        if let Some(coordinator) = self.door.send_replace(None) {
            coordinator.kill();
        }
    }
}

/// What one seed came to.
#[derive(Debug)]
struct Report {
    violations: Vec<String>,
    steps: u64,
}

/// Plays one seed.
fn play(seed: u64, bug: Option<Mutation>) -> Report {
    mutation::switch(bug);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = runtime.block_on(act(seed));
    drop(runtime);
    mutation::switch(None);
    let steps = *lock(&world.steps);
    Report { violations: world.violations(), steps }
}

async fn act(seed: u64) -> Arc<World> {
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
            door: watch::Sender::new(None),
            finishes: scenario.finishes,
            keeper: JoinSet::new(),
        };
        coordinator.start().await;
        coordinators.push(coordinator);
    }
    let mut workers = JoinSet::new();
    let mut fates = Vec::new();
    for (number, nature) in scenario.workers.iter().enumerate() {
        let door = coordinators[number % coordinators.len()].door.subscribe();
        let (sender, inbox) = mpsc::channel(4);
        fates.push(sender.clone());
        workers.spawn(fleet::live(Arc::clone(&world), door, nature.clone(), dice.fork(), (sender, inbox)));
    }
    trouble(&scenario, &dice, &mut coordinators, &fates).await;
    world.calm.store(true, Ordering::Relaxed);
    calm(&scenario, &world, &coordinators).await;
    for run in &scenario.runs {
        judge(&scenario, &world, run).await;
    }
    workers.abort_all();
    for coordinator in &mut coordinators {
        coordinator.kill();
    }
    world
}

/// The time in which everything goes wrong.
async fn trouble(
    scenario: &Scenario,
    dice: &Dice,
    coordinators: &mut [SimCoordinator],
    fates: &[mpsc::Sender<Fate>],
) {
    let end = Instant::now() + Duration::from_millis(scenario.trouble_ms);
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
            // Everybody sleeps: a machine that was suspended.
            8 => tokio::time::advance(Duration::from_millis(dice.between(500, 3000))).await,
            _ => {}
        }
    }
}

/// Waits until every run has ended.
async fn calm(scenario: &Scenario, world: &World, coordinators: &[SimCoordinator]) {
    let end = Instant::now() + PATIENCE;
    for run in &scenario.runs {
        let run_id = &run.plan.run_id;
        loop {
            let ended = if scenario.finishes {
                world.run_entry(run_id).is_some_and(|run| run.state == RunState::Finished)
            } else {
                world.is_committed(run_id) && (world.several || knows(run, coordinators, world))
            };
            if ended {
                break;
            }
            if !world.violations().is_empty() {
                return;
            }
            if Instant::now() > end {
                world.accuse(format!("run {run_id} does not end: {:?}", world.entries(run_id)));
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
            for coordinator in coordinators {
                expired_in_time(coordinator, world);
            }
        }
    }
}

/// Whether the coordinator's memory has come to the same end as the ledger; then its counts have to be right.
fn knows(run: &RunEntry, coordinators: &[SimCoordinator], world: &World) -> bool {
    let Some(coordinator) = coordinators[0].door.borrow().clone() else { return false };
    if world.run_entry(&run.plan.run_id).is_some_and(|run| run.state == RunState::Finished) {
        // It was complete when a coordinator took it up.
        return true;
    }
    let scheduler = coordinator.scheduler();
    let Some(live) = scheduler.active.get(&run.plan.run_id) else { return false };
    if live.leases.is_complete() && live.tally.records != run.plan.records {
        world.accuse(format!("{} outcomes are counted, {} are there", live.tally.records, run.plan.records));
    }
    live.leases.is_complete()
}

/// After leases were expired, none that is due is left.
fn expired_in_time(coordinator: &SimCoordinator, world: &World) {
    let Some(coordinator) = coordinator.door.borrow().clone() else { return };
    let mut scheduler = coordinator.scheduler();
    let now = coordinator.now();
    scheduler.expire(now);
    if scheduler.next_deadline().is_some_and(|deadline| deadline <= now) {
        world.accuse("a lease lives past its deadline");
    }
}

/// What must hold in the end.
async fn judge(scenario: &Scenario, world: &World, run: &RunEntry) {
    let run_id = &run.plan.run_id;
    world.check(run_id);
    let told = lock(&world.told).clone();
    let told: Vec<(ShardIndex, FencingToken)> = told
        .into_iter()
        .filter(|(told, _, _)| told == run_id)
        .map(|(_, shard, token)| (shard, token))
        .collect();
    for violation in invariants::told(&told) {
        world.accuse(violation);
    }
    let entries = world.entries(run_id);
    let given_up: u64 =
        entries.iter().filter_map(|entry| entry.part.as_ref()).map(|part| part.tally.errors).sum();
    let poisoned = scenario.poison && *run_id == scenario.runs[0].plan.run_id;
    if poisoned && given_up == 0 && world.violations().is_empty() {
        world.accuse("the poisonous record has an outcome of a worker");
    }
    if !scenario.finishes || !world.violations().is_empty() {
        return;
    }
    let ended = world.run_entry(run_id);
    let found = ended.and_then(|run| run.fingerprint);
    if given_up == 0 && found.as_deref() != Some(undisturbed(run).as_str()) {
        world.accuse(format!("fingerprint {found:?} is not that of an undisturbed run"));
    }
    let path = object_store::path::Path::from(format!("{run_id}/run.json"));
    let read = async { world.objects.get(&path).await?.bytes().await };
    let file: serde_json::Value = serde_json::from_slice(&read.await.unwrap_or_default()).unwrap_or_default();
    let counted: u64 = file["counts"]
        .as_object()
        .map_or(0, |counts| counts.values().filter_map(serde_json::Value::as_u64).sum());
    if counted != run.plan.records {
        world.accuse(format!("run.json counts {counted} outcomes of {}: {file}", run.plan.records));
    }
}

/// The fingerprint of a run in which nothing happened.
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
                    let report = play(seed, None);
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
    assert!(count < 100 || steps > 10 * count, "too little happens: {steps} steps");
}

/// The one worker's stream broke while leases were on their way to it, twice: it has to ask again for as many.
#[test]
fn a_worker_whose_stream_breaks_asks_again() {
    for seed in [16_472, 16_769] {
        let violations = play(seed, None).violations;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

/// Each deliberate bug is found, and what finds it finds nothing without it.
#[test]
fn every_planted_bug_is_found() {
    let most = number("SIM_MUTANT_SEEDS", 500);
    let mut missed = Vec::new();
    for bug in Mutation::ALL {
        match (0..most).find(|seed| !play(*seed, Some(bug)).violations.is_empty()) {
            Some(seed) => {
                let found = play(seed, Some(bug)).violations;
                println!("{bug:?}: seed {seed}: {}", found.first().map_or("", String::as_str));
                assert!(play(seed, None).violations.is_empty(), "seed {seed} fails without {bug:?}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found in {most} seeds: {missed:?}");
}
