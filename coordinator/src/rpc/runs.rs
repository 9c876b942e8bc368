//! The client's side: runs are submitted, shown, stopped and removed; workers are shown and sent home.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use domain::ids::{RunId, WorkerName};
use proto::convert::{BadMessage, config_from_wire};
use proto::status::{Reason, Refusal};
use proto::v1;
use proto::v1::submit_request::Message;

use super::work::AbortOnDrop;
use crate::runs::{Runs, ending};
use crate::stream_limits::{StreamLimits, TimedSubmission, within};

/// Shortest time between two states that a watcher gets, the last one aside.
const CALM: Duration = Duration::from_millis(100);

/// Corpora that are taken at the same time: each has a thread that writes it. More of them wait at their clients.
pub(crate) const SUBMISSIONS: usize = 32;

/// Service `Runs`.
#[derive(Debug, Clone)]
pub(crate) struct RunsService {
    pub(crate) runs: Arc<Runs>,
    /// Turns true when the coordinator ends.
    pub(crate) draining: watch::Receiver<bool>,
    /// One permit for each corpus that may be taken now.
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
            return Err(bad("the first one has to be the header").into());
        };
        let config = config_from_wire(&header.config_json).map_err(Refusal::from)?;
        let source: String = header.source.chars().filter(|c| !c.is_control()).take(500).collect();
        let _permit = self.submissions.acquire().await.map_err(|_| ending())?;
        let clock = TimedSubmission::start(self.limits);
        let mut submission = self.runs.submit(run_id(header.run_id)?, config, source).await?;
        let sent = loop {
            match clock.next(stream.message()).await?.map(|request| request.message) {
                Some(Some(Message::Slice(slice))) => submission.push(slice).await?,
                Some(Some(Message::End(end))) => break end.records,
                Some(_) => return Err(bad("after the header come slices, then the end").into()),
                None => return Err(bad("the stream broke off before its end").into()),
            }
        };
        let (status, existed) = submission.finish(sent).await?;
        Ok(Response::new(v1::SubmitResponse { status: Some(status.into()), existed }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        Ok(Response::new(self.runs.status(&run_id).await?.into()))
    }

    async fn list(&self, _request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let runs = self.runs.list().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListResponse { runs }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::RunStatus, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        let (states, watched) = mpsc::channel(1);
        let task = tokio::spawn(watch_run(Arc::clone(&self.runs), run_id, states, self.draining.clone()));
        let ends_with_stream = AbortOnDrop(task.abort_handle());
        let watched = ReceiverStream::new(watched).inspect(move |_| {
            let _ = &ends_with_stream;
        });
        Ok(Response::new(Box::pin(watched)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let run_id = run_id(request.into_inner().run_id)?;
        Ok(Response::new(self.runs.cancel(&run_id).await?.into()))
    }

    async fn list_workers(
        &self,
        _request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let workers = self.runs.workers().into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::WorkerStatus>, Status> {
        let worker = WorkerName::new(request.into_inner().worker)
            .map_err(|error| Refusal::from(BadMessage::new("worker", error)))?;
        let status = self
            .runs
            .dismiss(&worker)
            .ok_or_else(|| Refusal::new(Reason::UnknownWorker, format!("no worker {worker} is connected")))?;
        Ok(Response::new(status.into()))
    }

    async fn inventory(
        &self,
        _request: Request<v1::InventoryRequest>,
    ) -> Result<Response<v1::InventoryResponse>, Status> {
        let runs = self.runs.inventory().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::InventoryResponse { runs }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::RemoveResponse>, Status> {
        self.runs.remove(&run_id(request.into_inner().run_id)?).await?;
        Ok(Response::new(v1::RemoveResponse {}))
    }
}

fn bad(reason: &str) -> Refusal {
    BadMessage::new("message", reason).into()
}

fn run_id(text: String) -> Result<RunId, Refusal> {
    Ok(RunId::new(text).map_err(|error| BadMessage::new("run_id", error))?)
}

/// Sends the state of a run whenever it changes, until it has ended, nobody listens or the coordinator ends.
async fn watch_run(
    runs: Arc<Runs>,
    run_id: RunId,
    watcher: mpsc::Sender<Result<v1::RunStatus, Status>>,
    mut draining: watch::Receiver<bool>,
) {
    let mut changes = runs.changed.subscribe();
    loop {
        let seen = *changes.borrow_and_update();
        let status = runs.status(&run_id).await;
        let last = status.as_ref().map_or(true, |status| status.state.has_ended());
        let sent = watcher.send(status.map(Into::into).map_err(Status::from)).await;
        if last || sent.is_err() {
            return;
        }
        let next = async {
            let _ = tokio::time::timeout(CALM, changes.wait_for(|change| change.ended != seen.ended)).await;
            // Compared with what was seen before the status was taken: nothing in between is missed.
            changes.wait_for(|change| *change != seen).await.map(drop)
        };
        let stop = async {
            // A sender that has gone means the same as one that says so.
            let _ = draining.wait_for(|draining| *draining).await;
        };
        tokio::select! {
            gone = next => if gone.is_err() { return },
            () = watcher.closed() => return,
            () = stop => {
                let refusal = ending();
                let _ = watcher.send(Err(refusal.into())).await;
                return;
            }
        }
    }
}
