//! HTTP endpoints of a server process: `/metrics` for Prometheus, `/healthz` for its supervisor, pages.
//!
//! *Never*: secrets, or anything that changes state. Nothing here reads a request's body.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::failure::WithHint as _;

/// What the metrics' text is (`OpenMetrics` 1.0).
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics` and `/healthz`; the program adds its own pages. `healthy` gives what is wrong, if anything is.
pub fn router(
    metrics: impl Fn() -> String + Send + Sync + 'static,
    healthy: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> Router {
    let (metrics, healthy) = (Arc::new(metrics), Arc::new(healthy));
    Router::new()
        .route(
            "/metrics",
            get(move || {
                let text = metrics();
                async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], text) }
            }),
        )
        .route(
            "/healthz",
            get(move || {
                let state = healthy();
                async move { health(state) }
            }),
        )
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

/// Serves until `stop` ends. Requests under way are not waited for.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let serving = async { axum::serve(listener, router).await };
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "the HTTP server ended");
        },
        () = stop => {}
    }
}
