//! Fault injection into real processes: kills, freezes, disconnects and starves a coordinator and its workers during a run,
//! and requires the results of the undisturbed run.
//!
//! Uses none of our crates: only the output and the files of the binaries count.

pub mod coordinators;
mod disk;
mod fleet;
mod link;
mod model;
mod plan;
mod report;
mod stall;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use disk::SmallDisk;
use fleet::{Binaries, Fleet};
use link::Bucket;
use model::Provider;
use plan::{Budget, Fault, Step, draw};
pub use report::Report;
use stall::StalledUpload;

const RUN_ID: &str = "chaos";

/// An upload that the coordinator did not end within this time was admitted.
const HELD: Duration = Duration::from_millis(300);

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Kills of single processes, a third of them the coordinator's; other faults come in proportion
    #[arg(long, default_value_t = 200)]
    pub kills: u64,
    /// Workers frozen until their leases were granted again [default: a quarter of the kills]
    #[arg(long)]
    pub zombies: Option<u64>,
    /// Uploads of which 256 MiB are announced and 1,000 bytes sent, kept open until the run ends [default: a 25th of
    /// the kills, one at least if there are any]
    #[arg(long)]
    pub stalls: Option<u64>,
    /// Draws the faults; the same seed gives the same plan
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Corpus for `coordinator submit` [default: a synthetic one]
    #[arg(long)]
    pub corpus: Option<PathBuf>,
    /// Records of the synthetic corpus
    #[arg(long, default_value_t = 13_656)]
    pub records: u64,
    /// Workers
    #[arg(long, default_value_t = 4)]
    pub workers: usize,
    /// Coordinators at one PostgreSQL server with a standby: more than one have faults of their own, and --kills and the like
    /// do not count
    #[arg(long, default_value_t = 1)]
    pub coordinators: usize,
    /// Of several coordinators: losses of the primary server
    #[arg(long, default_value_t = 2)]
    pub engine_losses: usize,
    /// Of several coordinators, the control that must fail: the primary does not wait for its standby
    #[arg(long)]
    pub asynchronous: bool,
    /// Records in a shard
    #[arg(long, default_value_t = 20)]
    pub shard_size: u32,
    /// Seconds of a lease
    #[arg(long, default_value_t = 1)]
    pub lease_seconds: u32,
    /// Milliseconds between two faults, on average
    #[arg(long, default_value_t = 300)]
    pub gap_ms: u64,
    /// Seconds after which a run that has not finished counts as hung
    #[arg(long, default_value_t = 900)]
    pub patience: u64,
    /// Folder of the binaries `coordinator`, `worker` and `analysis`
    #[arg(long, default_value = "target/release")]
    pub bin: PathBuf,
    /// Folder for states, results and logs; emptied at the beginning, deleted at the end if all went well
    #[arg(long, default_value = "target/chaos")]
    pub scratch: PathBuf,
    /// Have a model propose: a simulated provider, which counts what was paid for
    #[arg(long)]
    pub model: bool,
    /// How long the provider's answers take (see `worker mock-llm --help`)
    #[arg(long, default_value = "lognormal:0.2:0.4")]
    pub latency: String,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table.
    Text,
    /// A JSON object.
    Json,
}

/// Does a run undisturbed and a run disturbed, and compares.
pub fn run(args: &Args) -> Result<Report> {
    let binaries = Binaries::of(&args.bin)?;
    disk::release(&args.scratch.join("disturbed"));
    if args.scratch.exists() {
        std::fs::remove_dir_all(&args.scratch).context("the scratch folder cannot be emptied")?;
    }
    let corpus = corpus(args, &binaries)?;
    let mut report = Report { seed: args.seed, ..Report::default() };
    // The scratch folder holds the small disk, so this goes before the folder does.
    let disk = small_disk(args, &corpus, &mut report);
    let zombies = args.zombies.unwrap_or(args.kills / 4);
    let stalls = args.stalls.unwrap_or(args.kills.div_ceil(25));
    let budget = Budget { kills: args.kills, zombies, stalls, disk_full: disk.is_some() };
    report.skipped.push(
        "clock skew (leases live on the monotonic clock; nothing decides by the wall clock)".to_owned(),
    );

    let bucket = Bucket::new();
    let undisturbed = args.scratch.join("undisturbed");
    let begun = Instant::now();
    let mut fleet =
        Fleet::start(&binaries, &undisturbed, &args.scratch.join("logs-0"), args.workers, &bucket)?;
    let provider = start_provider(args, &binaries, "logs-0", &corpus)?;
    begin(args, &binaries, &mut fleet, &corpus, provider.as_ref())?;
    while !is_finished(&run_folder(&undisturbed)) {
        let ended = fleet.ended();
        if !ended.is_empty() || begun.elapsed().as_secs() > args.patience {
            bail!("the undisturbed run did not finish: {}", ended.join(", "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop((fleet, provider));
    report.undisturbed_s = begun.elapsed().as_secs_f64();
    report.expected = fingerprint(&binaries, &run_folder(&undisturbed))?;

    let disturbed = args.scratch.join("disturbed");
    let steps = draw(args.seed, budget);
    // The links carry so little that the run cannot end before the last fault.
    let seconds = (steps.len() as u64 * args.gap_ms).div_ceil(1000).max(1);
    let rate = (bucket.carried() / seconds).max(1);
    let logs = args.scratch.join("logs");
    let begun = Instant::now();
    let mut fleet = Fleet::start(&binaries, &disturbed, &logs, args.workers, &bucket)?;
    let provider = start_provider(args, &binaries, "logs", &corpus)?;
    begin(args, &binaries, &mut fleet, &corpus, provider.as_ref())?;
    bucket.limit(rate);
    let mut storm = Storm {
        fleet,
        disk: disk.as_ref(),
        provider: provider.as_ref(),
        later: BTreeSet::new(),
        stalled: Vec::new(),
        args,
        full: false,
    };
    storm.blow(&steps, &disturbed, &mut report)?;
    bucket.limit(0);
    storm.wait_for_the_end(begun, &disturbed, &mut report)?;
    report.disturbed_s = begun.elapsed().as_secs_f64();
    report.late_commits_refused = storm.fleet.count_in_log("refused a late commit");
    report.longest_stall_s = storm.longest_stall().as_secs_f64();
    if args.kills == 0 && stalls > 0 && report.longest_stall_s < HELD.as_secs_f64() {
        report.violations.push("the coordinator kept no stalled upload open: nothing was tested".to_owned());
    }
    // Where kills come between, a part on its way may be lost with its connection.
    if args.kills == 0 && (report.late_commits_refused as u64) < zombies {
        let what = format!("{} late commits refused of {zombies} zombies", report.late_commits_refused);
        report.violations.push(what);
    }
    if report.violations.is_empty() {
        judge(&binaries, &run_folder(&disturbed), &mut report)?;
        if let Some(provider) = &provider {
            settle(provider, &mut report)?;
        }
    }
    drop(storm);
    drop(disk);
    if report.is_fine() {
        std::fs::remove_dir_all(&args.scratch).context("the scratch folder cannot be deleted")?;
    }
    Ok(report)
}

fn start_provider(args: &Args, binaries: &Binaries, logs: &str, corpus: &Path) -> Result<Option<Provider>> {
    let start = || Provider::start(binaries, &args.scratch.join(logs), &args.latency, corpus);
    args.model.then(start).transpose()
}

/// Nothing is paid twice but what was under way when its process was killed.
fn settle(provider: &Provider, report: &mut Report) -> Result<()> {
    let paid = provider.paid()?;
    (report.calls_paid, report.questions) = (paid.calls, paid.questions);
    let most = paid.questions + report.in_flight_at_kills;
    if paid.calls > most {
        let what = format!("{} calls were paid for {} questions, {most} at most", paid.calls, paid.questions);
        report.violations.push(what);
    }
    Ok(())
}

fn corpus(args: &Args, binaries: &Binaries) -> Result<PathBuf> {
    if let Some(corpus) = &args.corpus {
        return Ok(corpus.clone());
    }
    let folder = args.scratch.join("corpus");
    let (place, records) = (folder.display().to_string(), args.records.to_string());
    binaries.output("coordinator", &["synth", "--records", &records, "--seed", "1337", "--out", &place])?;
    Ok(folder.join("detections.json.gz"))
}

/// The disturbed run's state lies on it: some 30 times the packed corpus hold corpus, parts and results.
fn small_disk(args: &Args, corpus: &Path, report: &mut Report) -> Option<SmallDisk> {
    let bytes = std::fs::metadata(corpus).map_or(0, |metadata| metadata.len());
    let mounted = if args.kills == 0 {
        Err(anyhow::anyhow!("no kills, no other faults"))
    } else {
        SmallDisk::mount(&args.scratch.join("disturbed"), 64 + 30 * (bytes >> 20))
    };
    match mounted {
        Ok(disk) => Some(disk),
        Err(error) => {
            report.skipped.push(format!("full disk ({error:#})"));
            None
        }
    }
}

/// Submits the run and lets the workers loose.
fn begin(
    args: &Args,
    binaries: &Binaries,
    fleet: &mut Fleet,
    corpus: &Path,
    provider: Option<&Provider>,
) -> Result<()> {
    let (url, path) = (fleet.url(), corpus.display().to_string());
    let (size, lease) = (args.shard_size.to_string(), format!("fleet.lease_seconds={}", args.lease_seconds));
    let arguments = ["submit", "--to", &url, "--corpus", &path, "--run-id", RUN_ID, "--shard-size", &size];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.extend(["--set".to_owned(), lease]);
    if let Some(provider) = provider {
        arguments.extend(model_settings());
        fleet.call(&provider.endpoint());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    binaries.output("coordinator", &arguments)?;
    (0..fleet.size()).try_for_each(|worker| fleet.start_worker(worker))
}

/// What makes a run ask the simulated provider.
fn model_settings() -> impl Iterator<Item = String> {
    ["proposer.mode=vllm", "guardrails=merge", "proposer.retries=50", "vllm.model=mock"]
        .into_iter()
        .flat_map(|setting| ["--set".to_owned(), setting.to_owned()])
}

fn run_folder(state: &Path) -> PathBuf {
    state.join("results").join(RUN_ID)
}

fn run_file(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("run.json")).ok()?).ok()
}

fn is_finished(folder: &Path) -> bool {
    run_file(folder).is_some_and(|run| run["state"] == "finished")
}

fn fingerprint(binaries: &Binaries, folder: &Path) -> Result<String> {
    let parts = folder.join("part-*.parquet").display().to_string();
    Ok(binaries.output("analysis", &["fingerprint", &parts])?.trim().to_owned())
}

/// Something that follows from an earlier fault. The order among those of one moment does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    StartCoordinator,
    ThawCoordinator,
    StartWorker(usize),
    Freeze(usize),
    Release(usize),
    Thaw(usize),
    Hasten(usize),
    MakeRoom,
}

/// The faults at work.
struct Storm<'a> {
    fleet: Fleet,
    disk: Option<&'a SmallDisk>,
    provider: Option<&'a Provider>,
    later: BTreeSet<(Instant, Later)>,
    stalled: Vec<StalledUpload>,
    args: &'a Args,
    full: bool,
}

impl Storm<'_> {
    /// Longer than the time to live of a lease and its re-lease to another worker.
    fn long(&self) -> Duration {
        Duration::from_millis(u64::from(self.args.lease_seconds) * 1000 * 8 / 5 + 300)
    }

    /// Ends the stalled uploads and gives how long the coordinator kept one open at most.
    fn longest_stall(&mut self) -> Duration {
        self.stalled.drain(..).map(StalledUpload::end).max().unwrap_or_default()
    }

    /// Lets everything of `steps` happen.
    fn blow(&mut self, steps: &[Step], state: &Path, report: &mut Report) -> Result<()> {
        for (number, step) in steps.iter().enumerate() {
            self.pass(Instant::now() + Duration::from_millis(self.args.gap_ms * step.gap / 1000), report)?;
            if is_finished(&run_folder(state)) {
                let left = steps.len() - number;
                report
                    .violations
                    .push(format!("the run finished with {left} faults left: nothing was tested"));
                break;
            }
            if let Some(provider) = self.provider
                && step.fault.loses_calls()
            {
                report.in_flight_at_kills += provider.paid()?.in_flight;
            }
            self.meet(*step)?;
            *report.faults.entry(step.fault.as_str()).or_default() += 1;
        }
        // What is still frozen, dead or full comes back.
        while !self.later.is_empty() && !is_finished(&run_folder(state)) && report.violations.is_empty() {
            self.pass(Instant::now() + Duration::from_millis(20), report)?;
        }
        Ok(())
    }

    /// Lets time pass, and what follows from earlier faults happen.
    fn pass(&mut self, until: Instant, report: &mut Report) -> Result<()> {
        loop {
            let now = Instant::now();
            while let Some((when, later)) = self.later.first().copied()
                && when <= now
            {
                self.later.pop_first();
                self.follow(later)?;
            }
            for ended in self.fleet.ended() {
                if self.full && ended.contains("coordinator") {
                    // It could not begin on a full disk, and said so.
                    self.at(Duration::from_millis(500), Later::StartCoordinator);
                } else {
                    report.violations.push(ended);
                }
            }
            if now >= until {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5).min(until - now));
        }
    }

    fn at(&mut self, after: Duration, later: Later) {
        self.later.insert((Instant::now() + after, later));
    }

    /// The fault's worker: the next one that is not a zombie.
    fn worker(&self, choice: u64) -> usize {
        let size = self.fleet.size().max(1);
        let first = usize::try_from(choice % size as u64).unwrap_or(0);
        let mut order = (0..size).map(|step| (first + step) % size);
        let trapped = |worker| self.fleet.link(worker).is_some_and(link::Link::is_trapped);
        order.find(|worker| !self.fleet.is_frozen(*worker) && !trapped(*worker)).unwrap_or(first)
    }

    fn meet(&mut self, step: Step) -> Result<()> {
        let worker = self.worker(step.choice);
        let brief = Duration::from_millis(step.choice / 7 % 400);
        match step.fault {
            Fault::KillWorker => {
                self.fleet.kill_worker(worker);
                self.at(brief, Later::StartWorker(worker));
            }
            Fault::KillCoordinator => {
                self.fleet.kill_coordinator();
                self.at(brief / 4, Later::StartCoordinator);
            }
            Fault::Zombie => {
                // First its link, and with a part on it: what it sent while it believed in its lease arrives when that is
                // over. Of itself it would send nothing after that.
                self.fleet.link(worker).into_iter().for_each(link::Link::trap);
                self.at(Duration::from_millis(5), Later::Freeze(worker));
            }
            Fault::Drop => self.fleet.link(worker).into_iter().for_each(link::Link::cut),
            Fault::HalfOpen => self.fleet.link(worker).into_iter().for_each(link::Link::leave_half_open),
            Fault::Slow => {
                self.fleet.link(worker).into_iter().for_each(|link| link.slow(true));
                self.at(self.long(), Later::Hasten(worker));
            }
            Fault::Pause => {
                self.fleet.freeze_coordinator(true)?;
                self.at(self.long() / 3, Later::ThawCoordinator);
            }
            Fault::Away => {
                self.fleet.kill_coordinator();
                self.later.retain(|(_, later)| *later != Later::StartCoordinator);
                self.at(self.long(), Later::StartCoordinator);
            }
            Fault::AllDead => {
                for worker in 0..self.fleet.size() {
                    self.fleet.kill_worker(worker);
                    self.at(self.long(), Later::StartWorker(worker));
                }
            }
            Fault::StalledUpload => {
                self.stalled.push(StalledUpload::begin(self.fleet.address(), &self.fleet.worker_token()?));
            }
            Fault::DiskFull => {
                if let Some(disk) = self.disk {
                    disk.fill()?;
                    self.full = true;
                    self.at(brief * 3, Later::MakeRoom);
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, later: Later) -> Result<()> {
        match later {
            Later::StartCoordinator => self.fleet.start_coordinator()?,
            Later::ThawCoordinator => self.fleet.freeze_coordinator(false)?,
            Later::StartWorker(worker) => self.fleet.start_worker(worker)?,
            Later::Freeze(worker) if self.fleet.link(worker).is_some_and(|link| !link.is_held()) => {
                self.at(Duration::from_millis(5), Later::Freeze(worker));
            }
            Later::Freeze(worker) => {
                self.fleet.freeze_worker(worker, true)?;
                self.at(self.long(), Later::Release(worker));
                self.at(self.long() + Duration::from_millis(100), Later::Thaw(worker));
            }
            Later::Release(worker) => self.fleet.link(worker).into_iter().for_each(|link| link.hold(false)),
            Later::Thaw(worker) => self.fleet.freeze_worker(worker, false)?,
            Later::Hasten(worker) => self.fleet.link(worker).into_iter().for_each(|link| link.slow(false)),
            Later::MakeRoom => {
                self.disk.into_iter().for_each(SmallDisk::clear);
                self.full = false;
            }
        }
        Ok(())
    }

    fn wait_for_the_end(&mut self, begun: Instant, state: &Path, report: &mut Report) -> Result<()> {
        while !is_finished(&run_folder(state)) {
            self.pass(Instant::now() + Duration::from_millis(50), report)?;
            if begun.elapsed().as_secs() > self.args.patience {
                let hung = format!("the run has not finished after {} s", self.args.patience);
                report.violations.push(hung);
                return Ok(());
            }
            if !report.violations.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Reads back what is there: every record once, the undisturbed fingerprint, nothing left over.
fn judge(binaries: &Binaries, folder: &Path, report: &mut Report) -> Result<()> {
    let run = run_file(folder).context("run.json is gone")?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    report.records = number(&run["records"]);
    report.rows = run["parts"].as_array().into_iter().flatten().map(|part| number(&part["rows"])).sum();
    let counted: u64 = run["counts"].as_object().into_iter().flatten().map(|(_, count)| number(count)).sum();
    report.fingerprint = fingerprint(binaries, folder)?;
    let mut wrong = |what: String| report.violations.push(what);
    if report.rows != report.records || counted != report.records {
        wrong(format!("{} rows, {counted} counted, of {} records", report.rows, report.records));
    }
    if report.fingerprint != report.expected {
        wrong("the fingerprint is not that of the undisturbed run".to_owned());
    }
    // `run.json` comes before the sweep.
    let until = Instant::now() + Duration::from_secs(30);
    let mut left = leftovers(folder);
    while !left.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        left = leftovers(folder);
    }
    if !left.is_empty() {
        wrong(format!("left over: {}", left.join(", ")));
    }
    Ok(())
}

/// What should not lie in the folder of a finished run.
fn leftovers(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let right = |name: &str| {
        ["run.json", "corpus.parquet", ".k8s-auto-fix-run"].contains(&name)
            || (name.starts_with("part-") && name.ends_with(".parquet"))
    };
    names.filter(|name| !right(name)).collect()
}
