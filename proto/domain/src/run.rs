//! A run, its shards and their leases.

use serde::{Deserialize, Serialize};

use crate::config::{RunConfig, StoredConfig};
use crate::ids::{ConfigHash, CorpusHash, FencingToken, RunId, ShardIndex, WorkerName};

/// What a run is: fixed when it is submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredPlan")]
pub struct RunPlan {
    /// Names the run.
    pub run_id: RunId,
    /// Content and order of its records.
    pub corpus_hash: CorpusHash,
    /// Hash of `config`.
    pub config_hash: ConfigHash,
    /// The resolved configuration.
    pub config: RunConfig,
    /// How many records.
    pub records: u64,
    /// How many records a shard holds (the last may hold fewer).
    pub shard_size: u32,
    /// Version of the software that planned it.
    pub version: String,
    /// Where an older release, which kept the endpoint of its provider in a run, called the model. `None`: the rules
    /// propose, or this release planned the run.
    #[serde(skip)]
    pub former_endpoint: Option<String>,
}

/// A plan at rest, which an older release may have written.
#[derive(Deserialize)]
struct StoredPlan {
    run_id: RunId,
    corpus_hash: CorpusHash,
    config_hash: ConfigHash,
    config: StoredConfig,
    records: u64,
    shard_size: u32,
    version: String,
}

impl From<StoredPlan> for RunPlan {
    fn from(stored: StoredPlan) -> Self {
        Self {
            run_id: stored.run_id,
            corpus_hash: stored.corpus_hash,
            config_hash: stored.config.hash_or(stored.config_hash),
            config: stored.config.config,
            records: stored.records,
            shard_size: stored.shard_size,
            version: stored.version,
            former_endpoint: stored.config.former_endpoint,
        }
    }
}

impl RunPlan {
    /// How its corpus is cut before anything is halved.
    pub fn cut(&self) -> Cut {
        Cut { records: u32::try_from(self.records).unwrap_or(u32::MAX), shard_size: self.shard_size.max(1) }
    }
}

/// A corpus in shards of equal length, the last one aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many records.
    pub records: u32,
    /// How many of them a shard holds; at least 1.
    pub shard_size: u32,
}

impl Cut {
    /// How many shards.
    pub const fn shards(self) -> u32 {
        self.records.div_ceil(self.shard_size)
    }

    /// The shard that holds the record at `position`; `None`: there is no such record.
    pub fn shard_at(self, position: u32) -> Option<Shard> {
        let first = position - position % self.shard_size;
        let len = self.shard_size.min(self.records.checked_sub(first)?);
        (position < self.records).then_some(Shard { index: ShardIndex(first), len })
    }
}

/// A contiguous slice of the corpus: the unit of leasing.
///
/// A run begins with shards of equal length. One of them can be halved, and each half again: which halves there can be
/// follows from where they lie, so the length of a shard says which other shards came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Position of its first record: its name.
    pub index: ShardIndex,
    /// How many records.
    pub len: u32,
}

impl Shard {
    /// Position of the first record after it.
    pub const fn end(self) -> u32 {
        self.index.0.saturating_add(self.len)
    }

    /// Whether the record at `position` is one of it.
    pub const fn holds(self, position: ShardIndex) -> bool {
        self.index.0 <= position.0 && position.0 < self.end()
    }

    /// The two it is cut into, the first never the smaller; `None`: a record stands alone.
    pub const fn halves(self) -> Option<(Self, Self)> {
        if self.len < 2 {
            return None;
        }
        let first = Self { index: self.index, len: self.len.div_ceil(2) };
        Some((first, Self { index: ShardIndex(first.end()), len: self.len - first.len }))
    }

    /// Halves it until `len` records are left: what is left, and what came off, in the order of the corpus. `None`:
    /// halving does not lead to that length.
    pub fn shrunk_to(self, len: u32) -> Option<(Self, Vec<Self>)> {
        let (mut left, mut off) = (self, Vec::new());
        while left.len > len {
            let (first, second) = left.halves()?;
            left = first;
            off.push(second);
        }
        off.reverse();
        (left.len == len).then_some((left, off))
    }
}

/// Exclusive right of one worker to commit one shard until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The run of the shard.
    pub run_id: RunId,
    /// The leased slice of the corpus.
    pub shard: Shard,
    /// Holder of the lease.
    pub worker: WorkerName,
    /// Fencing token; increases with every lease of the shard.
    pub token: FencingToken,
    /// Time to live in ms, counted from the grant and from each renewal.
    pub ttl_ms: u64,
    /// Number of leases of the shard so far, this one included.
    pub attempt: u32,
}

/// State of a run in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The corpus is still being written to the run's folder.
    Planning,
    /// Shards are leased and committed.
    Running,
    /// Every shard is committed; parts are being compacted.
    Finishing,
    /// Results are complete.
    Finished,
    /// Stopped on request; what was committed stays.
    Cancelled,
    /// It cannot be finished, and a retry would not help; what was committed stays. Submitted again, it is tried again.
    Failed,
    /// It had ended, and is being removed.
    Removing,
}

impl RunState {
    /// The state as it stands in the ledger, on the wire and in `run.json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Removing => "removing",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Planning,
            Self::Running,
            Self::Finishing,
            Self::Finished,
            Self::Cancelled,
            Self::Failed,
            Self::Removing,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Failed | Self::Removing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_loses_no_record() {
        for len in 1..200 {
            let shard = Shard { index: ShardIndex(1000), len };
            let mut to = shard;
            while let Some((first, second)) = to.halves() {
                assert_eq!((first.index, first.end(), second.end()), (to.index, second.index.0, to.end()));
                assert!(second.len >= 1 && first.len >= second.len);
                to = first;
                let (left, off) = shard.shrunk_to(to.len).unwrap();
                assert_eq!(left, to);
                let mut next = left.end();
                for piece in off {
                    assert_eq!(piece.index.0, next);
                    next = piece.end();
                }
                assert_eq!(next, shard.end());
            }
            assert_eq!(shard.shrunk_to(0), None);
        }
        assert_eq!(Shard { index: ShardIndex(0), len: 10 }.shrunk_to(4), None, "10 → 5 → 3");
    }
}
