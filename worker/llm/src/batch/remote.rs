//! A batch as the provider shows it: read leniently, because providers differ.

use std::fmt;

use serde_json::Value;

use crate::error::{Failure, quoted};

/// Key of our mark in the metadata of a batch.
pub(super) const MARK: &str = "k8s_auto_fix";

/// Longest id that is believed, in characters.
const ID: usize = 200;

/// A text that is not an id of a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of a file or batch: letters, digits, dots, dashes and underscores, at most 200")]
pub struct BadId;

macro_rules! remote_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// An id, which may stand in the path of an address.
            ///
            /// # Errors
            /// It may not.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                let is_id = (1..=ID).contains(&text.len()) && text.chars().all(legal) && !text.starts_with('.');
                is_id.then_some(Self(text)).ok_or(BadId)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

remote_id!(
    /// Id of a file at the provider.
    FileId
);
remote_id!(
    /// Id of a batch at the provider.
    BatchId
);
remote_id!(
    /// Our mark of a batch, in its metadata: by it a batch is found whose creation was not acknowledged.
    Mark
);

/// State of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteStatus {
    /// It waits, is checked or worked on.
    Underway,
    /// Every line has been worked on.
    Completed,
    /// It was refused, or broke off; some lines may have been answered.
    Failed,
    /// Its time is over; some lines may have been answered.
    Expired,
    /// It was cancelled; some lines may have been answered.
    Cancelled,
}

impl RemoteStatus {
    fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "completed" | "succeeded" | "success" => Self::Completed,
            "failed" | "error" => Self::Failed,
            "expired" => Self::Expired,
            "cancelled" | "canceled" => Self::Cancelled,
            // An unknown word is taken for one of a batch that goes on: it is asked again, and its window ends.
            _ => Self::Underway,
        }
    }

    /// The word for messages and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underway => "underway",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it does not change any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Underway)
    }
}

/// How many lines of a batch were worked on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All lines.
    pub total: u64,
    /// Answered ones.
    pub completed: u64,
    /// Refused ones.
    pub failed: u64,
}

/// A batch as the provider shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteBatch {
    /// Its id.
    pub id: BatchId,
    /// Its state.
    pub status: RemoteStatus,
    /// The file of answers, where it names one.
    pub output: Option<FileId>,
    /// The file of refused lines, where it names one.
    pub errors: Option<FileId>,
    /// How far it is.
    pub counts: Counts,
    /// Our mark; `None`: it is not ours, or the provider keeps no metadata.
    pub mark: Option<Mark>,
    /// The provider's words about a failed one; empty where it has none.
    pub words: String,
}

impl RemoteBatch {
    pub(super) fn read(value: &Value) -> Result<Self, Failure> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let id = text("id").and_then(|id| BatchId::new(id).ok());
        let id = id.ok_or_else(|| Failure::Garbage("a batch without an id".to_owned()))?;
        let file = |field: &str| text(field).and_then(|id| FileId::new(id).ok());
        let count = |field: &str| {
            value.pointer(&format!("/request_counts/{field}")).and_then(Value::as_u64).unwrap_or_default()
        };
        let mark = value.pointer(&format!("/metadata/{MARK}")).and_then(Value::as_str);
        let words = value.pointer("/errors/data/0/message").or_else(|| value.pointer("/errors/message"));
        Ok(Self {
            id,
            status: RemoteStatus::parse(text("status").unwrap_or_default()),
            output: file("output_file_id"),
            errors: file("error_file_id"),
            counts: Counts { total: count("total"), completed: count("completed"), failed: count("failed") },
            mark: mark.and_then(|mark| Mark::new(mark).ok()),
            words: quoted(words.and_then(Value::as_str).unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_safe_in_an_address() {
        for bad in ["", "..", "../x", "a/b", "a?b", "a b", &"x".repeat(201)] {
            assert_eq!(FileId::new(bad), Err(BadId), "{bad}");
        }
        assert_eq!(BatchId::new("batch_68-a.1").unwrap().as_str(), "batch_68-a.1");
    }

    #[test]
    fn a_batch_is_read_leniently() {
        let whole = json!({
            "id": "batch_1", "object": "batch", "status": "expired", "output_file_id": "file-2", "error_file_id": null,
            "request_counts": {"total": 10, "completed": 7, "failed": 1}, "metadata": {"k8s_auto_fix": "m1"},
            "errors": {"data": [{"message": "no \u{7} room"}]},
        });
        let read = RemoteBatch::read(&whole).unwrap();
        assert_eq!(
            (read.status, read.output, read.errors),
            (RemoteStatus::Expired, FileId::new("file-2").ok(), None)
        );
        assert_eq!(read.counts, Counts { total: 10, completed: 7, failed: 1 });
        assert_eq!((read.mark, read.words.as_str()), (Mark::new("m1").ok(), "no room"));
        let bare = RemoteBatch::read(&json!({"id": "b"})).unwrap();
        assert_eq!((bare.status, bare.mark, bare.counts), (RemoteStatus::Underway, None, Counts::default()));
        for bad in [json!({}), json!({"id": "../x"}), json!([]), json!(null)] {
            assert!(RemoteBatch::read(&bad).is_err(), "{bad}");
        }
    }
}
