//! Whether a bucket honours conditions of writes. Some servers ignore them, or let several racing writers win.
//!
//! *Invariant*: nothing depends on the answer but what is said of it: keys that two writers could race for hold the hash of
//! their content.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;

use super::put::{Conditions, Put};
use super::{Store, StoreError};

/// Writers that race.
const WRITERS: usize = 8;

/// Most races.
const RACES: u32 = 3;

impl Store {
    /// Asks the store by writing: several writers race for a key, the winner's object is read back, a late writer comes, and
    /// the object is deleted. A folder of this machine is not asked. From then on [`Store::put_if_absent`] sends no conditions
    /// to a store that ignores them.
    ///
    /// # Errors
    /// Where the store cannot be written to, read or deleted from: wrong credentials, a missing bucket.
    pub async fn probe(&self) -> Result<Conditions, StoreError> {
        if self.is_local() {
            return Ok(Conditions::Honoured);
        }
        let mut found = None;
        for _ in 0..RACES {
            let key = format!(".probe-{}", nonce());
            let raced = self.race(&key).await;
            let deleted = self.delete(&key).await;
            found = raced?;
            deleted?;
            if found.is_some() {
                break;
            }
        }
        // A store that never says who has won is of no more use than one that ignores conditions.
        let found = found.unwrap_or(Conditions::Ignored);
        let _ = self.conditions.set(found);
        Ok(found)
    }

    /// What a race shows; `None`: no writer was told that it has won, as where the answer was lost and the write repeated.
    async fn race(&self, key: &str) -> Result<Option<Conditions>, StoreError> {
        let content = |writer: usize| format!("{key} {writer}");
        let puts = (0..WRITERS).map(|writer| self.create(key, content(writer).into()));
        let Some(puts) = try_join_all(puts).await?.into_iter().collect::<Option<Vec<Put>>>() else {
            // It knows no conditions; that it can be written to is still to be seen.
            self.put(key, content(0).into()).await?;
            self.get(key).await?;
            return Ok(Some(Conditions::Ignored));
        };
        let winners: Vec<usize> =
            (0..).zip(&puts).filter(|(_, put)| **put == Put::Written).map(|(writer, _)| writer).collect();
        let read = self.get(key).await?;
        let late = self.create(key, content(WRITERS).into()).await?;
        Ok(match winners.as_slice() {
            [] => None,
            [winner] if read == content(*winner).as_bytes() && late == Some(Put::AlreadyThere) => {
                Some(Conditions::Honoured)
            }
            _ => Some(Conditions::Ignored),
        })
    }
}

/// Differs between processes and calls.
fn nonce() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = format!("{} {}", std::process::id(), since.as_nanos());
    blake3::hash(seed.as_bytes()).to_hex().chars().take(16).collect()
}
