//! Leases and their keys.

use std::cmp::Ordering;

use domain::ids::{FencingToken, PartHash, RunId, ShardIndex, WorkerName};
use domain::run::{Lease, Shard};
use domain::tally::Tally;

use super::run::{tally_from_wire, tally_to_wire};
use super::{BadMessage, hash_bytes, required, secret};
use crate::secret::SharedSecret;
use crate::v1;

/// Identifies a lease; required to renew it, to release it and to commit under it. Keys are compared by the lease that
/// they name, without the secret that proves its holder.
#[derive(Debug, Clone)]
pub struct LeaseKey {
    /// The run of the shard.
    pub run_id: RunId,
    /// The leased shard.
    pub shard: ShardIndex,
    /// The fencing token of the lease.
    pub token: FencingToken,
    /// Proves that the sender is the holder.
    pub secret: SharedSecret,
}

impl LeaseKey {
    /// The key of a lease without its secret, for use within the coordinator.
    pub fn new(run_id: RunId, shard: ShardIndex, token: FencingToken) -> Self {
        Self { run_id, shard, token, secret: SharedSecret::default() }
    }

    fn named(&self) -> (&RunId, ShardIndex, FencingToken) {
        (&self.run_id, self.shard, self.token)
    }
}

impl PartialEq for LeaseKey {
    fn eq(&self, other: &Self) -> bool {
        self.named() == other.named()
    }
}

impl Eq for LeaseKey {}

impl PartialOrd for LeaseKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LeaseKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.named().cmp(&other.named())
    }
}

/// The key without its secret, for use within the coordinator.
impl From<&Lease> for LeaseKey {
    fn from(lease: &Lease) -> Self {
        Self::new(lease.run_id.clone(), lease.shard.index, lease.token)
    }
}

impl From<LeaseKey> for v1::LeaseKey {
    fn from(key: LeaseKey) -> Self {
        Self {
            run_id: key.run_id.into(),
            shard: Some(key.shard.0),
            token: key.token.0,
            secret: key.secret.expose().to_vec(),
        }
    }
}

impl TryFrom<v1::LeaseKey> for LeaseKey {
    type Error = BadMessage;

    fn try_from(key: v1::LeaseKey) -> Result<Self, BadMessage> {
        Ok(Self {
            run_id: RunId::new(key.run_id).map_err(|error| BadMessage::new("lease_key.run_id", error))?,
            shard: ShardIndex(required("lease_key.shard", key.shard)?),
            token: FencingToken(key.token),
            secret: secret("lease_key.secret", &key.secret)?,
        })
    }
}

impl From<Shard> for v1::Shard {
    fn from(shard: Shard) -> Self {
        Self { start: shard.index.0.into(), len: shard.len.into() }
    }
}

impl TryFrom<v1::Shard> for Shard {
    type Error = BadMessage;

    fn try_from(shard: v1::Shard) -> Result<Self, BadMessage> {
        let position = |field, value: u64| {
            u32::try_from(value).map_err(|_| BadMessage::new(field, "is beyond what a run can hold"))
        };
        Ok(Self {
            index: ShardIndex(position("shard.start", shard.start)?),
            len: position("shard.len", shard.len)?,
        })
    }
}

impl From<Lease> for v1::Lease {
    fn from(lease: Lease) -> Self {
        Self {
            key: Some(LeaseKey::from(&lease).into()),
            shard: Some(lease.shard.into()),
            worker: lease.worker.into(),
            ttl_ms: lease.ttl_ms,
            attempt: lease.attempt,
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = BadMessage;

    fn try_from(lease: v1::Lease) -> Result<Self, BadMessage> {
        let key = LeaseKey::try_from(required("lease.key", lease.key)?)?;
        let shard = Shard::try_from(required("lease.shard", lease.shard)?)?;
        if shard.index != key.shard {
            return Err(BadMessage::new("lease.shard", "is not the shard of the key"));
        }
        Ok(Self {
            run_id: key.run_id,
            shard,
            worker: WorkerName::new(lease.worker).map_err(|error| BadMessage::new("lease.worker", error))?,
            token: key.token,
            ttl_ms: lease.ttl_ms,
            attempt: lease.attempt,
        })
    }
}

/// Describes an uploaded part.
#[derive(Debug, Clone, PartialEq)]
pub struct PartHeader {
    /// Lease under which the part is committed.
    pub key: LeaseKey,
    /// Worker that wrote the part.
    pub worker: WorkerName,
    /// Length of the part.
    pub bytes: u64,
    /// BLAKE3 hash of the part.
    pub hash: PartHash,
    /// Counts over the rows of the part.
    pub tally: Tally,
}

impl From<&PartHeader> for v1::CommitHeader {
    fn from(header: &PartHeader) -> Self {
        Self {
            key: Some(header.key.clone().into()),
            worker: header.worker.as_str().to_owned(),
            part_bytes: header.bytes,
            part_hash: header.hash.as_bytes().to_vec(),
            tally_json: tally_to_wire(&header.tally),
            // Added by the worker.
            session: Vec::new(),
        }
    }
}

impl TryFrom<v1::CommitHeader> for PartHeader {
    type Error = BadMessage;

    fn try_from(header: v1::CommitHeader) -> Result<Self, BadMessage> {
        Ok(Self {
            key: required("header.key", header.key)?.try_into()?,
            worker: WorkerName::new(header.worker)
                .map_err(|error| BadMessage::new("header.worker", error))?,
            bytes: header.part_bytes,
            hash: PartHash::from_bytes(hash_bytes("header.part_hash", &header.part_hash)?),
            tally: tally_from_wire(&header.tally_json)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_header_round_trips() {
        let header = PartHeader {
            key: LeaseKey {
                run_id: RunId::new("r1").unwrap(),
                shard: ShardIndex(3),
                token: FencingToken(9),
                secret: SharedSecret::new([1; 16]),
            },
            worker: WorkerName::new("w").unwrap(),
            bytes: 10,
            hash: PartHash::of(b"part"),
            tally: Tally { records: 2, errors: 2, ..Tally::default() },
        };
        let mut wire = v1::CommitHeader::from(&header);
        assert_eq!(PartHeader::try_from(wire.clone()).unwrap(), header);
        wire.part_hash.push(0);
        assert_eq!(PartHeader::try_from(wire).unwrap_err().field, "header.part_hash");
    }

    #[test]
    fn a_lease_round_trips_and_an_invalid_one_is_refused() {
        let lease = Lease {
            run_id: RunId::new("r1").unwrap(),
            shard: Shard { index: ShardIndex(750), len: 250 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(9),
            ttl_ms: 30_000,
            attempt: 2,
        };
        let mut wire = v1::Lease::from(lease.clone());
        assert_eq!(Lease::try_from(wire.clone()).unwrap(), lease);
        wire.shard = Some(v1::Shard { start: 4, len: 1 });
        assert!(Lease::try_from(wire.clone()).is_err());
        wire.shard = Some(v1::Shard { start: 750, len: u64::MAX });
        assert!(Lease::try_from(wire.clone()).is_err());
        let mut old = wire.clone();
        if let Some(key) = &mut old.key {
            key.shard = None;
        }
        assert_eq!(Lease::try_from(old).unwrap_err().field, "lease_key.shard");
        wire.key = None;
        assert_eq!(Lease::try_from(wire).unwrap_err().field, "lease.key");
    }
}
