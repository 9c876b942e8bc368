//! `coordinator probe`: measures the rate limits and the latency of a provider.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use cli_support::failure::WithHint as _;
use cli_support::interrupt::Interrupts;
use cli_support::output::say;
use cli_support::progress::Progress;
use cli_support::{Exit, env, output};
use domain::answer::ServedModel;
use domain::config::ModelConfig;
use llm::client::{Client, Timeouts};
use llm::price::List;
use llm::settings::Settings;
use results::probe::{ProbeCall, write_calls};
use tokio::sync::watch;

use super::model_check::ModelCheck;
use crate::commands::{block_on, run_id::fresh};
use crate::settings::{ConfigArgs, checked};
use probe::call::Call;
use probe::drive::Pace;
use probe::findings::{Log, Verdict};
use probe::{Bounds, Drive, Findings, Plan, Questions, Report, Stop, find, in_steps};

/// Default limit on the calls of a search.
const SEARCH_CALLS: u64 = 4000;

/// Which provider is probed, how, and within which limits.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file: endpoint, model, key and price of the proposer's mode; see configs/grok.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, e.g. `--set grok.model=NAME`; may be repeated, beats file and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Search for the limits
    #[arg(long, conflicts_with = "steps")]
    find: bool,
    /// Calls in flight, step by step
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,4,8,16",
          value_parser = clap::value_parser!(u16).range(1..=4000))]
    steps: Vec<u16>,
    /// Most calls in total [default: five for each call in flight, at least 20 a step; 4000 with --find]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long calls are sent
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Most that the probe may cost, by the prices of the configuration
    #[arg(long, value_name = "USD", default_value_t = 1.0)]
    max_cost: f64,
    /// Longest answer that is requested, in tokens; 0 leaves it to the provider
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_tokens: u32,
    /// Send nothing: print what would be sent, and what it would cost at most
    #[arg(long)]
    dry_run: bool,
    /// Folder for probe.json, calls.parquet and limits.yaml [default: probes/<TIME>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table, the limits, and keys to paste
    #[default]
    Text,
    /// The content of probe.json
    Json,
}

/// Probes the provider and writes the findings.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let resolved = config_args(args).resolve()?;
    let settings = checked(&resolved)?;
    let Settings { run: config, providers, .. } = &settings;
    let (model, mode) = (model(config.model())?, config.proposer.mode);
    if args.max_cost.is_nan() || args.max_cost <= 0.0 {
        bail!("--max-cost must be a number above 0");
    }
    if !model.price.is_known() {
        let refused: anyhow::Result<Exit> =
            Err(anyhow::anyhow!("no price of {} is known, so that --max-cost cannot be kept", model.model));
        let mode = mode.as_str();
        return refused.hint(format!(
            "set {mode}.price.input and {mode}.price.output (US dollars per million tokens; 0 for a server of your own)"
        ));
    }
    let questions = Questions::new(&providers.destination(mode), model, &config.proposer, args.max_tokens);
    let steps: Vec<usize> =
        if args.find { Vec::new() } else { args.steps.iter().copied().map(usize::from).collect() };
    let requests =
        args.requests.unwrap_or_else(|| if args.find { SEARCH_CALLS } else { Plan::usual(&steps) });
    let plan = Plan { steps, bounds: Bounds { requests, duration: args.duration, cost: args.max_cost } };
    if args.dry_run {
        let outlook = plan.outlook(&questions);
        output::print(&match args.output {
            Output::Text => outlook.text(&plan, &questions),
            Output::Json => output::json(&outlook.json(&plan, &questions)),
        })?;
        return Ok(Exit::Fine);
    }
    let model = ModelCheck::ask(&settings, &List::of(&resolved.value)?)?;
    model.iter().flat_map(ModelCheck::lines).for_each(|line| say(&line));
    let provider = providers
        .open(mode, env::process)
        .hint("the key is read from the environment only; --dry-run and `worker mock-llm` need none")?;
    let client = Client::new(provider, Timeouts::from(&config.proposer))?;
    let out = folder(args)?;
    let price = questions.price;
    let report = Report::new(block_on(probe(client, questions, &plan, quiet))?, &price);
    let found = report.findings();
    if found.calls.is_empty() {
        return ended(found);
    }
    write(&report, &out)?;
    say(&answered_by(found));
    output::print(&match args.output {
        Output::Text => report.text(output::stdout_width()),
        Output::Json => output::json(&report.json()),
    })?;
    say(&format!("written to {}: probe.json, calls.parquet, limits.yaml", out.display()));
    say(&format!(
        "draw latency over calls in flight: analysis probe-report --svg latency.svg {}",
        out.join("probe.json").display()
    ));
    ended(found)
}

fn config_args(args: &Args) -> ConfigArgs {
    ConfigArgs { config: args.config.clone(), set: args.set.clone(), ..ConfigArgs::default() }
}

/// Which models answered, in one sentence.
fn answered_by(found: &Findings) -> String {
    let asked = &found.model;
    let answered = || found.calls.iter().filter(|call| call.is_answered() && !call.model.is_empty());
    let other = answered().find_map(|call| match ServedModel::of(asked, &call.model) {
        ServedModel::Other(name) => Some(name),
        ServedModel::Same(_) | ServedModel::NotDisclosed => None,
    });
    let named = answered().find_map(|call| ServedModel::of(asked, &call.model).name());
    match (other, named) {
        (Some(other), _) => {
            format!(
                "warning: {asked} was asked and {other} answered: what is measured and paid is that of {other}"
            )
        }
        (None, Some(named)) => format!("{asked} was asked, and {named} answered"),
        (None, None) => format!("{asked} was asked; the replies do not disclose which model answered"),
    }
}

/// The model of the configured proposer.
fn model(model: Option<&ModelConfig>) -> anyhow::Result<&ModelConfig> {
    model
        .context("the configuration has no model: proposer.mode is rules")
        .hint("name one, e.g. --config configs/grok.yaml or --set proposer.mode=vllm")
}

/// Folder for the files; refuses one that holds a probe already.
fn folder(args: &Args) -> anyhow::Result<PathBuf> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("probes").join(fresh()?.as_str().replace("run-", "probe-")),
    };
    if out.join("probe.json").exists() {
        bail!("{} holds a probe already: name another --out", out.display());
    }
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    Ok(out)
}

async fn probe(client: Client, questions: Questions, plan: &Plan, quiet: bool) -> anyhow::Result<Findings> {
    let mut interrupts = Interrupts::listen()?;
    let (stop, stopped) = watch::channel(0_u32);
    let listening = tokio::spawn(async move {
        loop {
            interrupts.next().await;
            if *stop.borrow() == 0 {
                say("waiting for the calls in flight; Ctrl-C again stops at once");
            }
            stop.send_modify(|times| *times += 1);
        }
    });
    let search = plan.steps.is_empty();
    let progress = if quiet {
        Progress::silent()
    } else {
        Progress::start("calls", (!search).then_some(plan.bounds.requests), 0)
    };
    let mut drive = Drive::new(client, questions, plan.bounds, stopped, progress);
    let mut notes = Vec::new();
    let ended = if search {
        find(&mut drive).await
    } else {
        in_steps(&mut drive, plan).await.map(|left_out| {
            if left_out {
                notes.push("the steps after it are left out: a fifth of its calls were refused".to_owned());
            }
        })
    };
    listening.abort();
    let abandoned = drive.discard_pending();
    if abandoned > 0 {
        notes.push(format!("{abandoned} calls in flight were not waited for"));
    }
    Ok(findings(drive, ended.err(), notes))
}

fn findings(drive: Drive<Client>, stop: Option<Stop>, notes: Vec<String>) -> Findings {
    let verdict = Verdict::of(&Log {
        calls: &drive.calls,
        steps: &drive.steps,
        breaks: &drive.breaks,
        opened: &drive.opened,
        until: f64::INFINITY,
    });
    let planned = drive.steps.iter().filter_map(|step| match step.pace {
        Pace::InFlight(number) if step.purpose == "step" => Some(number),
        _ => None,
    });
    Findings {
        endpoint: drive.questions().endpoint.clone(),
        model: drive.questions().model.clone(),
        verdict,
        stop,
        notes,
        seconds: drive.calls.iter().map(Call::done).fold(0.0, f64::max),
        cost: drive.cost,
        concurrency: planned.max().unwrap_or_else(|| drive.most_in_flight()),
        steps: drive.steps,
        calls: drive.calls,
    }
}

fn write(report: &Report, out: &Path) -> anyhow::Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    put("calls.parquet", &write_calls(&rows(report.findings()))?)?;
    put("limits.yaml", report.snippet().as_bytes())?;
    put("probe.json", output::json(&report.json()).as_bytes())
}

fn rows(found: &Findings) -> Vec<ProbeCall> {
    let row = |call: &Call| ProbeCall {
        id: call.id,
        step: u32::try_from(call.step).unwrap_or(u32::MAX),
        purpose: found.steps.get(call.step).map_or("", |step| step.purpose).to_owned(),
        sent_s: call.sent,
        duration_s: call.took,
        status_code: call.status,
        throttled: call.is_throttled(),
        retry_after_s: call.retry_after,
        prompt_tokens: call.usage.prompt,
        completion_tokens: call.usage.completion,
        reasoning_tokens: call.usage.reasoning,
        total_tokens: call.usage.total,
        error: call.error.clone(),
    };
    found.calls.iter().map(row).collect()
}

/// Exit code, or error, for the way in which the probe ended.
fn ended(found: &Findings) -> anyhow::Result<Exit> {
    match &found.stop {
        Some(Stop::Interrupted) => Ok(Exit::Interrupted),
        Some(Stop::Fatal(why)) => Err(anyhow::anyhow!("{} does not answer: {why}", found.endpoint))
            .hint("check the endpoint, the model and the key that the configuration names"),
        Some(stop) if found.calls.is_empty() => bail!("nothing was sent: {stop}"),
        _ => Ok(Exit::Fine),
    }
}
