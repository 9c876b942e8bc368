//! A server that sends the exact bytes of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::answer::{Message, Question, Role, Sampling};
use domain::config::ProposerMode;
use llm::client::{Client, Timeouts};
use llm::providers::{ProviderConfig, Providers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a request is answered with.
pub(crate) type Answering = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Script {
    /// Sends this and keeps the connection open.
    Send(String),
    /// Sends this, then closes.
    SendAndClose(String),
    /// Sends this, then hangs.
    SendAndHang(String),
    /// Sends what the request is answered with.
    Reply(Answering),
}

/// A server in the background; it ends with the test.
pub(crate) struct Server {
    /// URL of the server.
    pub(crate) endpoint: String,
    /// How many connections were made.
    pub(crate) connections: Arc<AtomicUsize>,
    /// The requests, as text.
    pub(crate) seen: Arc<std::sync::Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        let (connections, seen) =
            (Arc::new(AtomicUsize::new(0)), Arc::<std::sync::Mutex<Vec<String>>>::default());
        let (count, requests) = (connections.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(stream, script.clone(), requests.clone()));
            }
        });
        Self { endpoint, connections, seen, task }
    }

    /// Stops listening.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub(crate) fn question(&self) -> Question {
        Question {
            endpoint: self.endpoint.clone(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::User, "hello")],
            sampling: Sampling::default(),
            sample: 0,
        }
    }

    pub(crate) fn client(&self, timeouts: Timeouts) -> Client {
        let provider = ProviderConfig {
            endpoint: self.endpoint.clone(),
            api_key_env: "TEST_KEY".to_owned(),
            ..ProviderConfig::default()
        };
        client(provider, "top-secret-key", timeouts)
    }
}

/// A client of a provider whose key is `key`.
pub(crate) fn client(provider: ProviderConfig, key: &str, timeouts: Timeouts) -> Client {
    let providers = Providers { vllm: provider, ..Providers::default() };
    let provider = providers.open(ProposerMode::Vllm, |_| Some(key.to_owned())).unwrap();
    Client::new(provider, timeouts).unwrap()
}

/// Timeouts that are longer than any test.
pub(crate) fn long_timeouts() -> Timeouts {
    let long = Duration::from_secs(60);
    Timeouts { connect: long, first_byte: long, total: long }
}

/// A reply with a body.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn serve(mut stream: TcpStream, script: Script, requests: Arc<std::sync::Mutex<Vec<String>>>) {
    while let Some(request) = read(&mut stream).await {
        requests.lock().unwrap().push(request.clone());
        let (bytes, after) = match &script {
            Script::Send(text) => (text.clone().into_bytes(), None),
            Script::SendAndClose(text) => (text.clone().into_bytes(), Some(Duration::ZERO)),
            Script::SendAndHang(text) => (text.clone().into_bytes(), Some(Duration::from_secs(60))),
            Script::Reply(reply) => (reply(&request), None),
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        if let Some(wait) = after {
            tokio::time::sleep(wait).await;
            return;
        }
    }
}

/// Reads one request: its head, and a body of the `content-length`.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length:").and_then(|length| length.trim().parse::<usize>().ok())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
