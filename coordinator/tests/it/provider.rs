//! A simulated LLM provider in the background of a test.

use std::sync::Arc;

use domain::secret::Secret;
use mock_llm::{Allowed, Answers, BatchSettings, Cached, HeaderStyle, Latency, Provider, Settings, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A provider; it ends with the test.
pub(crate) struct Mock {
    _runtime: Runtime,
    /// Statistics of the provider.
    pub(crate) provider: Provider,
    /// Its address.
    pub(crate) url: String,
}

/// A provider without limits and faults that answers `OK` within a millisecond, at the clock's speed.
pub(crate) fn plain() -> Settings {
    Settings {
        allowed: Allowed::default(),
        style: HeaderStyle::default(),
        cached: Cached::default(),
        batches: BatchSettings::default(),
        latency: latency("0.001"),
        faults: "".parse().unwrap(),
        answers: answers(|_| "OK".to_owned()),
        manner: mock_llm::Manner::default(),
        speed: 1.0,
        seed: 7,
    }
}

/// Parses a latency as on the command line.
pub(crate) fn latency(text: &str) -> Latency {
    text.parse().unwrap()
}

/// Answers computed from the prompt.
pub(crate) fn answers(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Answers {
    Arc::new(move |prompt| Some(answer(prompt)))
}

impl Mock {
    /// Starts a provider; with a key, it refuses callers without it.
    pub(crate) fn start(settings: Settings, key: Option<&str>) -> Self {
        let key = key.map(|key| Secret::new(key.to_owned()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let provider = Provider::guarded(settings, key.as_ref()).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        runtime.spawn(serve(listener, provider.clone(), std::future::pending()));
        Self { _runtime: runtime, provider, url }
    }
}
