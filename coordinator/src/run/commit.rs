//! Commits an uploaded part: check it, stage it, put it if absent, then record it in one ledger transaction.
//!
//! *Invariants*: a part of another process holds the results of its shard, as far as they can be told without computing them
//! again ([`results::part::check`]), before store or ledger get it; a part is durable in the store before the ledger names
//! it; its key holds shard, fencing token and hash, so a part under a stale token never replaces that of the current lease;
//! commits are idempotent. An upload holds memory permits for the bytes that have arrived, and ends when its lease cannot be
//! committed any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, interval_at};
use tracing::Instrument as _;

use domain::ids::{FencingToken, PartHash};
use domain::run::Shard;
use domain::tally::Tally;
use proto::convert::{LeaseKey, PartHeader};
use proto::status::{ApiError, ErrorReason};
use results::crash::{Point, reach};

use crate::ledger::{CommitVerdict, CommittedPart};
use crate::refusals::{ending, ledger_refusal, storage, unknown_run};
use crate::run::upload_limit::UploadPermit;
use crate::run::{Coordinator, part_check};
use crate::scheduler::leases::{Admission, CommitEffect, LeaseError};

pub(crate) use results::layout::STAGED;

/// Largest part that is accepted.
const MAX_PART_BYTES: u64 = 1 << 30;

/// How often the lease of a running upload is checked.
const LEASE_CHECK: Duration = Duration::from_secs(1);

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The part is committed.
    New,
    /// It was committed before under the same token.
    Already,
}

/// Who sends a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// This process: the part holds what it computed, and its counts are its own.
    ThisProcess,
    /// Another program, which may send anything.
    Peer,
}

impl Coordinator {
    /// Receives a part and commits it.
    pub async fn commit(
        self: &Arc<Self>,
        header: PartHeader,
        chunks: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
        sender: Sender,
    ) -> Result<Committed, ApiError> {
        let committed = self.take(&header, chunks, sender).await;
        match &committed {
            Ok((Committed::New, tally)) => self.metrics.committed(header.bytes, tally),
            Ok((Committed::Already, _)) => self.metrics.committed_before(),
            Err(refusal) => self.metrics.refused(refusal),
        }
        if let Err(refusal) = &committed
            && refusal.reason == ErrorReason::PartRefused
        {
            self.part_refused(&header, &refusal.message);
        }
        committed.map(|(committed, _)| committed)
    }

    async fn take(
        self: &Arc<Self>,
        header: &PartHeader,
        chunks: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
        sender: Sender,
    ) -> Result<(Committed, Tally), ApiError> {
        let key = header.key.clone();
        not_too_large(header)?;
        self.note_contact();
        self.admit(header)?;
        let mut permit = self.uploads.begin();
        let receiving = tracing::info_span!("receive", bytes = header.bytes);
        let received = receive(header, chunks, &mut permit).instrument(receiving);
        let bytes = self.while_admitted(header, received).await?;
        let write = self.uploads.write().await.ok_or_else(ending)?;
        reach(Point::PartReceived);
        let tally = match self.admit(header)? {
            Admission::New(_) if sender == Sender::ThisProcess => header.tally.clone(),
            Admission::New(shard) => self.check_part(header, shard, &bytes).await?,
            Admission::Over => {
                return self.committed_before(&key).await.map(|()| (Committed::Already, Tally::default()));
            }
        };
        let name = part_name(&key, header.hash);
        let folder = self.folder(&key.run_id)?;
        let part =
            CommittedPart { key: name.clone(), bytes: header.bytes, hash: header.hash, tally: tally.clone() };
        if mutated!(RecordedBeforePut) {
            let _ = self.ledger.commit(&key.run_id, key.shard, key.token, part.clone()).await;
        }
        // `AlreadyThere`: an earlier try under the same token stored the same bytes, as the hash in the name proves.
        let stored = folder.put_if_absent(&name, bytes).instrument(tracing::info_span!("put")).await;
        stored.map_err(|error| self.stalled(&key.run_id, storage(&error)))?;
        drop((permit, write));
        reach(Point::PartStored);
        let verdict = self.ledger.commit(&key.run_id, key.shard, key.token, part).await;
        match verdict.map_err(|error| self.stalled(&key.run_id, ledger_refusal(&error)))? {
            CommitVerdict::Stale { current } => {
                let _ = folder.delete(&name).await;
                Err(refusal(&key, LeaseError::Stale { current }))
            }
            verdict => {
                reach(Point::CommitRecorded);
                self.apply_commit(header, &tally);
                let committed = verdict == CommitVerdict::Already;
                Ok((if committed { Committed::Already } else { Committed::New }, tally))
            }
        }
    }

    /// Reads the whole of a part of a peer and compares it with its shard; returns the counts over its rows. The counts in the
    /// header are the worker's word and are not used.
    async fn check_part(&self, header: &PartHeader, shard: Shard, bytes: &Bytes) -> Result<Tally, ApiError> {
        let run_id = &header.key.run_id;
        let corpus = self.with_run(run_id, |run| run.corpus.clone()).ok_or_else(|| unknown_run(run_id))?;
        let corpus = corpus.ok_or_else(|| {
            let message =
                format!("the corpus of run {run_id} cannot be read, so its parts cannot be checked");
            ApiError::new(ErrorReason::Storage, message)
        })?;
        let _checking = self.checking.acquire().await.map_err(|_| ending())?;
        let span = tracing::info_span!("check", bytes = bytes.len());
        part_check::admit(run_id.clone(), shard, corpus, bytes.clone()).instrument(span).await
    }

    /// Whether the shard, which is committed, was committed under this token. What is uploaded again is neither checked nor
    /// stored.
    async fn committed_before(&self, key: &LeaseKey) -> Result<(), ApiError> {
        let shards = self.ledger.shards(&key.run_id, key.shard, 1).await;
        let shards = shards.map_err(|error| self.stalled(&key.run_id, ledger_refusal(&error)))?;
        match shards.first().filter(|entry| entry.shard.index == key.shard) {
            Some(entry) if entry.token == key.token && entry.part.is_some() => Ok(()),
            entry => {
                let current = entry.map_or_else(FencingToken::default, |entry| entry.token);
                Err(refusal(key, LeaseError::Stale { current }))
            }
        }
    }

    /// A part was refused: its lease ends as failed, and the worker has one more against it. Where another worker holds the
    /// lease, it keeps it.
    fn part_refused(&self, header: &PartHeader, why: &str) {
        let PartHeader { key, worker, .. } = header;
        tracing::error!(run = %key.run_id, shard = %key.shard, token = %key.token, %worker, why, "refused a part");
        let held = self.with_run(&key.run_id, |run| run.leases.held_by(worker));
        if held.is_some_and(|held| held.contains(&(key.shard, key.token))) {
            self.release_leases(std::slice::from_ref(key), true);
        }
        self.count_refused_part(worker, why);
    }

    /// Checks whether a commit may be tried. For a committed shard the ledger decides by its token.
    fn admit(&self, header: &PartHeader) -> Result<Admission, ApiError> {
        let key = &header.key;
        let scheduler = self.scheduler();
        let run = scheduler.active.get(&key.run_id).ok_or_else(|| unknown_run(&key.run_id))?;
        let admission = run.leases.admit(key.shard, key.token).map_err(|refused| refusal(key, refused))?;
        match admission {
            Admission::New(shard) if header.tally.records != u64::from(shard.len) => {
                let (rows, records) = (header.tally.records, shard.len);
                let message = format!("the part has {rows} rows, its shard {records} records");
                Err(ApiError::new(ErrorReason::PartRefused, message))
            }
            Admission::New(_) | Admission::Over => Ok(admission),
        }
    }

    /// Waits for the part while its commit may be tried: until the shard is leased again or committed under another token, or
    /// its run ends. An expired lease does not end the upload: its part is still valid.
    async fn while_admitted<T>(
        &self,
        header: &PartHeader,
        receiving: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        tokio::pin!(receiving);
        let mut check = interval_at(Instant::now() + LEASE_CHECK, LEASE_CHECK);
        loop {
            tokio::select! {
                biased;
                received = &mut receiving => return received,
                _ = check.tick() => drop(self.admit(header)?),
            }
        }
    }

    /// Applies a commit of the ledger to the scheduler state.
    fn apply_commit(self: &Arc<Self>, header: &PartHeader, tally: &Tally) {
        let key = &header.key;
        let (now, mut new) = (self.now(), false);
        let complete = self.with_run(&key.run_id, |run| {
            run.stalled = None;
            // Counted once, also when two calls with the same token reach this point.
            if run.leases.mark_committed(now, key.shard) == Ok(CommitEffect::New) || mutated!(CommittedTwice)
            {
                run.tally.add(tally);
                run.rate.add(now, tally.records);
                new = true;
            }
            run.leases.is_complete()
        });
        if new {
            self.credit(&header.worker, tally.records);
        }
        if complete == Some(true) {
            self.begin_finalize(key.run_id.clone());
        }
        self.notify_watchers(false);
    }
}

/// Refuses a part that is too large before its bytes are received.
fn not_too_large(header: &PartHeader) -> Result<(), ApiError> {
    if header.bytes <= MAX_PART_BYTES {
        return Ok(());
    }
    let message = format!(
        "the part has {} bytes, at most {MAX_PART_BYTES} are accepted: use a smaller fleet.shard_size",
        header.bytes
    );
    Err(ApiError::new(ErrorReason::TooLarge, message))
}

/// Receives the bytes, acquiring memory for each chunk before reading the next, and compares them with the header.
async fn receive(
    header: &PartHeader,
    mut chunks: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
    permit: &mut UploadPermit<'_>,
) -> Result<Bytes, ApiError> {
    let expected = usize::try_from(header.bytes).unwrap_or(usize::MAX);
    let damaged = |what: String| ApiError::new(ErrorReason::DamagedPart, what);
    // A single chunk is used as it is; several chunks are concatenated.
    let mut part = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let had = part.len() + joined.len();
        if had + chunk.len() > expected {
            return Err(damaged(format!("the part is longer than the {expected} bytes in its header")));
        }
        permit.grow(chunk.len()).await;
        if had == 0 {
            part = chunk;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&std::mem::take(&mut part));
        }
        // Capacity doubles as bytes arrive: announced bytes take no memory.
        joined.reserve(chunk.len().max(joined.len()).min(expected - joined.len()));
        joined.extend_from_slice(&chunk);
    }
    let part = if joined.is_empty() { part } else { joined.freeze() };
    if part.len() != expected {
        return Err(damaged(format!(
            "the part has {} bytes instead of the {expected} in its header",
            part.len()
        )));
    }
    verified(part, header.hash)
}

fn verified(part: Bytes, hash: PartHash) -> Result<Bytes, ApiError> {
    if PartHash::of(&part) == hash {
        Ok(part)
    } else {
        Err(ApiError::new(ErrorReason::DamagedPart, "the part does not have the hash in its header"))
    }
}

/// The key of a staged part.
fn part_name(key: &LeaseKey, hash: PartHash) -> String {
    results::layout::staged_part(key.shard, key.token, hash)
}

fn refusal(key: &LeaseKey, refused: LeaseError) -> ApiError {
    if let LeaseError::Stale { current } = refused {
        tracing::info!(run = %key.run_id, shard = %key.shard, token = %key.token, %current, "refused a late commit");
    }
    let (reason, message) = match refused {
        LeaseError::UnknownShard => {
            (ErrorReason::UnknownShard, format!("run {} has no shard {}", key.run_id, key.shard))
        }
        LeaseError::Stale { current } => (
            ErrorReason::StaleToken,
            format!(
                "shard {} of run {} was leased again: token {} is old, the newest is {current}",
                key.shard, key.run_id, key.token
            ),
        ),
        LeaseError::Ended => (ErrorReason::StaleToken, refused.to_string()),
    };
    ApiError::new(reason, message)
}

#[cfg(test)]
mod tests {
    use domain::ids::{RunId, ShardIndex, WorkerName};
    use futures::stream;

    use super::*;
    use crate::run::upload_limit::UploadLimit;

    fn header(bytes: &[u8]) -> PartHeader {
        PartHeader {
            key: LeaseKey::new(RunId::new("r").unwrap(), ShardIndex(1), FencingToken(2)),
            worker: WorkerName::new("w").unwrap(),
            bytes: bytes.len() as u64,
            hash: PartHash::of(bytes),
            tally: Tally::default(),
        }
    }

    async fn received(header: &PartHeader, chunks: &[&'static [u8]]) -> Result<Bytes, ApiError> {
        let (limit, chunks) =
            (UploadLimit::default(), chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))));
        receive(header, stream::iter(chunks), &mut limit.begin()).await
    }

    #[tokio::test]
    async fn a_part_must_match_its_header() {
        let header = header(b"abcdef");
        assert_eq!(received(&header, &[b"abcdef"]).await.unwrap(), "abcdef");
        assert_eq!(received(&header, &[b"ab", b"", b"cdef"]).await.unwrap(), "abcdef");
        for wrong in [&[b"abcde" as &[u8]] as &[&[u8]], &[b"abcdef", b"g"], &[b"abcdeg"], &[]] {
            let refusal = received(&header, wrong).await.unwrap_err();
            assert_eq!(refusal.reason, ErrorReason::DamagedPart, "{wrong:?}");
        }
        let huge = PartHeader { bytes: MAX_PART_BYTES + 1, ..header };
        assert_eq!(not_too_large(&huge).unwrap_err().reason, ErrorReason::TooLarge);
    }

    #[test]
    fn names_of_parts_never_collide_between_tokens() {
        let one = header(b"a");
        let mut two = header(b"a");
        two.key.token = FencingToken(3);
        assert_ne!(part_name(&one.key, one.hash), part_name(&two.key, two.hash));
        assert!(part_name(&one.key, one.hash).starts_with("parts/0000000001-0000000002-"));
    }
}
