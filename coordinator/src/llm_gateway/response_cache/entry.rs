//! Entries of the response cache, and how they are packed.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use domain::answer::{Answer, Finish};
use domain::budget::{Charge, Usage};
use domain::ids::{AnswerKey, RunId};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::calls::{CallId, RecordedCall};
use super::usage::LlmUsage;

/// A write to the store. Those of a batch take effect in its order, and together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoreWrite {
    /// A call is about to be permitted.
    Begin(RecordedCall),
    /// It was not made: nothing of it counts.
    Unused {
        /// The call.
        call: CallId,
        /// The run that would have paid for it.
        run_id: RunId,
    },
    /// It has ended, or a request was answered without one.
    End(CacheWrite),
}

impl StoreWrite {
    /// The run that it belongs to.
    pub(crate) const fn run_id(&self) -> &RunId {
        match self {
            Self::Begin(call) => &call.run_id,
            Self::Unused { run_id, .. } => run_id,
            Self::End(write) => &write.run_id,
        }
    }
}

/// What of a write counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// All of it.
    Whole,
    /// What the call has used. The call itself was counted as lost before its answer came.
    Usage,
    /// Nothing: it was counted before.
    Nothing,
}

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
    /// The call, whose row is deleted; it counts if the row was there. `None`: no call was made now, and it counts.
    pub(crate) call: Option<CallId>,
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

impl CacheEntry {
    /// Whether it replaces an answer that is stored.
    pub(super) fn replaces(&self, known: &CachedResponse) -> bool {
        self.replaces_before_ms.is_some_and(|before| known.created_at_ms < before)
    }
}

/// Answer in the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CachedResponse {
    /// The answer.
    pub(crate) answer: Arc<Answer>,
    /// Arrival, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
}

/// An answer as a row holds it.
#[derive(Debug)]
pub(super) struct StoredAnswer {
    pub(super) key: Vec<u8>,
    /// The text, compressed.
    pub(super) packed: Vec<u8>,
    pub(super) finish: String,
    pub(super) answered_by: String,
    pub(super) usage: Usage,
    pub(super) charge: Charge,
    pub(super) created_at_ms: u64,
    pub(super) checksum: Vec<u8>,
}

impl StoredAnswer {
    /// The answer; `None` where the row is damaged.
    pub(super) fn check(self) -> Option<(AnswerKey, CachedResponse)> {
        let key = AnswerKey::from_bytes(<[u8; 32]>::try_from(self.key).ok()?);
        let (usage, charge) = (self.usage, self.charge);
        let content = unpack(&self.packed)?;
        let mut answer =
            Answer { content, finish: finish_of(self.finish), usage, charge, model: self.answered_by };
        if checksum(&key, &answer) != *self.checksum || !answer.is_whole() {
            return None;
        }
        // A row of an earlier release may hold any count that a provider sent.
        answer.usage = usage.of_one_call();
        answer.charge = charge.of_one_call();
        Some((key, CachedResponse { answer: Arc::new(answer), created_at_ms: self.created_at_ms }))
    }
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
        static ENCODER: RefCell<ZlibEncoder<Vec<u8>>> =
            RefCell::new(ZlibEncoder::new(Vec::new(), Compression::fast()));
    }
    ENCODER.with_borrow_mut(|encoder| {
        // Writing to memory does not fail.
        let _ = encoder.write_all(text.as_bytes());
        encoder.reset(Vec::new()).unwrap_or_default()
    })
}

/// Decompresses a text; `None` where the data are damaged, or the text is longer than an answer may be.
fn unpack(packed: &[u8]) -> Option<String> {
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
        assert_eq!(unpack(&pack("next")).as_deref(), Some("next"), "nothing of the text before is left");
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
