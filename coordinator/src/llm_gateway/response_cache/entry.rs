//! Entries of the response cache, and how they are packed.

use std::cell::RefCell;
use std::io::Read as _;
use std::sync::Arc;

use domain::answer::{Answer, Finish};
use domain::ids::{AnswerKey, RunId};
use flate2::read::ZlibDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::LlmUsage;

/// Result of a call, to be written to the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CacheWrite {
    pub(crate) run_id: RunId,
    /// Usage of the call.
    pub(crate) spent: LlmUsage,
    /// The answer, if it is complete.
    pub(crate) entry: Option<(AnswerKey, CacheEntry)>,
    /// Why the call gave no answer, if it was made and gave none.
    pub(crate) failure: Option<String>,
    /// This process did not permit the call: it may repeat a result that an earlier process stored.
    pub(crate) perhaps_repeated: bool,
}

/// Answer to be written to the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CacheEntry {
    /// The answer.
    pub(crate) answer: Arc<Answer>,
    /// The provider that was called, by its name; its URL in answers of older releases; empty where the run is not known
    /// any more.
    pub(crate) provider: String,
    /// The requested model.
    pub(crate) model: String,
    /// Arrival, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
    /// Replaces an answer that arrived before this moment; `None` replaces none.
    pub(crate) replaces_before_ms: Option<u64>,
}

/// Answer in the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CachedResponse {
    /// The answer.
    pub(crate) answer: Arc<Answer>,
    /// Arrival, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
}

/// Stored word of a finish reason.
pub(super) fn finish_word(finish: &Finish) -> &str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Filtered => "filtered",
        Finish::Other(word) => word,
    }
}

/// Finish reason of a stored word.
pub(super) fn finish_of(word: String) -> Finish {
    match word.as_str() {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "filtered" => Finish::Filtered,
        _ => Finish::Other(word),
    }
}

/// Compresses a text.
pub(super) fn pack(text: &str) -> Vec<u8> {
    thread_local! {
        /// A compressor has 300 kB of tables: far more than an answer is long.
        static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), true));
    }
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut packed = Vec::new();
        let mut rest = text.as_bytes();
        loop {
            packed.reserve(rest.len() / 2 + 64);
            match compressor.compress_vec(rest, &mut packed, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return packed,
                Ok(Status::Ok | Status::BufError) => {}
                // Only of a compressor that is used wrongly. A row without content counts as damaged.
                Err(_) => return Vec::new(),
            }
            let taken = usize::try_from(compressor.total_in()).unwrap_or(text.len());
            rest = text.as_bytes().get(taken..).unwrap_or_default();
        }
    })
}

/// Decompresses a text; `None` where the data are damaged, or the text is longer than an answer may be.
pub(super) fn unpack(packed: &[u8]) -> Option<String> {
    let most = proto::convert::ANSWER_BYTES as u64;
    let mut text = String::new();
    ZlibDecoder::new(packed).take(most + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= most).then_some(text)
}

/// Checksum of a row.
pub(super) fn checksum(key: &AnswerKey, answer: &Answer) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut text = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    text(key.as_bytes());
    text(answer.content.as_bytes());
    text(finish_word(&answer.finish).as_bytes());
    text(answer.model.as_bytes());
    let usage = answer.usage;
    for count in [usage.prompt, usage.completion, usage.reasoning, usage.cached, usage.total] {
        text(&count.to_le_bytes());
    }
    // Rows of earlier releases have none.
    if usage.estimated > 0 {
        text(&usage.estimated.to_le_bytes());
    }
    if !answer.charge.is_usual() {
        text(answer.charge.tier.as_str().as_bytes());
        text(&answer.charge.billed.map_or([0xff; 8], |billed| billed.ticks().to_le_bytes()));
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_and_damage_is_seen() {
        let text = "{\"patch\": []} ü ".repeat(1000);
        let mut packed = pack(&text);
        assert!(packed.len() * 10 < text.len());
        assert_eq!(unpack(&packed).as_deref(), Some(text.as_str()));
        let middle = packed.len() / 2;
        packed[middle] ^= 1;
        assert_eq!(unpack(&packed), None);
        assert_eq!(unpack(b""), None);
    }

    #[test]
    fn a_small_file_that_unpacks_to_a_huge_one_is_refused() {
        assert_eq!(unpack(&pack(&"x".repeat(proto::convert::ANSWER_BYTES + 1))), None);
    }
}
