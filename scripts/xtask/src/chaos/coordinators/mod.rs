//! Faults for several coordinators at one PostgreSQL server with a standby: owner, standbys, workers and the server are killed
//! and frozen during a run. What a worker was told of its commits must be in the ledger at the end.

mod engine;
mod peers;
mod plan;
mod told;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::fleet::Binaries;
use super::link::Bucket;
use super::model::Provider;
use super::{Args, RUN_ID, Report, corpus, is_finished, judge, model_settings, settle, start_provider};
use engine::Engine;
use peers::Peers;
use plan::{Fault, Step, draw};

/// Longest time without an owner: the lease of the ownership, and what is left for the take-over.
const FAILOVER: Duration = Duration::from_secs(13);

/// The same after an owner that was told to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Longer than the lease of the ownership.
const LONG: Duration = Duration::from_secs(14);

/// For so long a primary lives on beside the promoted one.
const BESIDE: Duration = Duration::from_secs(8);

/// After this time without an owner, or without a commit, a fleet is given up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Bytes a second until it is known how many a record takes.
const FIRST_RATE: u64 = 100_000;

/// Does a run undisturbed and a run disturbed, and compares.
pub fn run(args: &Args) -> Result<Report> {
    let binaries = Binaries::of(&args.bin)?;
    if args.scratch.exists() {
        std::fs::remove_dir_all(&args.scratch).context("the scratch folder cannot be emptied")?;
    }
    let corpus = corpus(args, &binaries)?;
    let mut report = Report { seed: args.seed, ..Report::default() };
    let begun = Instant::now();
    report.expected = undisturbed(args, &binaries, &corpus)?;
    report.undisturbed_s = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let bucket = Bucket::new();
    let engine = Engine::start(!args.asynchronous)?;
    let more: &[&str] = if args.asynchronous { &["--engine-may-forget"] } else { &[] };
    let size = (args.coordinators, args.workers);
    let mut peers = Peers::start(&binaries, &args.scratch, engine.url(), more, size, &bucket)?;
    let provider = start_provider(args, &binaries, "logs", &corpus)?;
    peers.wait_for_owner(PATIENCE)?;
    submit(args, &binaries, &mut peers, &corpus, provider.as_ref())?;
    let mut storm = Storm { args, engine, peers, provider: provider.as_ref(), bucket, report };
    storm.blow(&draw(args.seed, args.engine_losses))?;
    storm.settle(begun, &binaries)?;
    let report = storm.end();
    if let Some(provider) = provider {
        drop(provider);
    }
    if report.is_fine() {
        std::fs::remove_dir_all(&args.scratch).context("the scratch folder cannot be deleted")?;
    }
    Ok(report)
}

/// The fingerprint of the same corpus in one process.
fn undisturbed(args: &Args, binaries: &Binaries, corpus: &Path) -> Result<String> {
    let provider = start_provider(args, binaries, "logs-0", corpus)?;
    let (out, corpus) =
        (args.scratch.join("undisturbed").display().to_string(), corpus.display().to_string());
    let mut arguments: Vec<String> =
        ["run", "--corpus", &corpus, "--out", &out, "--run-id", RUN_ID].map(str::to_owned).to_vec();
    if let Some(provider) = &provider {
        arguments.extend(model_settings());
        arguments.extend(["--set".to_owned(), format!("vllm.endpoint={}", provider.endpoint())]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    binaries.output("coordinator", &arguments)?;
    let parts = format!("{out}/{RUN_ID}/part-*.parquet");
    Ok(binaries.output("analysis", &["fingerprint", &parts])?.trim().to_owned())
}

/// Submits the run and lets the workers loose.
fn submit(
    args: &Args,
    binaries: &Binaries,
    peers: &mut Peers,
    corpus: &Path,
    provider: Option<&Provider>,
) -> Result<()> {
    let (url, path, size) = (peers.url(), corpus.display().to_string(), args.shard_size.to_string());
    let lease = format!("fleet.lease_seconds={}", args.lease_seconds);
    let arguments = ["submit", "--to", &url, "--corpus", &path, "--run-id", RUN_ID, "--shard-size", &size];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.extend(["--set".to_owned(), lease]);
    if let Some(provider) = provider {
        arguments.extend(model_settings());
        // So few calls that the run cannot end before the last fault.
        let minutes = duration_s(&draw(args.seed, args.engine_losses)).div_ceil(60);
        let limit = format!("limits.requests_per_minute={}", args.records.div_ceil(minutes.max(1)));
        arguments.extend(["--set".to_owned(), limit]);
        peers.call(&provider.endpoint());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    binaries.output("coordinator", &arguments)?;
    (0..peers.size().1).try_for_each(|worker| peers.start_worker(worker))
}

/// The faults at work.
struct Storm<'a> {
    args: &'a Args,
    engine: Engine,
    peers: Peers,
    provider: Option<&'a Provider>,
    bucket: Arc<Bucket>,
    report: Report,
}

impl Storm<'_> {
    fn end(self) -> Report {
        self.report
    }

    fn is_finished(&self) -> bool {
        is_finished(&self.peers.results().join(RUN_ID))
    }

    /// Lets everything of `steps` happen.
    fn blow(&mut self, steps: &[Step]) -> Result<()> {
        if self.provider.is_none() {
            self.bucket.limit(FIRST_RATE);
        }
        self.wait_for_commits(5)?;
        for (number, step) in steps.iter().enumerate() {
            if self.provider.is_none() {
                self.pace(steps.get(number..).unwrap_or_default())?;
            }
            std::thread::sleep(Duration::from_millis(step.pause_ms));
            if self.is_finished() {
                let left = steps.len() - number;
                self.wrong(format!("the run finished with {left} faults left: nothing was tested"));
                return Ok(());
            }
            if let Some(provider) = self.provider
                && step.fault.loses_calls()
            {
                self.report.in_flight_at_kills += provider.paid()?.in_flight;
            }
            self.meet(*step)?;
            *self.report.faults.entry(step.fault.as_str()).or_default() += 1;
            let ended = self.peers.ended();
            self.report.violations.extend(ended);
            self.wait_for_commits(1)?;
            if !self.report.violations.is_empty() {
                return Ok(());
            }
        }
        self.bucket.limit(0);
        Ok(())
    }

    /// Lets the links carry so little that the run cannot end before the last of the faults that are left. What a record takes is
    /// overestimated: connections and renewals are in it.
    fn pace(&self, left: &[Step]) -> Result<()> {
        let seconds = 2 * duration_s(left);
        let committed = u64::try_from(self.committed()?).unwrap_or(1) * u64::from(self.args.shard_size);
        let a_record = self.bucket.carried() / committed.max(1);
        let bytes = self.args.records.saturating_sub(committed) * a_record;
        self.bucket.limit((bytes / seconds.max(1)).max(1));
        Ok(())
    }

    fn meet(&mut self, step: Step) -> Result<()> {
        let (coordinators, workers) = self.peers.size();
        let worker = usize::try_from(step.choice % workers.max(1) as u64).unwrap_or(0);
        let (owner, _) = self.peers.wait_for_owner(PATIENCE)?;
        let standby = (owner + 1 + usize::try_from(step.choice % 2).unwrap_or(0)) % coordinators.max(1);
        match step.fault {
            Fault::KillOwner => {
                self.peers.kill_coordinator(owner);
                self.fail_over(FAILOVER)?;
                self.peers.start_coordinator(owner)?;
            }
            Fault::FreezeOwner => {
                let begun = Instant::now();
                self.peers.freeze_coordinator(owner, true)?;
                self.fail_over(FAILOVER)?;
                std::thread::sleep(LONG.saturating_sub(begun.elapsed()));
                self.peers.freeze_coordinator(owner, false)?;
            }
            Fault::DrainOwner => {
                self.peers.drain_coordinator(owner)?;
                self.fail_over(DRAIN)?;
                self.peers.wait_for_end(owner)?;
                self.peers.start_coordinator(owner)?;
            }
            Fault::KillStandby => {
                self.peers.kill_coordinator(standby);
                self.peers.start_coordinator(standby)?;
            }
            Fault::FreezeStandby => {
                self.peers.freeze_coordinator(standby, true)?;
                std::thread::sleep(LONG / 2);
                self.peers.freeze_coordinator(standby, false)?;
            }
            Fault::KillWorker => {
                self.peers.kill_worker(worker);
                self.peers.start_worker(worker)?;
            }
            Fault::FreezeWorker => {
                self.peers.freeze_worker(worker, true)?;
                std::thread::sleep(Duration::from_millis(u64::from(self.args.lease_seconds) * 1600 + 300));
                self.peers.freeze_worker(worker, false)?;
            }
            Fault::LosePrimary | Fault::PrimaryBeside => {
                let beside = if step.fault == Fault::PrimaryBeside { BESIDE } else { Duration::ZERO };
                self.engine.fail_over(beside)?;
                self.engine.repair()?;
            }
        }
        Ok(())
    }

    /// Waits for the next owner, which must come within `limit`.
    fn fail_over(&mut self, limit: Duration) -> Result<()> {
        let (_, took) = self.peers.wait_for_owner(PATIENCE)?;
        let longest = if limit == DRAIN {
            &mut self.report.longest_drain_s
        } else {
            &mut self.report.longest_failover_s
        };
        *longest = longest.max(took.as_secs_f64());
        if took > limit {
            self.wrong(format!("no owner for {:.1} s, {} s at most", took.as_secs_f64(), limit.as_secs()));
        }
        Ok(())
    }

    /// How many shards are committed.
    fn committed(&self) -> Result<usize> {
        Ok(told::recorded(&self.engine, RUN_ID)?.len())
    }

    /// Waits for so many more commits, or the end of the run.
    fn wait_for_commits(&mut self, more: usize) -> Result<()> {
        let (before, begun) = (self.committed()?, Instant::now());
        while !self.is_finished() && self.committed()? < before + more {
            if begun.elapsed() > PATIENCE {
                self.wrong(format!("no commit for {} s", PATIENCE.as_secs()));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        self.report.violations.push(what);
    }

    /// Waits for the end of the run and judges it.
    fn settle(&mut self, begun: Instant, binaries: &Binaries) -> Result<()> {
        while !self.is_finished() {
            if !self.report.violations.is_empty() {
                return Ok(());
            }
            if begun.elapsed().as_secs() > self.args.patience {
                self.wrong(format!("the run has not finished after {} s", self.args.patience));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.report.disturbed_s = begun.elapsed().as_secs_f64();
        let told = told::told(&self.peers.worker_logs(), RUN_ID)?;
        let recorded = told::recorded(&self.engine, RUN_ID)?;
        if told.is_empty() {
            bail!("the workers have logged no commit: nothing was tested");
        }
        (self.report.commits_told, self.report.told_commits_lost) =
            (told.len(), told.difference(&recorded).count());
        if self.report.told_commits_lost > 0 {
            self.wrong(format!(
                "{} of {} commits that a worker was told of are not in the ledger",
                self.report.told_commits_lost,
                told.len()
            ));
        }
        judge(binaries, &self.peers.results().join(RUN_ID), &mut self.report)?;
        self.provider.map_or(Ok(()), |provider| settle(provider, &mut self.report))
    }
}

/// At least as long as these faults take, in seconds.
fn duration_s(steps: &[Step]) -> u64 {
    steps.iter().map(|step| step.pause_ms / 1000 + 2 * expected_s(step.fault)).sum()
}

/// About how long a fault takes, in seconds.
const fn expected_s(fault: Fault) -> u64 {
    match fault {
        Fault::KillOwner => 13,
        Fault::FreezeOwner | Fault::PrimaryBeside => 17,
        Fault::FreezeStandby | Fault::LosePrimary => 8,
        Fault::DrainOwner => 4,
        Fault::KillStandby | Fault::KillWorker => 2,
        Fault::FreezeWorker => 3,
    }
}
