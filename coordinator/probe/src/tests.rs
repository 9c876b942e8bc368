//! Tests of the probe in paused time, with simulated providers whose limits are known.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cli_support::progress::Progress;
use domain::answer::{Answer, Finish, Question};
use domain::budget::{Charge, Usage};
use llm::client::Reply;
use llm::error::{Failure, Refusal};
use llm::headers::{Left, RateHeaders};
use mock_llm::latency::Queue;
use mock_llm::limits::Meters;
use mock_llm::{Allowed, Latency};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::findings::{InFlight, Known, Log, Unmeasured, Verdict};
use super::plan::testing::{questions, wide};
use super::{Ask, Bounds, Drive, Findings, Plan, Report, Stop, find, in_steps};

/// A simulated provider.
struct SimProvider {
    began: Instant,
    latency: Latency,
    state: Mutex<State>,
    /// Whether `Retry-After` is rounded to whole seconds.
    coarse: bool,
    fails: Option<Failure>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(count: f64) -> u64 {
    count as u64
}

struct State {
    meters: Meters,
    queue: Queue,
    dice: fastrand::Rng,
    in_flight: u64,
}

impl SimProvider {
    fn new(allowed: Allowed, latency: &str) -> Self {
        let state = State {
            meters: Meters::new(allowed, 0.0),
            queue: Queue::default(),
            dice: fastrand::Rng::with_seed(7),
            in_flight: 0,
        };
        let latency = latency.parse().unwrap();
        Self { began: Instant::now(), latency, state: Mutex::new(state), coarse: true, fails: None }
    }
}

impl Ask for SimProvider {
    async fn ask(&self, question: Question) -> Reply {
        let sent = Instant::now();
        sleep(Duration::from_millis(20)).await;
        let tokens = question.bytes() as f64 / 4.0 + 10.0;
        let (result, headers, wait) = {
            let now = self.began.elapsed().as_secs_f64();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let state = &mut *state;
            let left = |limit: Option<f64>| Left { limit: limit.map(whole), ..Left::default() };
            let allowed = *state.meters.allowed();
            let mut headers =
                RateHeaders { retry_after: None, requests: left(allowed.rpm), tokens: left(allowed.tpm) };
            if let Err(refused) = state.meters.pass(now, tokens, state.in_flight) {
                let wait = if self.coarse { refused.wait.ceil() } else { refused.wait };
                headers.retry_after = Some(Duration::from_secs_f64(wait));
                let what = if refused.tokens { "tokens" } else { "requests" };
                let message = format!("Rate limit reached on {what} per min");
                (Err(Failure::refused(429, "", &message)), headers, 0.0)
            } else {
                let work = self.latency.at(state.dice.f64(), 10.0);
                let waits = self.latency.servers().map(|servers| state.queue.wait(now, work, servers));
                state.in_flight += 1;
                let (prompt, total) = (whole(tokens) - 10, whole(tokens));
                let usage = Usage { prompt, completion: 10, total, ..Usage::default() };
                let content = "OK".to_owned();
                let answer = Answer {
                    content,
                    finish: Finish::Stop,
                    usage,
                    charge: Charge::default(),
                    model: String::new(),
                };
                (self.fails.clone().map_or(Ok(answer), Err), headers, work + waits.unwrap_or(0.0))
            }
        };
        let refused = matches!(&result, Err(Failure::Refused(Refusal { status: Some(429), .. })));
        if !refused {
            sleep(Duration::from_secs_f64(wait)).await;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).in_flight -= 1;
        }
        sleep(Duration::from_millis(20)).await;
        let usage = result.as_ref().map(|answer| answer.usage).unwrap_or_default();
        let model = result.as_ref().map(|answer| answer.model.clone()).unwrap_or_default();
        Reply { result, usage, charge: Charge::default(), model, headers, took: sent.elapsed() }
    }
}

struct Seen {
    drive: Drive<SimProvider>,
    ended: Result<(), Stop>,
    verdict: Verdict,
}

fn verdict(drive: &Drive<SimProvider>) -> Verdict {
    Verdict::of(&Log {
        calls: &drive.calls,
        steps: &drive.steps,
        breaks: &drive.breaks,
        opened: &drive.opened,
        until: f64::INFINITY,
    })
}

async fn searched(world: SimProvider, bounds: Bounds) -> Seen {
    let (_stop, stopped) = watch::channel(0);
    let mut drive = Drive::new(world, questions(), bounds, stopped, Progress::silent());
    let ended = find(&mut drive).await;
    drive.discard_pending();
    let verdict = verdict(&drive);
    println!(
        "{:?}, {:?}; {} calls ({} refused) in {:.0} s: {verdict:?}",
        drive.questions().model,
        ended,
        drive.calls.len(),
        drive.calls.iter().filter(|call| call.is_throttled()).count(),
        drive.now()
    );
    if std::env::var_os("SHOW").is_some() {
        for (number, step) in drive.steps.iter().enumerate() {
            let (mine, refused) = drive
                .calls
                .iter()
                .filter(|call| call.step == number)
                .fold((0, 0), |(a, b), call| (a + 1, b + u32::from(call.is_throttled())));
            println!(
                "   {} {:?} {:.1}..{:.1} {mine} {refused}",
                step.purpose, step.pace, step.began, step.ended
            );
        }
        let first = drive.calls.iter().find(|call| call.is_throttled()).map_or(0.0, |call| call.sent);
        println!("   all {:?}", super::concurrency_limit::concurrency_limit(&drive.calls, first));
        for step in drive.steps.iter().filter(|step| step.purpose == "from standstill") {
            println!(
                "   standstill {:?}",
                super::concurrency_limit::concurrency_limit(&drive.calls, step.began)
            );
        }
        println!("opened {:?}", drive.opened);
    }
    Seen { drive, ended, verdict }
}

fn near(known: Known, limit: f64) {
    let Known::Found(found) = known else { panic!("{known:?} of {limit}") };
    assert!((found.per_minute / limit - 1.0).abs() < 0.05, "{found:?} of {limit}");
    assert!(found.low <= limit * 1.01 && found.high >= limit * 0.99, "{found:?} of {limit}");
}

fn rpm(rpm: f64, burst: Option<f64>) -> Allowed {
    Allowed { rpm: Some(rpm), burst, ..Allowed::default() }
}

const SPREAD: &str = "lognormal:2.7:0.45";

#[tokio::test(start_paused = true)]
async fn a_limit_on_calls_is_found_whatever_its_size_and_burst() {
    for (limit, burst) in [
        (60.0, None),
        (480.0, None),
        (6000.0, None),
        (480.0, Some(30.0)),
        (60.0, Some(60.0)),
        (1800.0, Some(30.0)),
    ] {
        for latency in [SPREAD, "2.7"] {
            let seen = searched(SimProvider::new(rpm(limit, burst), latency), wide()).await;
            assert_eq!(seen.ended, Ok(()));
            near(seen.verdict.requests, limit);
            assert!(matches!(seen.verdict.in_flight, InFlight::AtLeast(_)), "{:?}", seen.verdict);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_calls_in_flight_is_found() {
    for limit in [4_u64, 32, 200] {
        for latency in [SPREAD, "2.7"] {
            let allowed = Allowed { max_in_flight: Some(limit), ..Allowed::default() };
            let seen = searched(SimProvider::new(allowed, latency), wide()).await;
            let InFlight::Found(found) = seen.verdict.in_flight else {
                panic!("{:?} of {limit}", seen.verdict)
            };
            let off = (found.limit as f64 / limit as f64 - 1.0).abs();
            assert!(off <= 0.05, "{found:?} of {limit}");
            assert_eq!(seen.verdict.requests, Known::Unknown(Unmeasured::OtherLimit));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_calls_is_found_beside_one_on_calls_in_flight() {
    let allowed = Allowed { max_in_flight: Some(32), ..rpm(480.0, None) };
    let seen = searched(SimProvider::new(allowed, SPREAD), wide()).await;
    near(seen.verdict.requests, 480.0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_tokens_is_found_beside_one_on_calls() {
    let allowed = Allowed { tpm: Some(200_000.0), ..rpm(480.0, None) };
    let seen = searched(SimProvider::new(allowed, SPREAD), wide()).await;
    near(seen.verdict.requests, 480.0);
    near(seen.verdict.tokens, 200_000.0);
    assert_eq!(seen.verdict.advertised, (Some(480), Some(200_000)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_tokens_alone_is_found() {
    let allowed = Allowed { tpm: Some(30_000.0), ..Allowed::default() };
    let seen = searched(SimProvider::new(allowed, SPREAD), wide()).await;
    near(seen.verdict.tokens, 30_000.0);
    assert!(matches!(seen.verdict.requests, Known::AtLeast(_)), "a minute passed before the first refusal");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_counts_in_windows_is_measured_by_windows() {
    let allowed = Allowed { window_seconds: Some(60.0), ..rpm(480.0, None) };
    let seen = searched(SimProvider::new(allowed, SPREAD), wide()).await;
    near(seen.verdict.requests, 480.0);
    let Known::Found(found) = seen.verdict.requests else { unreachable!() };
    assert!((found.window.unwrap() - 60.0).abs() < 2.0, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_slows_down_is_distinguished_from_one_that_refuses() {
    let seen = searched(SimProvider::new(Allowed::default(), "queue:16:2.0"), wide()).await;
    let slows = seen.verdict.slows.unwrap();
    assert!((slows.per_minute / 480.0 - 1.0).abs() < 0.1, "{slows:?}");
    assert!((slows.concurrency / 16.0 - 1.0).abs() < 0.15, "{slows:?}");
}

#[tokio::test(start_paused = true)]
async fn every_bound_ends_a_search_and_its_measurements_stay() {
    for (bounds, stop) in [
        (Bounds { requests: 30, ..wide() }, Stop::Requests(30)),
        (Bounds { duration: Duration::from_secs(40), ..wide() }, Stop::Duration(Duration::from_secs(40))),
        (Bounds { cost: 0.001, ..wide() }, Stop::Cost(0.001)),
    ] {
        let seen = searched(SimProvider::new(rpm(60.0, None), SPREAD), bounds).await;
        assert_eq!(seen.ended, Err(stop));
        assert!(seen.drive.calls.len() <= 30 || bounds.requests > 30);
        assert!(seen.drive.cost <= bounds.cost);
        assert!(seen.drive.now() < 120.0);
        assert!(seen.verdict.passed.is_some());
        assert_ne!(seen.verdict.requests, Known::Unknown(Unmeasured::NoReply));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_or_a_provider_that_always_fails_ends_the_probe_at_once() {
    for (code, calls) in [(401, 1), (404, 1), (500, 5)] {
        let mut world = SimProvider::new(Allowed::default(), "0.5");
        let message = "Incorrect API key provided.".to_owned();
        world.fails = Some(Failure::refused(code, "", &message));
        let seen = searched(world, wide()).await;
        let Err(Stop::Fatal(why)) = seen.ended else { panic!("{:?}", seen.ended) };
        assert!(why.contains("Incorrect API key"), "{why}");
        assert_eq!(seen.drive.calls.len(), calls);
        let nothing = Unmeasured::NoReply;
        assert_eq!(seen.verdict.requests, Known::Unknown(nothing));
        assert_eq!(seen.verdict.in_flight, InFlight::Unknown(nothing));
        let report = report(seen.drive, 1);
        assert!(!report.snippet().contains(|c: char| c.is_ascii_digit()), "{}", report.snippet());
        let text = report.text(None);
        assert!(!text.contains("no limit found"), "{text}");
        assert!(text.contains("calls a minute:  not measured: no call was answered\n"), "{text}");
        assert!(
            text.contains(&format!(
                "0 passed, 0 refused by rate (429), {calls} failed: {calls} × HTTP {code}"
            ))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_interruption_waits_for_calls_in_flight_and_a_second_one_does_not() {
    for (times, least) in [(1, 8), (2, 0)] {
        let (stop, stopped) = watch::channel(0_u32);
        let world = SimProvider::new(Allowed::default(), "10");
        let mut drive = Drive::new(world, questions(), wide(), stopped, Progress::silent());
        let plan = usual(&[8]);
        let ended = async {
            sleep(Duration::from_secs(3)).await;
            for _ in 0..times {
                stop.send_modify(|times| *times += 1);
                sleep(Duration::from_secs(1)).await;
            }
        };
        let (ended, ()) = tokio::join!(in_steps(&mut drive, &plan), ended);
        assert_eq!(ended, Err(Stop::Interrupted));
        assert_eq!(drive.discard_pending(), 8 - least);
        assert_eq!(drive.calls.len(), least);
    }
}

#[tokio::test(start_paused = true)]
async fn steps_find_the_knee_and_are_written_in_the_published_format() {
    let (_stop, stopped) = watch::channel(0);
    let plan = usual(&[1, 2, 4, 8, 16]);
    let world = SimProvider::new(Allowed::default(), "queue:4:2.0");
    let mut drive = Drive::new(world, questions(), wide(), stopped, Progress::silent());
    assert_eq!(in_steps(&mut drive, &plan).await, Ok(false));
    let report = report(drive, 16);
    let value = report.json();
    assert_eq!(value["knee"]["concurrency"], 4.0);
    assert_eq!(value["summary"]["total_requests"], 180);
    assert!(value["config"].as_str().unwrap().contains("concurrency: 4  # the knee"), "{value:#}");
    insta::assert_snapshot!("published_shape", shape(&value, 0));
    let text = report.text(None);
    assert!(text.contains("knee: 4 calls in flight"), "{text}");
}

/// No limit was found only where a whole minute passed without a refusal.
#[tokio::test(start_paused = true)]
async fn a_short_probe_and_one_with_few_refusals_measure_no_limit() {
    let stepped = async |allowed: Allowed, requests: u64| {
        let (_stop, stopped) = watch::channel(0);
        let bounds = Bounds { requests, ..wide() };
        let mut drive =
            Drive::new(SimProvider::new(allowed, "1.0"), questions(), bounds, stopped, Progress::silent());
        let ended = in_steps(&mut drive, &Plan { steps: vec![2], bounds }).await;
        assert!(matches!(ended, Ok(_) | Err(Stop::Requests(_))), "{ended:?}");
        report(drive, 2)
    };
    let limits = |report: &Report| {
        let value = report.json();
        (value["limits"].clone(), report.text(None), report.snippet())
    };
    let (found, text, _) = limits(&stepped(Allowed::default(), 20).await);
    assert_eq!(found["requests_per_minute"]["state"], "unknown", "{found}");
    assert!(text.contains("not measured: calls were sent for less than a whole minute"), "{text}");

    let (found, text, snippet) = limits(&stepped(Allowed::default(), 200).await);
    let passed = found["requests_per_minute"]["value"].as_f64().unwrap();
    assert!((105.0..=125.0).contains(&passed), "two calls a second or a little more: {passed}");
    assert!(text.contains(&format!("no limit found up to {passed:.0}")), "{text}");
    assert!(snippet.contains("auto  # no limit found up to "), "{snippet}");

    let (found, text, snippet) = limits(&stepped(rpm(60.0, None), 12).await);
    assert_eq!(found["requests_per_minute"]["state"], "unknown", "{found}");
    assert!(text.contains("refused because of it, too few"), "{text}");
    assert!(!text.contains("no limit found") && !snippet.contains("no limit found"), "{text}");
    assert!(!snippet.contains(|c: char| c.is_ascii_digit()), "{snippet}");
}

/// Its table fits a terminal without breaking a word.
#[tokio::test(start_paused = true)]
async fn the_table_fits_narrow_terminals() {
    let seen = searched(SimProvider::new(rpm(480.0, None), SPREAD), wide()).await;
    let report = report(seen.drive, 16);
    for width in [60_u16, 80, 120] {
        let text = report.text(Some(width));
        let table: Vec<&str> =
            text.lines().skip(2).take_while(|line| !line.is_empty() && !line.contains(": ")).collect();
        assert!(table.iter().all(|line| line.chars().count() <= usize::from(width)), "{text}");
        assert!(text.contains("standstill") && text.contains("at the limit"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn steps_end_where_calls_are_refused() {
    let (_stop, stopped) = watch::channel(0);
    let plan = usual(&[1, 2, 4, 8, 16, 32, 64]);
    let world = SimProvider::new(rpm(60.0, None), SPREAD);
    let mut drive = Drive::new(world, questions(), wide(), stopped, Progress::silent());
    assert_eq!(in_steps(&mut drive, &plan).await, Ok(true));
    assert!(drive.steps.len() < 7);
    let last = report(drive, 64).json()["steps"].as_array().unwrap().last().unwrap().clone();
    assert!(last["first_429_sec"].is_number() && last["refused"].as_u64().unwrap() > 0, "{last:#}");
}

/// Steps of their default length.
fn usual(steps: &[usize]) -> Plan {
    Plan { steps: steps.to_vec(), bounds: Bounds { requests: Plan::usual(steps), ..wide() } }
}

fn report(drive: Drive<SimProvider>, concurrency: usize) -> Report {
    let verdict = verdict(&drive);
    let price = drive.questions().price;
    let found = Findings {
        endpoint: drive.questions().endpoint.clone(),
        model: drive.questions().model.clone(),
        verdict,
        stop: None,
        notes: Vec::new(),
        seconds: drive.now(),
        cost: drive.cost,
        concurrency,
        steps: drive.steps,
        calls: drive.calls,
    };
    Report::new(found, &price)
}

/// The keys of a JSON value with the types of their values; of a list, its first element.
fn shape(value: &serde_json::Value, depth: usize) -> String {
    use serde_json::Value;
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, entry)| match entry {
                Value::Object(_) | Value::Array(_) => format!("{indent}{key}:\n{}", shape(entry, depth + 1)),
                _ => format!("{indent}{key}: {}\n", shape(entry, 0)),
            })
            .collect(),
        Value::Array(items) => {
            items.first().map_or_else(String::new, |item| format!("{indent}-\n{}", shape(item, depth + 1)))
        }
        Value::String(_) => "text".to_owned(),
        Value::Number(number) if number.is_u64() => "whole number".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Null => "null".to_owned(),
    }
}
