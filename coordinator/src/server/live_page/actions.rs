//! What an operator does from the page: cancel a run, drain a worker. The token was checked before.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use domain::ids::{RunId, WorkerName};
use proto::status::ErrorReason;

use super::page::LivePage;

/// Cancels a run.
pub(super) async fn cancel(State(page): State<Arc<LivePage>>, Path(run): Path<String>) -> Response {
    let Ok(run_id) = RunId::new(run) else { return unknown("run") };
    match page.coordinator().cancel(&run_id).await {
        Ok(status) => {
            tracing::info!(run = %run_id, "cancelled from the page");
            format!("run {run_id} is {}\n", status.state.as_str()).into_response()
        }
        Err(error) if error.reason == ErrorReason::UnknownRun => unknown("run"),
        Err(error) if error.reason == ErrorReason::RunEnded => {
            (StatusCode::CONFLICT, format!("{error}\n")).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// Drains a worker.
pub(super) async fn drain(State(page): State<Arc<LivePage>>, Path(worker): Path<String>) -> Response {
    let Ok(worker) = WorkerName::new(worker) else { return unknown("worker") };
    match page.coordinator().drain_worker(&worker) {
        Some(_) => {
            tracing::info!(%worker, "drained from the page");
            format!("worker {worker} finishes its work and ends\n").into_response()
        }
        None => unknown("worker"),
    }
}

fn unknown(what: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("there is no such {what} here\n")).into_response()
}
