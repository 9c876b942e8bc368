//! The committed parts of a run: named by the ledger, compared with it, and handed to the merge one by one.
//!
//! *Invariant*: memory holds for each shard what names its part, and the content of a few parts.

use std::iter;

use domain::ids::{PartHash, RunId, ShardIndex};
use domain::run::Shard;
use domain::tally::Tally;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use results::compact::{Compacted, MergeError, merge};
use results::scan::Part;
use results::store::{Store, StoreError};
use tokio::sync::mpsc;

use super::error::FinalizeError;
use crate::ledger::{LedgerError, ShardEntry, Totals};
use crate::run::Coordinator;
use crate::run::part_check::check;

/// Most rows of a final part.
const ROWS_PER_PART: u64 = 1_000_000;

/// Shards in a page of the ledger.
pub(super) const PAGE: usize = 1000;

/// Parts that are fetched at the same time.
const FETCHED: usize = 32;

/// A committed part as the ledger names it.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) shard: Shard,
    pub(super) key: String,
    bytes: u64,
    pub(super) hash: PartHash,
    pub(super) rows: u64,
}

/// Why a part is not there to be merged.
#[derive(Debug)]
enum Unfetched {
    /// It is missing, or not what was committed.
    Damaged { shard: ShardIndex, hash: PartHash, reason: String },
    /// Disk or store failed.
    Failed(FinalizeError),
}

impl Coordinator {
    /// The committed parts of a run in the order of the corpus, and the totals of their rows.
    pub(super) async fn committed(&self, run_id: &RunId) -> Result<(Vec<Located>, Totals), LedgerError> {
        let mut parts = Vec::new();
        let mut totals = Totals { tally: Tally::default(), committed: 0 };
        let mut next = ShardIndex(0);
        loop {
            let page = self.ledger.shards(run_id, next, PAGE).await?;
            let Some(last) = page.last() else { return Ok((parts, totals)) };
            next = ShardIndex(last.shard.end());
            for ShardEntry { shard, part, .. } in page {
                let Some(part) = part else { continue };
                totals.tally.add(&part.tally);
                totals.committed += 1;
                let (bytes, hash, rows) = (part.bytes, part.hash, part.tally.records);
                parts.push(Located { shard, key: part.key, bytes, hash, rows });
            }
        }
    }
}

impl Located {
    /// The part, compared with its number of bytes and hash in the ledger.
    async fn fetch(&self, folder: &Store) -> Result<Part, Unfetched> {
        let damaged =
            |reason: String| Unfetched::Damaged { shard: self.shard.index, hash: self.hash, reason };
        let local = folder.local_path(&self.key).map(|path| Ok(Part::File(path)));
        let found = match local {
            Some(found) => found,
            None => folder.fetch(&self.key, self.bytes).await,
        };
        let part = match found {
            Err(error @ (StoreError::Missing { .. } | StoreError::Size { .. })) => {
                return Err(damaged(error.to_string()));
            }
            part => part.map_err(|error| Unfetched::Failed(error.into()))?,
        };
        let (bytes, hash) = (self.bytes, self.hash);
        let checking = tokio::task::spawn_blocking(move || check(&part, bytes, hash).map(|()| part));
        match checking.await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(failed)) if failed.is_transient => {
                Err(Unfetched::Failed(FinalizeError::of(true, &failed)))
            }
            Ok(Err(found)) => Err(damaged(found.to_string())),
            Err(error) => Err(Unfetched::Failed(error.into())),
        }
    }

    /// The part, whatever its content.
    pub(super) async fn found(&self, folder: &Store) -> Result<Part, StoreError> {
        folder.fetch(&self.key, self.bytes).await
    }
}

/// Every part in its order, several fetched at the same time.
fn all<'a>(
    folder: &'a Store,
    parts: &'a [Located],
) -> impl Stream<Item = Result<Part, Unfetched>> + Send + 'a {
    stream::iter(parts.iter().map(|part| part.fetch(folder).boxed())).buffered(FETCHED)
}

/// Fetches every part and compares it with the ledger.
async fn verify(folder: &Store, parts: &[Located]) -> Result<(), FinalizeError> {
    let mut damage = Damage::default();
    let mut fetched = all(folder, parts);
    while let Some(part) = fetched.next().await {
        match part {
            Ok(_) => {}
            Err(Unfetched::Damaged { shard, hash, reason }) => damage.add(shard, hash, || reason),
            Err(Unfetched::Failed(error)) => return Err(error),
        }
    }
    damage.none()
}

/// Merges the parts into final ones in temporary files, and computes the fingerprint. Each part is compared with the ledger
/// before it is merged; where one differs, the others are compared too.
pub(super) async fn merge_parts(
    folder: &Store,
    parts: &[Located],
) -> Result<(Vec<Compacted>, String), FinalizeError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let scratch = folder.scratch();
    let span = tracing::info_span!("merge", parts = parts.len());
    let merging = tokio::task::spawn_blocking(move || {
        let _merging = span.entered();
        merge(iter::from_fn(|| receiver.blocking_recv()), &scratch, ROWS_PER_PART)
    });
    let fetching = async {
        let mut fetched = all(folder, parts);
        while let Some(part) = fetched.next().await {
            let failed = part.is_err();
            // The merge is over where it takes no more.
            if sender.send(part).await.is_err() || failed {
                break;
            }
        }
        drop(sender);
    };
    let ((), merged) = tokio::join!(fetching, merging);
    match merged? {
        Ok((files, fingerprint)) => Ok((files, fingerprint.to_string())),
        Err(MergeError::Compact(error)) => Err(error.into()),
        Err(MergeError::Source(Unfetched::Failed(error))) => Err(error),
        Err(MergeError::Source(Unfetched::Damaged { shard, hash, reason })) => {
            verify(folder, parts).await?;
            // It was damaged a moment ago.
            Err(FinalizeError::Damaged { parts: vec![(shard, hash)], reason })
        }
    }
}

/// Damaged parts.
#[derive(Debug, Default)]
pub(super) struct Damage {
    parts: Vec<(ShardIndex, PartHash)>,
    reason: String,
}

impl Damage {
    pub(super) fn add(&mut self, shard: ShardIndex, hash: PartHash, reason: impl FnOnce() -> String) {
        if self.parts.is_empty() {
            self.reason = reason();
        }
        self.parts.push((shard, hash));
    }

    pub(super) fn none(self) -> Result<(), FinalizeError> {
        let Self { parts, reason } = self;
        if parts.is_empty() { Ok(()) } else { Err(FinalizeError::Damaged { parts, reason }) }
    }
}
