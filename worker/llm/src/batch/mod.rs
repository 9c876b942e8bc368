//! The batch interface of providers: a file of questions is uploaded, worked on within hours at a lower price, and the answers
//! are downloaded.
//!
//! *Owns* the calls and the form of the lines. *Never* decides when a batch is submitted, or which questions are in it.
//! *Invariant*: files are streamed from and to the disk, so memory does not grow with them; sizes and times are bounded.

mod client;
mod form;
mod lines;
mod remote;

pub use client::{BatchClient, NoBatches};
pub use lines::{BadLine, LineOutcome, LineReader, ResultLine, line};
pub use remote::{BadId, BatchId, Counts, FileId, Mark, RemoteBatch, RemoteStatus};

/// Most lines of one file, as providers allow.
pub const FILE_LINES: u32 = 50_000;

/// Most bytes of one file.
pub const FILE_BYTES: u64 = 200_000_000;
