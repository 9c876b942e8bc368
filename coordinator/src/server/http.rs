//! HTTP endpoints for metrics, health and the status page; read-only.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;

use super::status_page;
use crate::run::Coordinator;

/// Content security policy: the page loads nothing and cannot be framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Router of `/metrics`, `/healthz` and `/`.
pub(crate) fn router(coordinator: Arc<Coordinator>) -> Router {
    let (counted, healthy) = (Arc::clone(&coordinator), Arc::clone(&coordinator));
    cli_support::http::router(move || counted.metrics_text(), move || healthy.health())
        .route("/", get(move || show(Arc::clone(&coordinator))))
}

async fn show(coordinator: Arc<Coordinator>) -> Response {
    match coordinator.list().await {
        Ok(list) => {
            let html = status_page::render(&list, &coordinator.workers());
            ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
        }
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    }
}
