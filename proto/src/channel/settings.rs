//! Keepalive, windows and sizes that both ends use.

use std::time::Duration;

/// Largest message that either end accepts. It is above `FRAME_BYTES`, the usual size of a piece of a shard's records,
/// because one document may be larger than that.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Largest document that a run may allow, so that it fits into a message with room to spare.
pub const MAX_DOCUMENT_BYTES: usize = 24 << 20;

/// Size of the chunks in which a part is uploaded.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Pending LLM requests that a worker may have on one stream; further requests wait in the worker.
pub const OPEN_QUESTIONS: usize = 20_000;

/// Buffer of each direction of a pipe within a process.
pub(super) const PIPE_BYTES: usize = 1 << 18;

pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Both, where a client knows another address to go to: a coordinator that is frozen is left after 6 s, before another can
/// have taken its place.
pub(super) const FAILOVER_KEEPALIVE: Duration = Duration::from_secs(3);

/// Time limit of a connection until the first bytes of the coordinator, the TLS handshake included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same where there is another address to try: one that is frozen delays the others.
pub(super) const FAILOVER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most addresses that a client takes, and most that one name may stand for.
pub(super) const MAX_ADDRESSES: usize = 16;

/// Bytes of one stream that the server receives before its service reads them. They bound the memory that half-sent
/// messages take while they wait.
pub const STREAM_WINDOW_BYTES: u32 = 512 << 10;

/// The same for all streams of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// Windows of a client: shards and answers come from a coordinator that it has chosen.
pub(super) const CLIENT_STREAM_WINDOW_BYTES: u32 = 2 << 20;
pub(super) const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
