//! `analysis simulate`.

use anyhow::bail;
use cli_support::{Exit, output};

use crate::cli;
use crate::commands::input::cases;
use crate::commands::print::show;
use crate::schedule::simulate::{Pool, Setting, experiment, figures};

pub(crate) fn run(args: &cli::Simulate) -> anyhow::Result<Exit> {
    let pool = Pool::of(&cases(&args.paths)?);
    if pool.is_empty() {
        bail!("these results have no judged record with a measured time to propose and verify");
    }
    if args.load.iter().chain(&args.alpha).any(|x| !x.is_finite() || *x < 0.0) {
        bail!("loads and weights must be finite and not negative");
    }
    if pool.unmeasured > 0 {
        output::say(&format!("{} judged records without a measured time are left out", pool.unmeasured));
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
