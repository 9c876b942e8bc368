//! Verifies committed parts against length and hash in the ledger, because files can be damaged at rest.

use std::fs::File;
use std::io;

use domain::ids::PartHash;
use results::scan::Part;

use crate::ledger::CommittedPart;
use crate::refusals::is_transient;

/// A committed part that is damaged or missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name}, a committed part, {problem}: put back a copy of the file and repeat the command, or begin again under \
     another run id"
)]
pub(crate) struct Damage {
    /// Name of the part.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) problem: String,
    /// Whether a retry may succeed.
    pub(crate) is_transient: bool,
}

/// Compares the bytes of `part` with the ledger's entry. Blocks on the disk.
pub(crate) fn check(part: &Part, committed: &CommittedPart) -> Result<(), Damage> {
    let damage = |problem: String| Damage { name: part.name(), problem, is_transient: false };
    let (bytes, hash) = measure(part).map_err(|error| Damage {
        is_transient: is_transient(error.kind()),
        ..damage(format!("cannot be read ({error})"))
    })?;
    if bytes != committed.bytes {
        return Err(damage(format!("has {bytes} bytes instead of {}", committed.bytes)));
    }
    if hash != committed.hash {
        return Err(damage("does not have the bytes that were committed".to_owned()));
    }
    Ok(())
}

fn measure(part: &Part) -> io::Result<(u64, PartHash)> {
    match part {
        Part::Bytes { bytes, .. } => Ok((bytes.len() as u64, PartHash::of(bytes))),
        Part::File(path) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(path)?)?;
            Ok((hasher.count(), PartHash::from_bytes(*hasher.finalize().as_bytes())))
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::tally::Tally;

    use super::*;

    #[test]
    fn a_part_is_whole_cut_flipped_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let committed = CommittedPart {
            key: "parts/p".to_owned(),
            bytes: 3,
            hash: PartHash::of(b"abc"),
            tally: Tally::default(),
        };
        let checked = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&Part::File(path.clone()), &committed).map_err(|damage| damage.to_string())
        };
        assert_eq!(checked(b"abc"), Ok(()));
        assert!(checked(b"ab").unwrap_err().contains("2 bytes instead of 3"));
        let flipped = checked(b"abd").unwrap_err();
        assert!(flipped.contains("p.parquet") && flipped.contains("put back a copy"), "{flipped}");
        std::fs::remove_file(&path).unwrap();
        assert!(check(&Part::File(path), &committed).unwrap_err().to_string().contains("cannot be read"));
    }
}
