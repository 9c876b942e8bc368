//! Writes outcomes as a part and commits it by `CommitShard`, retried until it is acknowledged or the lease has
//! expired.

use bytes::Bytes;
use futures::stream;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Status};
use tracing::Span;

use cli_support::traces;
use domain::ids::{PartHash, RunId};
use domain::outcome::Outcome;
use domain::tally::Tally;
use proto::channel::{CHUNK_BYTES, Connection, fleet_client};
use proto::convert::{LeaseKey, PartHeader};
use proto::status::is_transient;
use proto::v1;
use proto::v1::commit_shard_request::Message;

use crate::backoff::Backoff;
use crate::deadline::DeadlineWatch;
use crate::remote::Identity;

/// A shard's result, ready to be committed.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Parquet file of the rows.
    pub(crate) bytes: Bytes,
    pub(crate) hash: PartHash,
    /// Counts over the rows.
    pub(crate) tally: Tally,
}

impl Part {
    /// Writes `outcomes` as a part. Blocks: run it on the CPU pool.
    pub(crate) fn of(run_id: &RunId, outcomes: &[Outcome]) -> Result<Self, results::part::PartError> {
        let bytes = results::part::write_part(run_id, outcomes)?;
        Ok(Self { hash: PartHash::of(&bytes), tally: Tally::of(outcomes), bytes })
    }
}

/// Result of a commit.
#[derive(Debug)]
pub(crate) enum CommitOutcome {
    /// The coordinator has acknowledged it.
    Committed,
    /// The lease expired before the coordinator answered.
    LeaseExpired,
    /// The coordinator refused it for good.
    Refused(Status),
}

/// Commits `part` under `key`, as the worker that joined last: `identity` changes when it joins again. After the lease's
/// deadline nothing more is sent.
pub(crate) async fn commit(
    connection: &Connection,
    key: &LeaseKey,
    identity: &watch::Receiver<Option<Identity>>,
    part: &Part,
    mut watch: DeadlineWatch,
) -> CommitOutcome {
    let (mut expiry, mut rejoined) = (watch.clone(), identity.clone());
    let committing = async {
        let mut backoff = Backoff::new();
        loop {
            if watch.is_expired(Instant::now()) {
                return CommitOutcome::LeaseExpired;
            }
            let Some(current) = rejoined.borrow_and_update().clone() else {
                return CommitOutcome::LeaseExpired;
            };
            match try_once(connection, key, current, part).await {
                Ok(()) => return CommitOutcome::Committed,
                Err(status) if is_transient(&status) => {
                    tracing::debug!(%status, shard = %key.shard, "a commit was not acknowledged; retrying");
                }
                Err(status) => return CommitOutcome::Refused(status),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                // Joined again, at this coordinator or another one: it takes the part at once.
                Ok(()) = rejoined.changed() => {}
                () = watch.expired() => return CommitOutcome::LeaseExpired,
            }
        }
    };
    tokio::select! {
        outcome = committing => outcome,
        () = expiry.expired() => CommitOutcome::LeaseExpired,
    }
}

async fn try_once(
    connection: &Connection,
    key: &LeaseKey,
    identity: Identity,
    part: &Part,
) -> Result<(), Status> {
    let header = PartHeader {
        key: key.clone(),
        worker: identity.worker,
        bytes: part.bytes.len() as u64,
        hash: part.hash,
        tally: part.tally.clone(),
    };
    let mut left = part.bytes.clone();
    let chunks = std::iter::from_fn(move || {
        (!left.is_empty()).then(|| Message::Chunk(left.split_to(left.len().min(CHUNK_BYTES))))
    });
    let mut header = v1::CommitHeader::from(&header);
    header.session = identity.session.expose().to_vec();
    let messages = std::iter::once(Message::Header(header))
        .chain(chunks)
        .map(|message| v1::CommitShardRequest { message: Some(message) });
    let mut request = Request::new(stream::iter(messages));
    if let Some(context) = traces::carried(&Span::current()).and_then(|context| context.parse().ok()) {
        request.metadata_mut().insert(traces::TRACEPARENT, context);
    }
    fleet_client(connection.clone()).commit_shard(request).await?;
    Ok(())
}
