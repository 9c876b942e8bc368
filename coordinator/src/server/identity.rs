//! Secrets of leases and sessions.
//!
//! A lease's secret is derived from a key of the state folder, the run, the shard and the fencing token. So nothing has to
//! be stored with a lease, and a restarted coordinator still knows the holders of the leases that it granted before.

use std::path::Path;

use anyhow::Context as _;
use domain::run::Lease;
use proto::convert::LeaseKey;
use proto::secret::SharedSecret;
use proto::status::{ApiError, ErrorReason};
use proto::v1;

use super::secrets::{FOLDER, random, write_private};

/// File of the key, beside the tokens.
const KEY_FILE: &str = "lease.key";

/// A secret for a worker that joins.
pub(super) fn session() -> Result<SharedSecret, ApiError> {
    let bytes = random().map_err(|error| ApiError::new(ErrorReason::Internal, error.to_string()))?;
    Ok(SharedSecret::new(bytes))
}

/// The key that the secrets of leases are derived from.
#[derive(Clone)]
pub struct LeaseSecrets([u8; 32]);

impl std::fmt::Debug for LeaseSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseSecrets(***)")
    }
}

impl LeaseSecrets {
    /// Those of a coordinator whose leases end with its process.
    pub fn of_process() -> anyhow::Result<Self> {
        Ok(Self(random()?))
    }

    /// Those of a state folder; the key is created where it is missing. The folder of the tokens exists.
    pub fn of_state(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(FOLDER).join(KEY_FILE);
        let failed = || format!("cannot use {}: delete it to make a new one", path.display());
        write_private(&path, &random::<32>()?).with_context(failed)?;
        let bytes = std::fs::read(&path).with_context(failed)?;
        let key =
            bytes.try_into().map_err(|_| anyhow::anyhow!("it has not 32 bytes")).with_context(failed)?;
        Ok(Self(key))
    }

    /// A new key.
    pub(crate) fn new_key() -> anyhow::Result<[u8; 32]> {
        random()
    }

    /// Those of coordinators that share a key.
    pub(crate) fn of_key(key: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(key.try_into().map_err(|_| anyhow::anyhow!("the key of leases has not 32 bytes"))?))
    }

    fn of(&self, key: &LeaseKey) -> SharedSecret {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&key.shard.0.to_le_bytes()).update(&key.token.0.to_le_bytes());
        hasher.update(key.run_id.as_str().as_bytes());
        let mut secret = [0; SharedSecret::BYTES];
        hasher.finalize_xof().fill(&mut secret);
        SharedSecret::new(secret)
    }

    /// A lease as it is sent to its holder: with its secret.
    pub(super) fn grant(&self, lease: Lease) -> v1::Lease {
        let secret = self.of(&LeaseKey::from(&lease));
        let mut lease = v1::Lease::from(lease);
        if let Some(key) = &mut lease.key {
            key.secret = secret.expose().to_vec();
        }
        lease
    }

    /// Whether the sender of `key` holds that lease.
    pub(super) fn holds(&self, key: &LeaseKey) -> bool {
        self.of(key) == key.secret
    }

    /// Refuses a key that its sender does not hold.
    pub(super) fn check(&self, key: &LeaseKey) -> Result<(), ApiError> {
        if self.holds(key) {
            return Ok(());
        }
        let message = format!("the lease of shard {} of run {} is not of this worker", key.shard, key.run_id);
        Err(ApiError::new(ErrorReason::PermissionDenied, message))
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{FencingToken, RunId, ShardIndex, WorkerName};
    use domain::run::Shard;

    use super::super::tokens;
    use super::*;

    #[test]
    fn only_the_holder_knows_the_secret_of_a_lease_also_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        tokens::create(state.path()).unwrap();
        let secrets = LeaseSecrets::of_state(state.path()).unwrap();
        let lease = Lease {
            run_id: RunId::new("r").unwrap(),
            shard: Shard { index: ShardIndex(3), len: 1 },
            worker: WorkerName::new("w").unwrap(),
            token: FencingToken(1),
            ttl_ms: 1,
            attempt: 1,
        };
        let sent = LeaseKey::try_from(secrets.grant(lease.clone()).key.unwrap()).unwrap();
        let restarted = LeaseSecrets::of_state(state.path()).unwrap();
        assert!(restarted.holds(&sent) && restarted.check(&sent).is_ok());
        assert!(!secrets.holds(&LeaseKey::from(&lease)), "a token is not enough");
        for other in [
            LeaseKey { token: FencingToken(2), ..sent.clone() },
            LeaseKey { shard: ShardIndex(4), ..sent.clone() },
            LeaseKey { run_id: RunId::new("q").unwrap(), ..sent.clone() },
        ] {
            assert_eq!(secrets.check(&other).unwrap_err().reason, ErrorReason::PermissionDenied);
        }
        assert!(!LeaseSecrets::of_process().unwrap().holds(&sent), "of another coordinator");
    }
}
