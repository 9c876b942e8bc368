//! A fake API server: says what a test wants, and remembers what it was asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_server::{ApiServer, ConnectError, Limits, Source};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};

/// A request that the fake was sent.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
    /// How many requests of the same method and path came before.
    pub(crate) before: usize,
}

type Answer = dyn Fn(&Seen) -> Option<Response<Body>> + Send + Sync;

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
    delay: Duration,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A running fake.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Shared,
    folder: tempfile::TempDir,
}

/// Limits with which a test ends soon.
pub(crate) fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(2),
        attempts: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(20),
        answer_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// A `Status`.
pub(crate) fn status(code: u16, reason: &str, message: &str, details: &Value) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": details,
    });
    answer(code, status.to_string())
}

/// Any answer.
pub(crate) fn answer(code: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

impl Fake {
    /// Starts a fake that says what `answer` gives, or what a friendly server says.
    pub(crate) async fn start(
        answer: impl Fn(&Seen) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self::slow(Duration::ZERO, answer).await
    }

    /// The same, after a delay.
    pub(crate) async fn slow(
        delay: Duration,
        answer: impl Fn(&Seen) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            seen: Arc::default(),
            answer: Arc::new(answer),
            delay,
            now: Arc::default(),
            most: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(respond).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared, folder: tempfile::tempdir().unwrap() }
    }

    /// A kubeconfig of it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "a", "user": {"token": "secret-token"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    pub(crate) async fn connect(&self, limits: Limits) -> Result<ApiServer, ConnectError> {
        ApiServer::connect(&Source::Kubeconfig(self.kubeconfig()), limits).await
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The requests that are no GET.
    pub(crate) fn sent(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method != "GET").collect()
    }

    /// The most requests that it answered at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

async fn respond(State(shared): State<Shared>, request: Request<Body>) -> Response<Body> {
    let now = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(now, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 16 << 20).await.unwrap();
    let content_type = head.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    let path = head.uri.path_and_query().unwrap().to_string();
    let seen = {
        let mut all = shared.seen.lock().unwrap();
        let before = all.iter().filter(|one| one.method == head.method.as_str() && one.path == path).count();
        let seen = Seen {
            method: head.method.to_string(),
            path,
            content_type: content_type.to_owned(),
            body: String::from_utf8_lossy(&body).into_owned(),
            before,
        };
        all.push(seen.clone());
        seen
    };
    tokio::time::sleep(shared.delay).await;
    let response = (shared.answer)(&seen).unwrap_or_else(|| friendly(&seen));
    shared.now.fetch_sub(1, Ordering::SeqCst);
    response
}

/// What a server says that accepts everything.
pub(crate) fn friendly(seen: &Seen) -> Response<Body> {
    match seen.path.as_str() {
        "/version" => answer(200, json!({"gitVersion": "v1.37.2"}).to_string()),
        "/api" => answer(200, groups("", "v1", &[("pods", "Pod", true), ("namespaces", "Namespace", false)])),
        "/apis" => answer(200, groups("apps", "v1", &[("deployments", "Deployment", true)])),
        _ if seen.method == "GET" => status(404, "NotFound", "not found", &json!({})),
        _ => answer(201, json!({"kind": kind_of(&seen.body)}).to_string()),
    }
}

/// The kind that a body names, YAML or JSON.
fn kind_of(body: &str) -> String {
    if let Ok(value) = serde_json::from_str::<Value>(body) {
        return value["kind"].as_str().unwrap_or_default().to_owned();
    }
    let line = body.lines().find_map(|line| line.strip_prefix("kind: "));
    line.unwrap_or_default().to_owned()
}

fn groups(group: &str, version: &str, kinds: &[(&str, &str, bool)]) -> String {
    let resources: Vec<Value> = kinds
        .iter()
        .map(|(plural, kind, namespaced)| {
            json!({
                "resource": plural, "responseKind": {"group": "", "version": "", "kind": kind},
                "scope": if *namespaced { "Namespaced" } else { "Cluster" }, "verbs": ["create", "get"],
            })
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "items": [{"metadata": metadata, "versions": [{"version": version, "resources": resources}]}],
    });
    list.to_string()
}

/// A pod.
pub(crate) fn pod(name: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec: {{}}\n")
}
