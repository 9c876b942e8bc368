//! `analysis simulate`.

use anyhow::bail;
use cli_support::{Exit, output};

use super::schedule::rollout_times;
use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::load::cases;
use crate::schedule::simulate::{Pool, Setting, experiment, figures};

pub(crate) fn run(args: &cli::Simulate) -> anyhow::Result<Exit> {
    let results = load(&args.paths)?;
    let (times, replicas) = rollout_times(args.rollout.as_deref(), &results)?;
    let pool = Pool::of(&cases::read(&results)?, &times, &replicas);
    if pool.is_empty() {
        bail!("these results have no judged record whose rollout takes any time");
    }
    if args.load.iter().chain(&args.alpha).any(|x| !x.is_finite() || *x < 0.0) {
        bail!("loads and weights must be finite and not negative");
    }
    if pool.unmeasured > 0 {
        output::say(&format!(
            "{} judged records have no measured time to propose and verify: their rollout alone counts",
            pool.unmeasured
        ));
    }
    let setting = Setting {
        servers: args.servers.iter().map(|servers| (*servers).max(1)).collect(),
        loads: args.load.clone(),
        alphas: args.alpha.clone(),
        attempts: args.attempts,
        jobs: args.jobs.unwrap_or(pool.len()),
        repetitions: args.repetitions.max(1),
        starved: args.starved,
        seed: args.print.seed,
    };
    show(&figures(&experiment(&pool, &setting), &pool, &setting), &args.print)
}
