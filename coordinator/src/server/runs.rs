//! gRPC service `Runs`, for clients: submit, show, cancel and remove runs; list and drain workers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use domain::ids::{RunId, WorkerName};
use proto::convert::{BadMessage, config_from_wire};
use proto::status::{ApiError, ErrorReason};
use proto::v1;
use proto::v1::submit_request::Message;

use crate::refusals::ending;
use crate::run::{Change, Coordinator};
use crate::server::stream_limits::{StreamLimits, TimedSubmission, within};

/// Shortest time between two statuses sent to a watcher; the last one is sent at once.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Submissions that are received at the same time: each occupies a thread that writes. Further ones wait (backpressure).
pub(crate) const SUBMISSIONS: usize = 32;

/// The service `Runs`.
#[derive(Debug, Clone)]
pub(crate) struct RunsService {
    pub(crate) coordinator: Arc<Coordinator>,
    /// Turns true when the coordinator shuts down.
    pub(crate) draining: watch::Receiver<bool>,
    /// A permit for each submission that may be received now.
    pub(crate) submissions: Arc<Semaphore>,
    pub(crate) limits: StreamLimits,
}

#[tonic::async_trait]
impl v1::runs_server::Runs for RunsService {
    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let mut stream = request.into_inner();
        let first = within(self.limits.first_message, "the header of the run", stream.message()).await?;
        let Some(Message::Header(header)) = first.and_then(|request| request.message) else {
            return Err(bad("the first message must be the header").into());
        };
        let config = config_from_wire(&header.config_json).map_err(ApiError::from)?;
        let source: String = header.source.chars().filter(|c| !c.is_control()).take(500).collect();
        let _permit = self.submissions.acquire().await.map_err(|_| ending())?;
        let clock = TimedSubmission::start(self.limits);
        let mut submission = self.coordinator.submit(run_id(header.run_id)?, config, source).await?;
        let sent = loop {
            match clock.next(stream.message()).await?.map(|request| request.message) {
                Some(Some(Message::Slice(slice))) => submission.push(slice).await?,
                Some(Some(Message::End(end))) => break end.records,
                Some(_) => return Err(bad("only slices and then the end may follow the header").into()),
                None => return Err(bad("the stream broke off before its end").into()),
            }
        };
        let (status, existed) = submission.finish(sent).await?;
        Ok(Response::new(v1::SubmitResponse { status: Some(status.into()), existed }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        Ok(Response::new(self.coordinator.status(&run_id).await?.into()))
    }

    async fn list(&self, _request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let runs = self.coordinator.list().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListResponse { runs }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::RunStatus, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        let watch = RunWatch {
            changes: self.coordinator.changed.subscribe(),
            coordinator: Arc::clone(&self.coordinator),
            run_id,
            draining: self.draining.clone(),
            seen: None,
            is_over: false,
        };
        Ok(Response::new(Box::pin(stream::unfold(watch, RunWatch::next))))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        Ok(Response::new(self.coordinator.cancel(&run_id).await?.into()))
    }

    async fn list_workers(
        &self,
        _request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let workers = self.coordinator.workers().into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::WorkerStatus>, Status> {
        let worker = WorkerName::new(request.into_inner().worker)
            .map_err(|error| ApiError::from(BadMessage::new("worker", error)))?;
        let status = self.coordinator.drain_worker(&worker).ok_or_else(|| {
            ApiError::new(
                ErrorReason::UnknownWorker,
                format!("worker {worker} is not connected: `coordinator status` lists the workers"),
            )
        })?;
        Ok(Response::new(status.into()))
    }

    async fn inventory(
        &self,
        _request: Request<v1::InventoryRequest>,
    ) -> Result<Response<v1::InventoryResponse>, Status> {
        let runs = self.coordinator.inventory().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::InventoryResponse { runs }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::RemoveResponse>, Status> {
        self.coordinator.remove(&run_id(request.into_inner().run_id)?).await?;
        Ok(Response::new(v1::RemoveResponse {}))
    }
}

fn bad(reason: &str) -> ApiError {
    BadMessage::new("message", reason).into()
}

fn run_id(text: String) -> Result<RunId, ApiError> {
    Ok(RunId::new(text).map_err(|error| BadMessage::new("run_id", error))?)
}

/// Stream of a run's statuses, one for each change, until the run has ended or the coordinator shuts down. It needs no
/// task of its own, so it ends with the call.
struct RunWatch {
    coordinator: Arc<Coordinator>,
    run_id: RunId,
    changes: watch::Receiver<Change>,
    draining: watch::Receiver<bool>,
    /// The change counter before the latest status was taken.
    seen: Option<Change>,
    is_over: bool,
}

impl RunWatch {
    /// The next status, and the state of the stream after it.
    async fn next(mut self) -> Option<(Result<v1::RunStatus, Status>, Self)> {
        if self.is_over {
            return None;
        }
        if let Some(seen) = self.seen {
            let (changes, draining) = (&mut self.changes, &mut self.draining);
            let next = async {
                let _ = tokio::time::timeout(
                    WATCH_INTERVAL,
                    changes.wait_for(|change| change.ended != seen.ended),
                )
                .await;
                // Compared with the counter before the status was taken: no change in between is missed.
                changes.wait_for(|change| *change != seen).await.map(drop)
            };
            let stop = async {
                // A dropped sender is a shutdown, too.
                let _ = draining.wait_for(|draining| *draining).await;
            };
            tokio::select! {
                gone = next => if gone.is_err() { return None },
                () = stop => {
                    self.is_over = true;
                    return Some((Err(ending().into()), self));
                }
            }
        }
        self.seen = Some(*self.changes.borrow_and_update());
        let status = self.coordinator.status(&self.run_id).await;
        self.is_over = status.as_ref().map_or(true, |status| status.state.has_ended());
        Some((status.map(Into::into).map_err(Status::from), self))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use proto::v1::runs_server::Runs as _;
    use results::store::Store;

    use super::*;
    use crate::ledger::{Ledger as _, MemoryLedger, suite};
    use crate::run::{OwnerDeadline, Parts, Recovery};

    #[tokio::test]
    async fn a_watch_ends_with_its_call() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        ledger.create_run(suite::run("r")).await.unwrap();
        let (store, scratch) = (Store::local(folder.path()).unwrap(), folder.path().to_owned());
        let runs = Coordinator::open(Parts {
            ledger,
            store,
            scratch,
            recovery: Recovery::Grace,
            owner: OwnerDeadline::unlimited(),
        })
        .await
        .unwrap();
        let (drain, draining) = watch::channel(false);
        let service = RunsService {
            coordinator: Arc::clone(&runs),
            draining,
            submissions: Arc::new(Semaphore::new(1)),
            limits: StreamLimits::default(),
        };
        let watch = async || {
            let request = Request::new(v1::WatchRequest { run_id: "r".to_owned() });
            service.watch(request).await.unwrap().into_inner()
        };
        let held = Arc::strong_count(&runs);
        let mut watched = watch().await;
        assert_eq!(watched.next().await.unwrap().unwrap().state, "running");
        drop(watched);
        assert_eq!(Arc::strong_count(&runs), held, "it is freed at once, without another task having run");

        let mut watched = watch().await;
        assert_eq!(watched.next().await.unwrap().unwrap().run_id, "r");
        runs.notify_watchers(false);
        assert_eq!(watched.next().await.unwrap().unwrap().run_id, "r");
        drain.send_replace(true);
        assert!(watched.next().await.unwrap().is_err(), "the coordinator shuts down");
        assert!(watched.next().await.is_none());
    }
}
