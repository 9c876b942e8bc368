//! Errors of the queue.

use std::path::PathBuf;

/// An error of the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `SQLite` failed: the disk is full, or another process locks it for too long.
    #[error("cannot use the queue")]
    Sqlite(#[from] rusqlite::Error),
    /// The queue's file or the lock file beside it cannot be used.
    #[error("cannot open the queue {}; check its folder and permissions", path.display())]
    File {
        /// The queue.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is not a queue, and stays as it is; name another file with --db", .0.display())]
    Foreign(PathBuf),
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
