//! HTTP endpoints of a server process: `/metrics` for Prometheus, `/healthz` for its supervisor, `/readyz` for a load balancer, pages.
//!
//! *Never*: secrets, or anything that changes state. Nothing here reads a request's body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::failure::WithHint as _;

/// What the metrics' text is (`OpenMetrics` 1.0).
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`, `/healthz` and `/readyz`; the program adds its own pages. `healthy` gives what is wrong, if anything is.
pub fn router(
    metrics: impl Fn() -> String + Send + Sync + 'static,
    healthy: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> Router {
    let (metrics, healthy) = (Arc::new(metrics), Arc::new(healthy));
    let health = get(move || {
        let state = healthy();
        async move { health(state) }
    });
    Router::new()
        .route(
            "/metrics",
            get(move || {
                let text = metrics();
                async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], text) }
            }),
        )
        .route("/healthz", health.clone())
        .route("/readyz", health)
}

fn health(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Listens; an address that other machines reach has to be wanted.
pub async fn listen(address: SocketAddr, insecure: bool) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() && !insecure {
        let refused: anyhow::Result<TcpListener> =
            Err(anyhow::anyhow!("{address} can be reached from other machines, and HTTP is plain text"));
        return refused.hint("listen on 127.0.0.1, or say --insecure on a network you trust");
    }
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}"))
}

/// Limits of an HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Open connections; further ones are closed at once.
    pub connections: usize,
    /// Longest wait for the header of a request, from the opening of the connection or the request before.
    pub header: Duration,
    /// Longest life of a connection; browsers and scrapers open another one by themselves.
    pub lifetime: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { connections: 64, header: Duration::from_secs(10), lifetime: Duration::from_secs(120) }
    }
}

/// Bytes of a request's header, and of the buffer of a connection.
const HEADER_BYTES: usize = 16 << 10;

/// Pause after a failure to accept, such as a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` ends. Requests under way are not waited for.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    serve_within(listener, router, HttpLimits::default(), stop).await;
}

/// Like [`serve`], within other limits.
pub async fn serve_within(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    // Dropped at the end, with the connections.
    let mut connections = JoinSet::new();
    let serving = async {
        loop {
            while connections.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            // Small replies are not held back.
            let _ = stream.set_nodelay(true);
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
            connections.spawn(async move {
                // A connection that breaks off, or passes a limit, is its peer's affair.
                let _ = tokio::time::timeout(limits.lifetime, served).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What the server answers until it closes the connection.
    async fn answer(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is closed");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn half_requests_end_and_others_are_served() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let header = Duration::from_millis(200);
        let limits = HttpLimits { connections: 4, header, lifetime: 10 * header };
        let router = router(String::new, || Ok(()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve_within(listener, router, limits, stopped).await;
        });
        let connect = async |beginning: &str| {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(beginning.as_bytes()).await.expect("it is read");
            stream
        };
        let whole = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut kept = connect(whole).await;
        let mut half = Vec::new();
        for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nx: y\r\n"] {
            half.push(connect(beginning).await);
        }
        let mut beyond = connect("").await;
        assert_eq!(answer(&mut beyond).await, "", "closed at once");
        for stream in &mut half {
            let answer = answer(stream).await;
            assert!(!answer.contains("200 OK"), "{answer}");
        }
        assert!(answer(&mut kept).await.contains("200 OK"), "an idle connection ends after its answer");
        assert!(answer(&mut connect(whole).await).await.contains("200 OK"));
        drop(stop);
        server.await.expect("it ends");
    }
}
