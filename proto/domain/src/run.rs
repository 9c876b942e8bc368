//! A run, its shards and their leases.

use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::ids::{ConfigHash, CorpusHash, FencingToken, RunId, ShardIndex, WorkerName};

/// What a run is: fixed when it is submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

impl RunPlan {
    /// How many shards the run has.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.records.div_ceil(u64::from(self.shard_size.max(1)))).unwrap_or(u32::MAX)
    }

    /// The slice that shard `index` covers.
    pub fn shard(&self, index: ShardIndex) -> Shard {
        let size = u64::from(self.shard_size.max(1));
        let start = u64::from(index.0) * size;
        Shard { index, start, len: size.min(self.records.saturating_sub(start)) }
    }
}

/// A contiguous slice of the corpus: the unit of leasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Place among the shards of the run.
    pub index: ShardIndex,
    /// Position of its first record.
    pub start: u64,
    /// How many records.
    pub len: u64,
}

/// The right of one worker to process one shard until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of which run.
    pub run_id: RunId,
    /// Which slice.
    pub shard: Shard,
    /// Who holds it.
    pub worker: WorkerName,
    /// Grows with every lease of the shard.
    pub token: FencingToken,
    /// How long it lasts from the moment it is granted or renewed, in ms.
    pub ttl_ms: u64,
    /// How many times the shard has been leased, this lease included.
    pub attempt: u32,
}

/// Where a run stands.
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
            Self::Removing => "removing",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Planning, Self::Running, Self::Finishing, Self::Finished, Self::Cancelled, Self::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Removing)
    }
}
