//! The HTTP interface of files and batches.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use domain::ids::AnswerKey;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::batch::{Batch, Worker};
use super::faults::BatchFault;
use super::files::{FILE_BYTES, take_apart};
use super::store::{Batches, text};
use crate::chat::random;
use crate::respond::{broken, error, json_reply};
use crate::server::Provider;

/// Bytes of a piece of a download.
const PIECE: usize = 64 << 10;

/// Most lines of a batch.
const LINES: u64 = 50_000;

/// Everything but uploads, whose bodies are longer than those of other requests.
pub(crate) fn routes() -> Router<Provider> {
    Router::new()
        .route("/v1/files/{id}", get(file).delete(remove))
        .route("/v1/files/{id}/content", get(download))
        .route("/v1/batches", post(create).get(list))
        .route("/v1/batches/{id}", get(look))
        .route("/v1/batches/{id}/cancel", post(cancel))
}

/// Uploads of files.
pub(crate) fn upload_route() -> Router<Provider> {
    Router::new().route("/v1/files", post(upload))
}

type Reply = Response<Body>;

fn reply(value: &Value) -> Reply {
    json_reply(StatusCode::OK, HeaderMap::new(), value)
}

fn missing(what: &str) -> Reply {
    error(StatusCode::NOT_FOUND, "not_found", &format!("No such {what}."))
}

fn failed(why: &io::Error) -> Reply {
    error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &why.to_string())
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Works on the batches on a thread where that may block, after a check of the key.
async fn with(
    provider: Provider,
    head: HeaderMap,
    work: impl FnOnce(&mut Batches, &Worker, f64) -> io::Result<Reply> + Send + 'static,
) -> Reply {
    if let Some(refused) = provider.refused(&head) {
        return refused;
    }
    let now = provider.now();
    let work = move || {
        let worker = provider.batch_worker();
        let mut batches = provider.batches();
        batches.catch_up(&worker, now)?;
        work(&mut batches, &worker, now)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(why)) => failed(&why),
        Err(why) => failed(&io::Error::other(why)),
    }
}

/// Whether a fault befalls the call with this number.
fn befalls(batches: &mut Batches, worker: &Worker, fault: BatchFault) -> bool {
    let number = batches.number();
    let mut random = random(worker.seed, &AnswerKey::of(&number.to_le_bytes()), 3);
    let befalls = worker.settings.faults.occurs(fault, &mut random);
    if befalls {
        batches.fault(fault);
    }
    befalls
}

async fn upload(State(provider): State<Provider>, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    if let Some(refused) = provider.refused(&head.headers) {
        return refused;
    }
    let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some((_, boundary)) = kind.split_once("boundary=") else {
        return error(StatusCode::BAD_REQUEST, "invalid_request", "send a form with a file and its purpose");
    };
    let boundary = boundary.trim_matches('"').to_owned();
    let Ok(folder) = tempfile::tempdir() else { return failed(&io::Error::other("no room for the file")) };
    let form = folder.path().join("form");
    match receive(body, &form).await {
        Ok(true) => {}
        Ok(false) => return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the file is too large"),
        Err(why) => return error(StatusCode::BAD_REQUEST, "bad_request", &why.to_string()),
    }
    with(provider, head.headers, move |batches, worker, _| {
        let file = folder.path().join("file");
        let form = take_apart(&form, &boundary, &file)?;
        if form.purpose != "batch" {
            return Ok(error(StatusCode::BAD_REQUEST, "invalid_request", "purpose must be batch"));
        }
        let copied = batches.folder.path().join("upload");
        std::fs::copy(&file, &copied)?;
        let id = batches.keep(&copied, form, unix())?;
        batches.report.uploaded += 1;
        if befalls(batches, worker, BatchFault::LoseUpload) {
            return Ok(broken());
        }
        Ok(shown(batches, &id))
    })
    .await
}

/// Writes a body to a file; `false`: it is too long.
async fn receive(body: Body, to: &std::path::Path) -> io::Result<bool> {
    let mut file = File::create(to)?;
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(io::Error::other)?;
        bytes += chunk.len() as u64;
        if bytes > FILE_BYTES + 4096 {
            return Ok(false);
        }
        file.write_all(&chunk)?;
    }
    file.flush()?;
    Ok(true)
}

fn shown(batches: &Batches, id: &str) -> Reply {
    let Some(file) = batches.files.get(id) else { return missing("file") };
    reply(&json!({"id": id, "object": "file", "bytes": file.bytes, "created_at": file.created_at,
        "filename": file.name, "purpose": file.purpose, "status": "processed"}))
}

async fn file(State(provider): State<Provider>, head: HeaderMap, Path(id): Path<String>) -> Reply {
    with(provider, head, move |batches, _, _| Ok(shown(batches, &id))).await
}

async fn remove(State(provider): State<Provider>, head: HeaderMap, Path(id): Path<String>) -> Reply {
    with(provider, head, move |batches, _, _| {
        let Some(file) = batches.files.remove(&id) else { return Ok(missing("file")) };
        std::fs::remove_file(&file.path)?;
        Ok(reply(&json!({"id": id, "object": "file", "deleted": true})))
    })
    .await
}

async fn download(State(provider): State<Provider>, head: HeaderMap, Path(id): Path<String>) -> Reply {
    let (send, found) = tokio::sync::oneshot::channel();
    let looked = with(provider, head, move |batches, worker, _| {
        let breaks = befalls(batches, worker, BatchFault::Break);
        let Some(file) = batches.files.get(&id) else { return Ok(missing("file")) };
        // The receiver waits below.
        let _ = send.send((file.path.clone(), file.bytes, breaks));
        Ok(reply(&Value::Null))
    })
    .await;
    let Ok((path, bytes, breaks)) = found.await else { return looked };
    let open = match File::open(&path) {
        Ok(open) => open,
        Err(why) => return failed(&why),
    };
    let end = if breaks { bytes / 2 } else { u64::MAX };
    let pieces = futures::stream::unfold((open, 0_u64), move |(mut open, sent)| async move {
        if breaks && sent >= end {
            return Some((Err(io::Error::other("the connection breaks")), (open, 0)));
        }
        let mut piece = vec![0; PIECE];
        let read = open.read(&mut piece);
        match read {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(piece), (open, sent + count as u64)))
            }
            Err(why) => Some((Err(why), (open, sent))),
        }
    });
    Response::new(Body::from_stream(pieces))
}

async fn create(State(provider): State<Provider>, head: HeaderMap, body: axum::body::Bytes) -> Reply {
    with(provider, head, move |batches, worker, now| {
        let Ok(request) = serde_json::from_slice::<Value>(&body) else {
            return Ok(error(StatusCode::BAD_REQUEST, "invalid_request", "the body is not valid JSON"));
        };
        let input = text(&request, "input_file_id").to_owned();
        let Some(file) = batches.files.get(&input) else { return Ok(missing("file")) };
        let count = io::BufRead::lines(io::BufReader::new(std::fs::File::open(&file.path)?)).count() as u64;
        if count == 0 || count > LINES {
            let message = format!("a batch has from 1 to {LINES} lines, not {count}");
            return Ok(error(StatusCode::BAD_REQUEST, "invalid_request", &message));
        }
        let number = batches.number();
        let (ending, late) = Batch::drawn(worker, number);
        let batch = Batch {
            id: format!("batch_mock{number}"),
            input,
            endpoint: text(&request, "endpoint").to_owned(),
            window: text(&request, "completion_window").to_owned(),
            metadata: request.get("metadata").cloned().unwrap_or_default(),
            created: now,
            created_at: unix(),
            lines: count,
            ending,
            cancelled: None,
            result: None,
            late,
        };
        let shown = batch.shown(now, worker.settings.delay);
        batches.add(batch);
        if befalls(batches, worker, BatchFault::LoseCreate) {
            return Ok(broken());
        }
        Ok(reply(&shown))
    })
    .await
}

/// A parameter of a query; ids and numbers have no characters that are escaped.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(named, _)| *named == name))
        .map(|(_, value)| value)
}

async fn list(State(provider): State<Provider>, head: HeaderMap, RawQuery(query): RawQuery) -> Reply {
    with(provider, head, move |batches, worker, now| {
        let query = query.unwrap_or_default();
        let after = parameter(&query, "after");
        let limit = parameter(&query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(20_usize);
        let mut all = batches.list().skip_while(|batch| after.is_some_and(|id| batch.id != id));
        if after.is_some() {
            all.next();
        }
        let shown: Vec<Value> = all
            .by_ref()
            .take(limit.clamp(1, 100))
            .map(|batch| batch.shown(now, worker.settings.delay))
            .collect();
        let id = |batch: Option<&Value>| batch.map(|batch| text(batch, "id").to_owned());
        Ok(reply(&json!({"object": "list", "first_id": id(shown.first()), "last_id": id(shown.last()),
            "has_more": all.next().is_some(), "data": shown})))
    })
    .await
}

async fn look(State(provider): State<Provider>, head: HeaderMap, Path(id): Path<String>) -> Reply {
    with(provider, head, move |batches, worker, now| {
        if befalls(batches, worker, BatchFault::Poll) {
            return Ok(error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the batches fell over"));
        }
        let Some(batch) = batches.find(&id) else { return Ok(missing("batch")) };
        let shown = batch.shown(now, worker.settings.delay);
        if batch.result.is_some() {
            batch.late = batch.late.saturating_sub(1);
        }
        Ok(reply(&shown))
    })
    .await
}

async fn cancel(State(provider): State<Provider>, head: HeaderMap, Path(id): Path<String>) -> Reply {
    with(provider, head, move |batches, worker, now| {
        let Some(batch) = batches.find(&id) else { return Ok(missing("batch")) };
        if batch.result.is_some() {
            return Ok(error(StatusCode::CONFLICT, "conflict", "the batch has ended"));
        }
        batch.cancelled = Some(now);
        batches.catch_up(worker, now)?;
        let Some(batch) = batches.find(&id) else { return Ok(missing("batch")) };
        Ok(reply(&batch.shown(now, worker.settings.delay)))
    })
    .await
}
