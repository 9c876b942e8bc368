//! What the coordinator shows over HTTP: metrics, health, and a page for people. Reads only.

mod page;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;

use crate::runs::Runs;

/// The page may load nothing from anywhere and be shown in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// `/metrics`, `/healthz` and `/`.
pub(crate) fn router(runs: Arc<Runs>) -> Router {
    let (counted, healthy) = (Arc::clone(&runs), Arc::clone(&runs));
    console::http::router(move || counted.metrics_text(), move || healthy.health())
        .route("/", get(move || show(Arc::clone(&runs))))
}

async fn show(runs: Arc<Runs>) -> Response {
    match runs.list().await {
        Ok(list) => {
            let html = page::render(&list, &runs.workers());
            ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
        }
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    }
}
