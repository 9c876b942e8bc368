//! Errors of the queue.

/// An error of the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `SQLite` failed: the folder is missing, the file is not a queue, or another process locks it for too long.
    #[error("cannot use the queue")]
    Sqlite(#[from] rusqlite::Error),
    /// The lock file beside the queue cannot be used.
    #[error("cannot lock the queue for writing")]
    LockFile(#[source] std::io::Error),
    /// The file has another schema version.
    #[error("the queue has version {found}, this program reads {wanted}")]
    Version {
        /// The version of the file.
        found: i64,
        /// The version of this program.
        wanted: i64,
    },
    /// The item is not leased under this token.
    #[error(
        "record {record_id:?} of run {run_id:?} is not leased under token {token}: its lease expired, or it was answered"
    )]
    NotLeased {
        /// The run of the item.
        run_id: String,
        /// The record of the item.
        record_id: String,
        /// The token of the answer.
        token: i64,
    },
}
