//! The simulated provider, called by the client.

use std::sync::Arc;
use std::time::Duration;

use domain::answer::{FailureKind, Message, Question, Role, Sampling};
use domain::secret::Secret;
use llm::client::{Client, Timeouts};
use llm::error::{Failure, Phase};
use llm::providers::ProviderConfig;
use mock_llm::{
    Allowed, BatchSettings, Cached, HeaderStyle, Latency, LimitStyle, Provider, Settings, WaitStyle, serve,
};
use tokio::net::TcpListener;

use crate::support::{client, long_timeouts};

struct Mock {
    endpoint: String,
    provider: Provider,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(faults: &str) -> Settings {
    Settings {
        allowed: Allowed::default(),
        latency: Latency::Fixed(0.001),
        faults: faults.parse().unwrap(),
        answers: Arc::new(|question| Some(format!("answer to {question}"))),
        manner: mock_llm::Manner::default(),
        speed: 1.0,
        seed: 7,
        style: HeaderStyle::default(),
        cached: Cached::default(),
        batches: BatchSettings::default(),
    }
}

async fn start(settings: Settings) -> Mock {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    let provider = Provider::new(settings).unwrap();
    let task = tokio::spawn(serve(listener, provider.clone(), std::future::pending()));
    Mock { endpoint, provider, task }
}

impl Mock {
    fn client(&self, timeouts: Timeouts) -> Client {
        let provider = ProviderConfig { endpoint: self.endpoint.clone(), ..ProviderConfig::default() };
        client(provider, "", timeouts)
    }

    fn question(&self, text: &str) -> Question {
        Question {
            endpoint: self.endpoint.clone(),
            model: "mock".to_owned(),
            messages: vec![Message::new(Role::System, "s"), Message::new(Role::User, text)],
            sampling: Sampling::default(),
            sample: 0,
        }
    }
}

#[tokio::test]
async fn it_answers_and_counts() {
    let mock = start(settings("")).await;
    let client = mock.client(long_timeouts());
    for text in ["a", "b", "a"] {
        let reply = client.ask(&mock.question(text)).await;
        assert_eq!(reply.result.unwrap().content, format!("answer to {text}"));
        assert!(reply.usage.total > 0);
    }
    let report = mock.provider.report();
    assert_eq!((report.accepted, report.refused_429, report.distinct_prompts), (3, 0, 2));
}

#[tokio::test]
async fn its_limit_is_a_real_429_with_headers() {
    let allowed = Allowed { rpm: Some(60.0), burst: Some(3.0), ..Allowed::default() };
    let mock = start(Settings { allowed, ..settings("") }).await;
    let client = mock.client(long_timeouts());
    for left in [2, 1, 0] {
        assert_eq!(client.ask(&mock.question("a")).await.headers.requests.remaining, Some(left));
    }
    let reply = client.ask(&mock.question("a")).await;
    assert!(llm::retry::is_throttled(&reply.result.unwrap_err()));
    assert_eq!(reply.headers.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(reply.headers.requests.limit, Some(60));
    assert_eq!(mock.provider.report().refused_429, 1);
}

#[tokio::test]
async fn it_states_limits_and_waits_in_every_style() {
    let allowed = Allowed { rpm: Some(60.0), burst: Some(1.0), ..Allowed::default() };
    let both = async |limits, waits| {
        let style = HeaderStyle { limits, waits };
        let mock = start(Settings { allowed, style, ..settings("") }).await;
        let client = mock.client(long_timeouts());
        assert!(client.ask(&mock.question("a")).await.result.is_ok());
        client.ask(&mock.question("b")).await
    };
    for (limits, limit, left) in [
        (LimitStyle::OpenAi, Some(60), Some(0)),
        (LimitStyle::Absent, None, None),
        (LimitStyle::Zero, None, None),
        (LimitStyle::MinusOne, None, None),
        (LimitStyle::Float, Some(60), Some(0)),
        (LimitStyle::Project, Some(60), Some(0)),
        (LimitStyle::Anthropic, Some(60), Some(0)),
    ] {
        let requests = both(limits, WaitStyle::Seconds).await.headers.requests;
        assert_eq!((requests.limit, requests.remaining), (limit, left), "{limits:?}");
    }
    for (waits, least, most) in [
        (WaitStyle::Seconds, 1000, 1000),
        (WaitStyle::Float, 500, 1000),
        (WaitStyle::Millis, 500, 1000),
        (WaitStyle::Date, 900, 2000),
    ] {
        let wait = both(LimitStyle::Absent, waits).await.headers.retry_after.unwrap().as_millis();
        assert!((least..=most).contains(&wait), "{waits:?}: {wait} ms");
    }
    assert_eq!(both(LimitStyle::Absent, WaitStyle::Absent).await.headers.retry_after, None);
}

#[tokio::test]
async fn tokens_in_its_cache_are_told_and_may_be_free() {
    for (free, refused) in [(false, 1), (true, 0)] {
        let cached = Cached { share: 0.9, free };
        // Two calls of 104 tokens each, of which 45 are in the cache, share a bucket of 150.
        let allowed = Allowed { tpm: Some(150.0), ..Allowed::default() };
        let mock = start(Settings { allowed, cached, ..settings("") }).await;
        let client = mock.client(long_timeouts());
        let question = mock.question(&"x".repeat(200));
        let reply = client.ask(&question).await;
        assert_eq!(reply.usage.cached, 45, "{:?}", reply.usage);
        client.ask(&question).await;
        assert_eq!(mock.provider.report().refused_429, refused, "free: {free}");
    }
}

#[tokio::test]
async fn every_fault_is_distinguished_by_the_client() {
    let short = Timeouts { total: Duration::from_millis(300), ..long_timeouts() };
    for (fault, expected) in [
        ("429", "429"),
        ("500", "500"),
        ("timeout", "took too long"),
        ("reset", "broke"),
        ("garbage", "cannot be read"),
        ("truncated", "cannot be read"),
        ("empty", "empty"),
    ] {
        let mock = start(settings(&format!("{fault}=1"))).await;
        let timeouts = if fault == "timeout" { short } else { long_timeouts() };
        let reply = mock.client(timeouts).ask(&mock.question("a")).await;
        let failure = reply.result.unwrap_err();
        assert!(failure.to_string().contains(expected), "{fault}: {failure}");
        assert_eq!(failure == Failure::Timeout(Phase::Total), fault == "timeout");
        assert_eq!(mock.provider.report().faults[fault], 1);
    }
    for (fault, content) in [
        ("refusal", "I cannot help with that."),
        ("prose", "```json\nanswer to a\n```"),
        ("wrong", "/spec/no/such/place/7"),
        ("slow", "answer to a"),
    ] {
        let mock = start(settings(&format!("{fault}=1"))).await;
        let answer = mock.client(long_timeouts()).ask(&mock.question("a")).await.result.unwrap();
        assert!(answer.content.contains(content), "{fault}: {}", answer.content);
        assert_eq!(answer.content == "answer to a", fault == "slow", "{fault}");
    }
}

#[tokio::test]
async fn a_call_without_the_key_is_refused_for_good() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    let provider = Provider::guarded(settings(""), Some(&Secret::new("right".to_owned()))).unwrap();
    let task = tokio::spawn(serve(listener, provider.clone(), std::future::pending()));
    let mock = Mock { endpoint, provider, task };
    for (key, scheme, header, right) in [
        ("right", "Bearer", "Authorization", true),
        ("right", "", "x-api-key", true),
        ("wrong", "Bearer", "Authorization", false),
        ("right-and-more", "Bearer", "Authorization", false),
    ] {
        let provider = ProviderConfig {
            endpoint: mock.endpoint.clone(),
            api_key_env: "KEY".to_owned(),
            auth_header: header.to_owned(),
            auth_scheme: scheme.to_owned(),
            ..ProviderConfig::default()
        };
        let client = client(provider, key, long_timeouts());
        let reply = client.ask(&mock.question("a")).await;
        assert_eq!(reply.result.is_ok(), right, "{reply:?}");
        if let Err(failure) = reply.result {
            assert_eq!(llm::refusals::kind(&failure), FailureKind::Key, "{failure}");
        }
    }
    let report = mock.provider.report();
    assert_eq!((report.accepted, report.refused_401), (2, 2));
}

#[tokio::test]
async fn more_calls_than_servers_wait_in_the_queue() {
    // Long enough that the second call arrives while the first is in flight, also on a busy machine.
    let latency = "queue:1:0.5".parse().unwrap();
    let mock = start(Settings { latency, ..settings("") }).await;
    let client = mock.client(long_timeouts());
    let (first, second) = (mock.question("a"), mock.question("b"));
    let (first, second) = tokio::join!(client.ask(&first), client.ask(&second));
    assert!(first.took.max(second.took) >= Duration::from_secs(1), "{first:?} {second:?}");
    assert_eq!(mock.provider.report().max_in_flight, 2);
}

#[tokio::test]
async fn the_same_prompt_gets_the_same_fault() {
    let results = async |seed| {
        let mock = start(Settings { seed, ..settings("500=0.5") }).await;
        let client = mock.client(long_timeouts());
        let mut results = Vec::new();
        for number in 0..40 {
            results.push(client.ask(&mock.question(&number.to_string())).await.result.is_ok());
        }
        results
    };
    let first = results(1).await;
    assert_eq!(first, results(1).await);
    assert_ne!(first, results(2).await);
    assert!((8..=32).contains(&first.iter().filter(|good| **good).count()), "{first:?}");
}

#[tokio::test]
async fn time_may_run_faster_with_all_ratios_kept() {
    // Longer than the client's timeout, and one call in ten seconds.
    let allowed = Allowed { rpm: Some(6.0), burst: Some(1.0), ..Allowed::default() };
    let latency = Latency::Fixed(200.0);
    let mock = start(Settings { allowed, latency, speed: 10_000.0, ..settings("") }).await;
    let client = mock.client(long_timeouts());
    for number in 0..3 {
        let reply = client.ask(&mock.question(&number.to_string())).await;
        assert_eq!(reply.result.map(|answer| answer.content), Ok(format!("answer to {number}")));
        assert!(reply.took >= Duration::from_millis(20), "{:?}", reply.took);
    }
    let report = mock.provider.report();
    assert_eq!((report.accepted, report.refused_429), (3, 0), "the limit runs as fast");
}
