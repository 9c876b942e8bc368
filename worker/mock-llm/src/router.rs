//! The routes of the simulated provider, and the bounds of what arrives.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use cli_support::http::{HttpLimits, serve_within};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::batches::http;
use crate::chat::Api;
use crate::limits::Allowed;
use crate::respond::{error, json_reply};
use crate::server::Provider;

/// Longest request that is read.
const REQUEST_BYTES: usize = 16 << 20;

/// Longest time for a request to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Memory of all requests that are arriving, in KiB.
const BODIES_KIB: usize = 64 << 10;

/// Limits of connections: as many as a client may have calls in flight, and longer than any answer takes.
const LIMITS: HttpLimits = HttpLimits {
    connections: 16_384,
    header: Duration::from_secs(120),
    lifetime: Duration::from_secs(24 * 3600),
};

async fn models(State(provider): State<Provider>, head: HeaderMap) -> Response<Body> {
    if let Some(refused) = provider.refused(&head) {
        return refused;
    }
    json_reply(StatusCode::OK, HeaderMap::new(), &provider.models())
}

async fn stats(State(provider): State<Provider>) -> Response<Body> {
    let report = serde_json::to_value(provider.report()).unwrap_or_default();
    json_reply(StatusCode::OK, HeaderMap::new(), &report)
}

async fn change(State(provider): State<Provider>, body: Bytes) -> Response<Body> {
    let Some(allowed) = serde_json::from_slice::<Allowed>(&body).ok().filter(Allowed::is_legal) else {
        let message = "send {\"rpm\": N, \"rps\": N, \"tpm\": N, \"max_in_flight\": N, \"burst\": N}; what is left out is unlimited";
        return error(StatusCode::BAD_REQUEST, "bad_limits", message);
    };
    provider.change(allowed);
    json_reply(StatusCode::OK, HeaderMap::new(), &json!(allowed))
}

/// Reads a request's body, within the memory of all bodies that are arriving and within a time.
async fn read_body(
    State(memory): State<Arc<Semaphore>>,
    request: axum::extract::Request,
    next: Next,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let length = head.headers.get(axum::http::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(REQUEST_BYTES);
    if length > REQUEST_BYTES {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too large");
    }
    let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let read = async {
        let _permit = memory.acquire_many(kib).await.ok()?;
        axum::body::to_bytes(body, REQUEST_BYTES).await.ok()
    };
    match tokio::time::timeout(REQUEST_TIME, read).await {
        Ok(Some(bytes)) => next.run(axum::extract::Request::from_parts(head, Body::from(bytes))).await,
        Ok(None) => error(StatusCode::BAD_REQUEST, "bad_request", "the request broke off"),
        Err(_) => error(StatusCode::REQUEST_TIMEOUT, "timeout", "the request did not arrive in time"),
    }
}

/// Serves until `end`. Calls in flight are dropped with the server, as by a provider that crashes.
pub async fn serve(
    listener: TcpListener,
    provider: Provider,
    end: impl Future<Output = ()> + Send + 'static,
) {
    let complete = |State(provider): State<Provider>, head: HeaderMap, body: Bytes| {
        provider.complete(Api::Chat, head, body)
    };
    let respond = |State(provider): State<Provider>, head: HeaderMap, body: Bytes| {
        provider.complete(Api::Responses, head, body)
    };
    let routes = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/responses", post(respond))
        .route("/v1/models", get(models))
        .route("/stats", get(stats))
        .route("/limits", post(change))
        .merge(http::routes())
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(BODIES_KIB)), read_body))
        .merge(http::upload_route())
        .with_state(provider);
    serve_within(listener, routes, LIMITS, end).await;
}
