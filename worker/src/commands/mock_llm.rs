//! `worker mock-llm`: a simulated LLM provider for tests and trials.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use cli_support::failure::WithHint as _;
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, env, output};
use domain::config::RunConfig;
use domain::secret::Secret;
use mock_llm::manner::{Bill, Listed, Manner, Refusals, Served};
use mock_llm::{
    Allowed, Answers, BatchFaults, BatchSettings, Cached, EMPTY_PATCH, Faults, HeaderStyle, Latency,
    LimitStyle, Provider, Report, Settings, WaitStyle, serve,
};
use tokio::net::TcpListener;

use super::settings;
use crate::replay::{by_rules, recorded};
use corpus::Source;

/// Arguments of `worker mock-llm`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Listen on an address that other machines can reach, in plain text
    #[arg(long)]
    insecure: bool,
    /// Calls a minute
    #[arg(long, value_name = "N")]
    rpm: Option<f64>,
    /// Calls a second, counted anew each second
    #[arg(long, value_name = "N")]
    rps: Option<f64>,
    /// Tokens a minute, prompts and answers together
    #[arg(long, value_name = "N")]
    tpm: Option<f64>,
    /// Calls in flight
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u64>,
    /// Burst size: calls that are let through at once [default: a second's worth]
    #[arg(long, value_name = "N")]
    burst: Option<f64>,
    /// Count in fixed windows of so many seconds, not in a token bucket
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// Send no x-ratelimit-* headers; the limits apply all the same
    #[arg(long, conflicts_with = "headers")]
    silent: bool,
    /// How headers state the limits: openai, absent, zero, minus-one, float, project (beside those of an organisation),
    /// anthropic
    #[arg(long, value_name = "STYLE", default_value = "openai")]
    headers: LimitStyle,
    /// How a refusal states its wait: seconds, float, ms, date, absent
    #[arg(long, value_name = "STYLE", default_value = "seconds")]
    waits: WaitStyle,
    /// Share of each prompt that is in the provider's cache
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    cached: f64,
    /// Tokens in the cache use none of the limit of tokens
    #[arg(long)]
    cached_free: bool,
    /// How long answers take: seconds, lognormal:MEDIAN:SPREAD, tokens:FIRST:EACH, queue:N:SPEC (N calls at once, the
    /// others wait their turn), or a file: a recorded probe (JSON) or a latency summary (CSV)
    #[arg(long, value_name = "FILE|SPEC", default_value = "lognormal:2.7:0.45")]
    latency: String,
    /// Faults and their shares, e.g. 429=0.1,500=0.05,timeout=0.03; also 401, 402, 403, 503, length, reset, garbage,
    /// truncated, empty, refusal, prose, wrong, slow. NAME@FROM-TO: every call between these seconds, e.g. 503@5-15
    #[arg(long, value_name = "SPEC", default_value = "")]
    faults: Faults,
    /// Name the model in replies: echo (the requested name again), nothing, or a name in which {model} stands for the
    /// requested one, e.g. openai/{model} or {model}-2026-05-14
    #[arg(long, value_name = "NAME", default_value = "echo")]
    served: Served,
    /// Refuse requests that have one of these: `temperature`, `max_tokens`, `max_completion_tokens`, `seed`,
    /// `reasoning_effort`, `service_tier`, `strict` (a schema that is kept strictly), `json_schema`, `json_object`
    #[arg(long, value_name = "NAME,…", default_value = "")]
    refuse: Refusals,
    /// Bill in replies: ticks:IN:OUT (`usage.cost_in_usd_ticks`) or usd:IN:OUT (`usage.cost`), with the ticks (10^-10 USD) for a
    /// token of prompt and answer
    #[arg(long, value_name = "SPEC")]
    bill: Option<Bill>,
    /// Name a service tier in replies
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// Count no tokens in replies
    #[arg(long)]
    no_usage: bool,
    /// The only models that there are, each with the day after which it is not served, e.g. a,b=2027-01-14
    #[arg(long, value_name = "NAME[=DAY],…", value_delimiter = ',')]
    models: Vec<Listed>,
    /// How long a batch takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    batch_seconds: f64,
    /// Faults of batches and their shares, e.g. expire=0.3,lose-create=0.5; also fail, lose-upload, late-output, poll-500,
    /// break, duplicate, missing, line-500, line-403, shuffle
    #[arg(long, value_name = "SPEC", default_value = "")]
    batch_faults: BatchFaults,
    /// Answer with the patches of the rules; takes the same corpus as `coordinator run --corpus`
    #[arg(long, value_name = "PATH", conflicts_with = "replay")]
    corpus: Option<PathBuf>,
    /// Answer with recorded patches (patches.json[.gz])
    #[arg(long, value_name = "PATCHES")]
    replay: Option<PathBuf>,
    /// The detections that the patches were made for [default: detections.json.gz or detections.json beside them]
    #[arg(long, value_name = "FILE", requires = "replay")]
    replay_detections: Option<PathBuf>,
    /// Answer 401 to calls without the key in this environment variable
    #[arg(long, value_name = "VARIABLE")]
    require_key: Option<String>,
    /// Time scale: run so many times faster than real time, limits included
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Seed of latency and faults
    #[arg(long, value_name = "S", default_value_t = 1337)]
    seed: u64,
    // Those of the runs that will call it: they determine the prompts that --corpus and --replay answer.
    #[command(flatten)]
    settings: settings::Settings,
}

/// The responses, and their description for the start message.
struct Responses {
    answers: Answers,
    what: String,
}

/// Serves until Ctrl-C.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (settings, what) = settings(args)?;
    let key = args.require_key.as_deref().map(key).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(provide(args, settings, &what, key));
    runtime.shutdown_background();
    ended
}

/// The provider's settings, and the description of its responses.
fn settings(args: &Args) -> anyhow::Result<(Settings, String)> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        bail!("--speed must be a number above 0");
    }
    if !(args.batch_seconds.is_finite() && args.batch_seconds >= 0.0) {
        bail!("--batch-seconds must be a number from 0");
    }
    let allowed = Allowed {
        rpm: args.rpm,
        rps: args.rps,
        tpm: args.tpm,
        max_in_flight: args.max_in_flight,
        burst: args.burst,
        window_seconds: args.window,
    };
    if !(0.0..=1.0).contains(&args.cached) {
        bail!("--cached must be a share from 0 to 1");
    }
    if !allowed.is_legal() {
        bail!("limits must be numbers above 0");
    }
    let Responses { answers, what } = responses(args)?;
    let settings = Settings {
        allowed,
        style: HeaderStyle {
            limits: if args.silent { LimitStyle::Absent } else { args.headers },
            waits: args.waits,
        },
        cached: Cached { share: args.cached, free: args.cached_free },
        batches: BatchSettings { delay: args.batch_seconds, faults: args.batch_faults.clone() },
        latency: latency(&args.latency)?,
        faults: args.faults.clone(),
        answers,
        manner: Manner {
            served: args.served.clone(),
            refuses: args.refuse.clone(),
            bill: args.bill,
            tier: args.tier.clone(),
            uncounted: args.no_usage,
            models: args.models.clone(),
        },
        speed: args.speed,
        seed: args.seed,
    };
    Ok((settings, what))
}

fn responses(args: &Args) -> anyhow::Result<Responses> {
    match (&args.corpus, &args.replay) {
        (Some(corpus), _) => by_rules_of(corpus, &args.settings.load()?),
        (None, Some(patches)) => replay(patches, args.replay_detections.as_deref(), &args.settings.load()?),
        (None, None) => Ok(Responses {
            answers: Arc::new(|_| Some(EMPTY_PATCH.to_owned())),
            what: "an empty patch; --corpus answers with the patches of the rules".to_owned(),
        }),
    }
}

fn by_rules_of(corpus: &Path, config: &RunConfig) -> anyhow::Result<Responses> {
    let source = Source { corpus: corpus.to_path_buf(), manifests: None };
    let known = by_rules(&source, config)?;
    if known.answers.is_empty() {
        let corpus = corpus.display();
        return Err(anyhow!("no record of {corpus} has a prompt"))
            .hint("give --corpus the same corpus as to the runs that will call the provider");
    }
    let (prompts, records) = (known.answers.len(), known.records);
    let what = format!("the rules' patches for {prompts} prompts of {records} records");
    Ok(Responses { answers: known.answers.into_answers(), what })
}

fn replay(patches: &Path, detections: Option<&Path>, config: &RunConfig) -> anyhow::Result<Responses> {
    let beside = || {
        let beside = ["detections.json.gz", "detections.json"].map(|name| patches.with_file_name(name));
        beside.iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| beside[0].clone())
    };
    let detections = detections.map_or_else(beside, Path::to_path_buf);
    let recorded = recorded(patches, detections, config)
        .hint("--replay takes published patches, --replay-detections the detections with their documents")?;
    let (known, shadowed, lost) = (recorded.patches, recorded.shadowed, recorded.without_prompt);
    let what = format!(
        "{known} recorded patches, {shadowed} of them with the prompt of an earlier one, {lost} more without a document"
    );
    Ok(Responses { answers: recorded.answers.into_answers(), what })
}

fn key(variable: &str) -> anyhow::Result<Secret<String>> {
    let key = env::process(variable).map(|key| Secret::new(key.trim().to_owned()));
    let Some(key) = key.filter(|key| !key.expose().is_empty()) else {
        bail!("environment variable {variable} is not set: it must hold the key that callers send")
    };
    Ok(key)
}

fn latency(text: &str) -> anyhow::Result<Latency> {
    let path = PathBuf::from(text);
    if !path.is_file() {
        return Ok(text.parse()?);
    }
    Latency::recorded(&read(&path)?).with_context(|| format!("cannot read latencies from {text}"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn provide(
    args: &Args,
    settings: Settings,
    what: &str,
    key: Option<Secret<String>>,
) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    if !args.listen.ip().is_loopback() {
        if !args.insecure {
            return Err(anyhow!(
                "{} can be reached from other machines, and HTTP is plain text",
                args.listen
            ))
            .hint("listen on 127.0.0.1, or say --insecure on a network you trust");
        }
        output::say(&format!("warning: {} takes plain text from other machines (--insecure)", args.listen));
    }
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    output::say(&format!(
        "mock provider on http://{address}/v1/chat/completions (answers: {what}; latency: {}; faults: {}; speed {}); \
         Ctrl-C ends it",
        settings.latency, settings.faults, settings.speed
    ));
    let provider = Provider::guarded(settings, key.as_ref()).context("no room for the files of batches")?;
    serve(listener, provider.clone(), async move { interrupts.next().await }).await;
    output::say(&summary(&provider.report()));
    Ok(Exit::Fine)
}

/// The statistics in one sentence.
fn summary(report: &Report) -> String {
    let seconds = report.last_at.zip(report.first_at).map_or(0.0, |(last, first)| last - first);
    let faults: Vec<String> = report.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let used = report
        .utilisation
        .map_or("no limit".to_owned(), |share| format!("{:.1} % of the limit", 100.0 * share));
    let also = |count: u64, what: &str| if count > 0 { format!("{count} {what}, ") } else { String::new() };
    format!(
        "{} calls accepted in {seconds:.1} s ({used}), {} refused (429), {} distinct prompts, {} tokens, at most {} in flight, \
         {}{}{}faults: {}",
        report.accepted,
        report.refused_429,
        report.distinct_prompts,
        report.tokens,
        report.max_in_flight,
        also(report.unknown, "with an unknown prompt"),
        also(report.refused_401, "refused for a wrong key (401)"),
        also(report.refused_400, "refused for what they ask (400, 404)"),
        if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }
    )
}
