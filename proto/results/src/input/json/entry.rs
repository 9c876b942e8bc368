//! Entries of a file of detections, malformed ones included.

use domain::published::Detection;

/// One entry of a file of detections.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// 0-based place among the entries.
    pub index: u64,
    /// The detection, or why the entry is none.
    pub content: Result<Detection, Malformed>,
}

/// An entry that is not a valid detection. The other entries are still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Its id, when that much could be read.
    pub id: Option<String>,
    /// Its policy, when that much could be read.
    pub policy_id: Option<String>,
    /// Its path, when that much could be read.
    pub manifest_path: Option<String>,
    /// What is wrong, where, and what to do about it.
    pub message: String,
}

impl Malformed {
    /// The end of a message about an entry that has nothing of a record.
    pub(super) const NO_RECORD: &str =
        "a record has id and policy_id; a list of records stands alone, or under a key";

    /// Whether the entry is of another form than a record, rather than a record with a fault.
    pub fn is_no_record(&self) -> bool {
        self.message.ends_with(Self::NO_RECORD)
    }

    /// An entry of which nothing but this is known.
    pub fn of(message: String) -> Self {
        Self { id: None, policy_id: None, manifest_path: None, message }
    }
}
