//! Checks uploaded parts before they are committed, and committed ones against length and hash in the ledger, because files
//! can be damaged at rest.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use domain::ids::{PartHash, RunId};
use domain::run::Shard;
use domain::tally::Tally;
use proto::status::{ApiError, ErrorReason};
use results::corpus_copy::CorpusReader;
use results::part::check::{Expected, check_part};
use results::scan::Part;

use crate::refusals::{is_transient, storage_failed};

/// Reads an uploaded part and compares it with the records of its shard; returns the counts over its rows.
pub(super) async fn admit(
    run_id: RunId,
    shard: Shard,
    corpus: Arc<CorpusReader>,
    bytes: Bytes,
) -> Result<Tally, ApiError> {
    #[cfg(test)]
    let name = (run_id.clone(), shard, PartHash::of(&bytes));
    #[cfg(test)]
    if let Some(known) = simulated::known(&name) {
        return Ok(known);
    }
    let checking = tokio::task::spawn_blocking(move || {
        let part = Part::from(bytes);
        inspect(&part, &run_id, shard, &corpus)
    });
    // A panic is a bug of a reader that the part has found.
    let checked = checking.await.unwrap_or_else(|_| Err(Inspected::Refused("it cannot be read".to_owned())));
    let tally = checked.map_err(|found| match found {
        Inspected::Refused(why) => ApiError::new(
            ErrorReason::PartRefused,
            format!("the part of shard {} is refused: {why}", shard.index),
        ),
        Inspected::Failed(why) => storage_failed(&why),
    })?;
    #[cfg(test)]
    simulated::learn(name, tally.clone());
    Ok(tally)
}

/// Why a part has no counts.
#[derive(Debug)]
pub(super) enum Inspected {
    /// It is not the result of its shard.
    Refused(String),
    /// The corpus or the part's file cannot be read at the moment.
    Failed(String),
}

/// Compares a part with the records of its shard. Blocks.
pub(super) fn inspect(
    part: &Part,
    run_id: &RunId,
    shard: Shard,
    corpus: &CorpusReader,
) -> Result<Tally, Inspected> {
    let slice = corpus.slice(shard.index.0.into(), shard.len.into());
    let slice = slice.map_err(|error| Inspected::Failed(error.to_string()))?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| Inspected::Failed(error.to_string()));
    let bytes = match part {
        Part::Bytes { bytes, .. } => bytes.clone(),
        Part::File(path) => read(path)?.into(),
        Part::Temporary { file, .. } => read(file)?.into(),
    };
    let expected = Expected { run_id, shard: shard.index, records: &slice.records };
    check_part(&bytes, &expected).map_err(|fault| Inspected::Refused(fault.to_string()))
}

/// A simulation plays thousands of seeds with the same few parts: each is checked once.
#[cfg(test)]
mod simulated {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use super::{PartHash, RunId, Shard, Tally};

    type Name = (RunId, Shard, PartHash);

    static CHECKED: Mutex<BTreeMap<Name, Tally>> = Mutex::new(BTreeMap::new());

    pub(super) fn known(name: &Name) -> Option<Tally> {
        CHECKED.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn learn(name: Name, tally: Tally) {
        CHECKED.lock().unwrap_or_else(PoisonError::into_inner).insert(name, tally);
    }
}

/// A committed part that is damaged or missing.
#[derive(Debug, thiserror::Error)]
#[error("{name}, a committed part, {problem}")]
pub(crate) struct Damage {
    /// Name of the part.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) problem: String,
    /// Whether a retry may succeed.
    pub(crate) is_transient: bool,
}

/// Compares the bytes of `part` with their number and hash in the ledger. Blocks on the disk.
pub(crate) fn check(part: &Part, committed_bytes: u64, committed_hash: PartHash) -> Result<(), Damage> {
    let damage = |problem: String| Damage { name: part.name(), problem, is_transient: false };
    let (bytes, hash) = measure(part).map_err(|error| Damage {
        is_transient: is_transient(error.kind()),
        ..damage(format!("cannot be read ({error})"))
    })?;
    if bytes != committed_bytes {
        return Err(damage(format!("has {bytes} bytes instead of {committed_bytes}")));
    }
    if hash != committed_hash {
        return Err(damage("does not have the bytes that were committed".to_owned()));
    }
    Ok(())
}

fn measure(part: &Part) -> io::Result<(u64, PartHash)> {
    let path = match part {
        Part::Bytes { bytes, .. } => return Ok((bytes.len() as u64, PartHash::of(bytes))),
        Part::File(path) => path.as_path(),
        Part::Temporary { file, .. } => file,
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.count(), PartHash::from_bytes(*hasher.finalize().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_whole_cut_flipped_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let hash = PartHash::of(b"abc");
        let checked = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&Part::File(path.clone()), 3, hash).map_err(|damage| damage.to_string())
        };
        assert_eq!(checked(b"abc"), Ok(()));
        assert!(checked(b"ab").unwrap_err().contains("2 bytes instead of 3"));
        let flipped = checked(b"abd").unwrap_err();
        assert!(flipped.contains("p.parquet") && flipped.contains("were committed"), "{flipped}");
        std::fs::remove_file(&path).unwrap();
        assert!(check(&Part::File(path), 3, hash).unwrap_err().to_string().contains("cannot be read"));
    }
}
