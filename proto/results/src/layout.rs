//! Every key and file name of a run's folder.
//!
//! During a run its parts are below [`STAGED`]; after it, [`RUN_FILE`] lists the final ones
//! ([`final_part`]) beside it.

use domain::ids::{FencingToken, PartHash, ShardIndex};

/// Key of the file that describes the run.
pub const RUN_FILE: &str = "run.json";

/// Key of the run's own copy of its corpus.
pub const CORPUS_FILE: &str = "corpus.parquet";

/// Key of the file that marks a folder as that of a run: only marked folders are written over or removed. Hidden, so that no
/// listing contains it.
pub const MARK_FILE: &str = ".k8s-auto-fix-run";

/// Begins the keys of parts until the run is finished.
pub const STAGED: &str = "parts/";

/// Begins the keys of parts of a finished run.
pub const FINAL: &str = "part-";

/// Begins the names of files that are being written.
pub const UNFINISHED: &str = ".unfinished-";

/// Key of a part as it was committed: by shard, fencing token and content, so that no two commits share one.
pub fn staged_part(shard: ShardIndex, token: FencingToken, hash: PartHash) -> String {
    let hash: String = hash.to_string().chars().take(16).collect();
    format!("{STAGED}{:010}-{:010}-{hash}.parquet", shard.0, token.0)
}

/// Key of a part of a finished run.
pub fn final_part(number: usize) -> String {
    format!("{FINAL}{number:05}.parquet")
}

/// Whether a key is that of a part, committed or final.
pub fn is_part(key: &str) -> bool {
    key.starts_with(STAGED) || (key.starts_with(FINAL) && key.ends_with(".parquet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_parts_are_told_from_others() {
        assert_eq!(final_part(7), "part-00007.parquet");
        let staged = staged_part(ShardIndex(1), FencingToken(2), PartHash::of(b"part"));
        assert!(staged.starts_with("parts/0000000001-0000000002-"), "{staged}");
        assert!(is_part(&staged) && is_part(&final_part(0)));
        for other in [RUN_FILE, CORPUS_FILE, "part-x.csv", ".unfinished-a"] {
            assert!(!is_part(other), "{other}");
        }
    }
}
