//! Why the queue refuses.

/// Why the queue refuses.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `SQLite` fails: no such folder, no queue, or another process holds the file too long.
    #[error("cannot use the queue")]
    Sqlite(#[from] rusqlite::Error),
    /// The file beside the queue, by which processes take turns, cannot be used.
    #[error("cannot take a turn at the queue")]
    Line(#[source] std::io::Error),
    /// The file is a queue of another version.
    #[error("the queue has version {found}, this program reads {wanted}")]
    Version {
        /// As found.
        found: i64,
        /// As expected.
        wanted: i64,
    },
    /// The item is not leased under this token.
    #[error(
        "record {record_id:?} of run {run_id:?} is not leased under token {token}: its lease ran out, or it was answered"
    )]
    NotLeased {
        /// The run.
        run_id: String,
        /// The record.
        record_id: String,
        /// The token given.
        token: i64,
    },
}
