//! Outcomes → part → `CommitShard`, tried again until it is heard or the lease is over.

use bytes::Bytes;
use futures::stream;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tracing::Span;

use cli_support::traces;
use domain::ids::{PartHash, RunId, WorkerName};
use domain::outcome::Outcome;
use domain::tally::Tally;
use proto::channel::{CHUNK_BYTES, fleet_client};
use proto::convert::{LeaseKey, PartHeader};
use proto::status::is_transient;
use proto::v1;
use proto::v1::commit_shard_request::Message;

use crate::backoff::Backoff;
use crate::deadline::DeadlineWatch;

/// A shard's result, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The Parquet bytes.
    pub(crate) bytes: Bytes,
    /// Their hash.
    pub(crate) hash: PartHash,
    /// Counts over the rows.
    pub(crate) tally: Tally,
}

impl Part {
    /// Writes `outcomes` as a part. Blocks: run it where there is room to compute.
    pub(crate) fn of(run_id: &RunId, outcomes: &[Outcome]) -> Result<Self, results::part::PartError> {
        let bytes = results::part::write_part(run_id, outcomes)?;
        Ok(Self { hash: PartHash::of(&bytes), tally: Tally::of(outcomes), bytes })
    }
}

/// How a commit ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The coordinator has it.
    Committed,
    /// The lease was over before the coordinator answered.
    LeaseOver,
    /// The coordinator does not want it.
    Refused(Status),
}

/// Commits `part` under `key`. After the lease's deadline nothing more is sent.
pub(crate) async fn commit(
    channel: &Channel,
    key: &LeaseKey,
    worker: &WorkerName,
    part: &Part,
    mut watch: DeadlineWatch,
) -> Ending {
    let mut over = watch.clone();
    let trying = async {
        let mut backoff = Backoff::new();
        loop {
            if watch.is_over(Instant::now()) {
                return Ending::LeaseOver;
            }
            match try_once(channel, key, worker, part).await {
                Ok(()) => return Ending::Committed,
                Err(status) if is_transient(&status) => {
                    tracing::debug!(%status, shard = %key.shard, "a commit was not heard; trying again");
                }
                Err(status) => return Ending::Refused(status),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = watch.over() => return Ending::LeaseOver,
            }
        }
    };
    tokio::select! {
        ending = trying => ending,
        () = over.over() => Ending::LeaseOver,
    }
}

async fn try_once(channel: &Channel, key: &LeaseKey, worker: &WorkerName, part: &Part) -> Result<(), Status> {
    let header = PartHeader {
        key: key.clone(),
        worker: worker.clone(),
        bytes: part.bytes.len() as u64,
        hash: part.hash,
        tally: part.tally.clone(),
    };
    let mut left = part.bytes.clone();
    let chunks = std::iter::from_fn(move || {
        (!left.is_empty()).then(|| Message::Chunk(left.split_to(left.len().min(CHUNK_BYTES))))
    });
    let messages = std::iter::once(Message::Header((&header).into()))
        .chain(chunks)
        .map(|message| v1::CommitShardRequest { message: Some(message) });
    let mut request = Request::new(stream::iter(messages));
    if let Some(context) = traces::carried(&Span::current()).and_then(|context| context.parse().ok()) {
        request.metadata_mut().insert(traces::TRACEPARENT, context);
    }
    fleet_client(channel.clone()).commit_shard(request).await?;
    Ok(())
}
