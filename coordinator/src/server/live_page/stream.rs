//! The routes of the page, of its parts and of its events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use domain::ids::RunId;
use futures::stream;
use proto::status::{ApiError, ErrorReason};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::page::{LivePage, MOST_WATCHERS, Topic};
use super::{actions, overview, run_view, shell};
use crate::run::Coordinator;

/// Longest silence of a stream: a connection that is gone shows itself.
const SILENCE: Duration = Duration::from_secs(15);

/// How soon a browser connects again, in the words of the protocol.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The script and the style sheet of the page.
const SCRIPT: &str = include_str!("live.js");
const STYLE: &str = include_str!("live.css");

/// Router of the page, its parts and its events.
pub(in crate::server) fn router(coordinator: &Arc<Coordinator>) -> Router {
    let page = LivePage::start(coordinator);
    let fixed = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
    };
    Router::new()
        .route("/", get(first_page))
        .route("/runs/{run}", get(run_page))
        .route("/events", get(events))
        .route("/runs/{run}/events", get(run_events))
        .route("/runs/{run}/cancel", post(actions::cancel))
        .route("/workers/{worker}/drain", post(actions::drain))
        .route("/live.js", fixed("text/javascript; charset=utf-8", SCRIPT))
        .route("/live.css", fixed("text/css; charset=utf-8", STYLE))
        .with_state(page)
}

async fn first_page(State(page): State<Arc<LivePage>>) -> Response {
    match page.board().await {
        Ok(board) => Html(shell::overview(&overview::sections(&board))).into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn run_page(State(page): State<Arc<LivePage>>, Path(run): Path<String>) -> Response {
    let Ok(run_id) = RunId::new(run) else { return not_found() };
    match (page.board().await, page.coordinator().status(&run_id).await) {
        // Also one that is too old to be listed.
        (Ok(board), Ok(run)) => {
            Html(shell::of_run(&run_id, &run_view::sections(&board, &run))).into_response()
        }
        (_, Err(error)) if error.reason == ErrorReason::UnknownRun => not_found(),
        (Err(error), _) | (_, Err(error)) => unavailable(&error),
    }
}

async fn events(State(page): State<Arc<LivePage>>) -> Response {
    stream_of(&page, None).await
}

async fn run_events(State(page): State<Arc<LivePage>>, Path(run): Path<String>) -> Response {
    match RunId::new(run) {
        Ok(run_id) => stream_of(&page, Some(run_id)).await,
        Err(_) => not_found(),
    }
}

async fn stream_of(page: &LivePage, topic: Topic) -> Response {
    let Ok(place) = Arc::clone(&page.places).try_acquire_owned() else {
        let headers = [(RETRY_AFTER, HeaderValue::from_static("10"))];
        let text = format!("{MOST_WATCHERS} watch already\n");
        return (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response();
    };
    let events = Events { receiver: page.watch(topic).await, begun: false, _place: place };
    let events = stream::unfold(events, Events::next);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// The events that one connection gets. They are the same bytes for all.
struct Events {
    receiver: watch::Receiver<Bytes>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Events {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some((Ok(Bytes::from_static(RETRY)), self));
        }
        let event = match timeout(SILENCE, self.receiver.changed()).await {
            Ok(Ok(())) => self.receiver.borrow_and_update().clone(),
            // The page is gone: the coordinator ends.
            Ok(Err(_)) => return None,
            Err(_) => Bytes::from_static(b": nothing has changed\n\n"),
        };
        Some((Ok(event), self))
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page\n").into_response()
}

fn unavailable(error: &ApiError) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_style_load_nothing() {
        for (name, text) in [("live.js", SCRIPT), ("live.css", STYLE)] {
            // The name of SVG and HTML elements is no address that is loaded.
            for reference in ["http://", "https://", "@import", "url(", "import(", "eval(", "new Function"] {
                assert!(!text.contains(reference), "{name}: {reference}");
            }
            assert!(text.len() < 16_000, "{name} is small");
        }
    }
}
