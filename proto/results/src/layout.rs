//! Every key and file name of a run's folder.
//!
//! During a run its parts are below [`STAGED`]; after it, [`RUN_FILE`] lists the final ones
//! ([`final_part`]) beside it.

use domain::ids::{CorpusHash, FencingToken, PartHash, ShardIndex};

/// Key of the file that describes the run.
pub const RUN_FILE: &str = "run.json";

/// Key of the run's own copy of its corpus, in a folder of this machine.
pub const CORPUS_FILE: &str = "corpus.parquet";

/// Begins the key of the run's own copy of its corpus, in a bucket.
const CORPUS: &str = "corpus-";

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
    format!("{STAGED}{:010}-{:010}-{}.parquet", shard.0, token.0, short(&hash))
}

/// Key of a part of a finished run: by its place and content, so that two processes that finish a run write the same bytes
/// under the same keys. Older releases left the hash out.
pub fn final_part(number: usize, hash: PartHash) -> String {
    format!("{FINAL}{number:05}-{}.parquet", short(&hash))
}

/// Key of a corpus in a bucket, where two processes may submit a run at the same time.
pub fn corpus_object(hash: CorpusHash) -> String {
    format!("{CORPUS}{}.parquet", short(&hash))
}

/// Whether a name is that of the run's copy of its corpus.
pub fn is_corpus(name: &str) -> bool {
    let hash = name.strip_prefix(CORPUS).and_then(|rest| rest.strip_suffix(".parquet"));
    name == CORPUS_FILE || hash.is_some_and(is_short_hash)
}

/// Whether a name is that of a part of a finished run, of this release or of an older one.
pub fn is_final_part(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(FINAL).and_then(|rest| rest.strip_suffix(".parquet")) else {
        return false;
    };
    let (number, hash) = rest.split_once('-').map_or((rest, None), |(number, hash)| (number, Some(hash)));
    (1..=10).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && hash.is_none_or(is_short_hash)
}

/// The first 64 bits of a hash.
fn short(hash: &impl ToString) -> String {
    hash.to_string().chars().take(16).collect()
}

fn is_short_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
        let last = final_part(7, PartHash::of(b"part"));
        assert!(last.starts_with("part-00007-") && last.len() == "part-00007-.parquet".len() + 16, "{last}");
        assert!(is_final_part(&last) && is_final_part("part-00007.parquet"));
        for other in [
            "part-.parquet",
            "part-1-2.parquet",
            "part-1-0123456789abcdeF.parquet",
            "parts/1.parquet",
            "part-1",
        ] {
            assert!(!is_final_part(other), "{other}");
        }
        let corpus = corpus_object(CorpusHash::of(b"corpus"));
        assert!(is_corpus(&corpus) && is_corpus(CORPUS_FILE) && !is_corpus("corpus-x.parquet"), "{corpus}");
        assert!(!is_part(&corpus));
        let staged = staged_part(ShardIndex(1), FencingToken(2), PartHash::of(b"part"));
        assert!(staged.starts_with("parts/0000000001-0000000002-"), "{staged}");
        assert!(is_part(&staged) && is_part(&last));
        for other in [RUN_FILE, CORPUS_FILE, "part-x.csv", ".unfinished-a"] {
            assert!(!is_part(other), "{other}");
        }
    }
}
