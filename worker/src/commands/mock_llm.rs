//! `worker mock-llm`: a provider to try things on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use console::interrupt::Interrupts;
use console::{Exit, output};
use llm::mock::{Allowed, Answers, Faults, Latency, Provider, Report, Settings, serve};
use tokio::net::TcpListener;

/// Simulates a provider: an OpenAI-compatible server with limits, latency and faults of your choice.
///
/// Serves POST /v1/chat/completions, GET /v1/models, GET /stats (JSON) and POST /limits (changes the limits while it
/// runs: `{"rpm": 480, "tpm": 100000, "max_in_flight": 8, "burst": 30, "window_seconds": 60}`; what is left out is
/// unlimited). A call beyond a limit gets a real 429 with Retry-After and x-ratelimit-* headers. What a question gets
/// (answer, latency, fault) depends on the seed, the question and how often it came, not on the order of calls.
///
/// Ctrl-C ends it and prints what it saw. Needs no key and no network; `configs/mock.yaml` points a run at it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Calls a minute
    #[arg(long, value_name = "N")]
    rpm: Option<f64>,
    /// Tokens a minute, prompts and answers together
    #[arg(long, value_name = "N")]
    tpm: Option<f64>,
    /// Calls in flight
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u64>,
    /// Calls that pass at once [default: a second's worth]
    #[arg(long, value_name = "N")]
    burst: Option<f64>,
    /// Count in fixed windows of so many seconds, not in a token bucket
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// How long answers take: seconds, lognormal:MEDIAN:SPREAD, tokens:FIRST:EACH, or a file: a recorded probe (JSON)
    /// or a latency summary (CSV)
    #[arg(long, value_name = "FILE|SPEC", default_value = "lognormal:2.7:0.45")]
    latency: String,
    /// What goes wrong and how often, e.g. 429=0.1,500=0.05,timeout=0.03; also reset, garbage, truncated, empty,
    /// refusal, prose, wrong, slow
    #[arg(long, value_name = "SPEC", default_value = "")]
    faults: Faults,
    /// How much faster than the clock everything goes, limits included; all ratios are kept
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Seed of latency and faults
    #[arg(long, value_name = "S", default_value_t = 1337)]
    seed: u64,
}

/// Serves until it is interrupted.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = settings(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(provide(args, settings));
    runtime.shutdown_background();
    ended
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        bail!("--speed must be a number above 0");
    }
    let allowed = Allowed {
        rpm: args.rpm,
        tpm: args.tpm,
        max_in_flight: args.max_in_flight,
        burst: args.burst,
        window_seconds: args.window,
    };
    if !allowed.is_legal() {
        bail!("limits must be numbers above 0");
    }
    let answers: Answers = Arc::new(|_| None);
    Ok(Settings {
        allowed,
        latency: latency(&args.latency)?,
        faults: args.faults.clone(),
        answers,
        speed: args.speed,
        seed: args.seed,
    })
}

fn latency(text: &str) -> anyhow::Result<Latency> {
    let path = PathBuf::from(text);
    if !path.is_file() {
        return Ok(text.parse()?);
    }
    Latency::recorded(&read(&path)?).with_context(|| format!("cannot take latencies from {text}"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn provide(args: &Args, settings: Settings) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    output::say(&format!(
        "mock provider on http://{address}/v1/chat/completions (latency: {}; faults: {}; speed {}); Ctrl-C ends it",
        settings.latency, settings.faults, settings.speed
    ));
    let provider = Provider::new(settings);
    serve(listener, provider.clone(), async move { interrupts.next().await }).await?;
    output::say(&talk(&provider.report()));
    Ok(Exit::Fine)
}

/// What it saw, in a sentence.
fn talk(report: &Report) -> String {
    let seconds = report.last_at.zip(report.first_at).map_or(0.0, |(last, first)| last - first);
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let used = report
        .utilisation
        .map_or("no limit".to_owned(), |share| format!("{:.1} % of the limit", 100.0 * share));
    format!(
        "{} calls accepted in {seconds:.1} s ({used}), {} refused (429), {} questions, {} tokens, at most {} in flight, \
         faults: {}",
        report.accepted,
        report.refused_429,
        report.distinct_prompts,
        report.tokens,
        report.max_in_flight,
        if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }
    )
}
