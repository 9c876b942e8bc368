//! What a peer may have open, and for how long.

use std::time::Duration;

use crate::server::stream_limits::StreamLimits;

/// Limits of connections, requests and messages. A peer is an IPv4 address, an IPv6 network of 64 bits, or a local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections in all; further ones are closed at once.
    pub connections: usize,
    /// Open connections of one peer; further ones are closed at once.
    pub peer_connections: usize,
    /// From the opening of a connection to its first request, handshakes included.
    pub first_request: Duration,
    /// Longest time without an open request.
    pub idle: Duration,
    /// Longest time for which a peer leaves a response unread.
    pub unread_response: Duration,
    /// Open requests on one connection; HTTP/2 lets clients wait.
    pub connection_requests: u32,
    /// Open requests of one peer.
    pub peer_requests: usize,
    /// Bytes of the header of a request.
    pub header_bytes: u32,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// Bytes of all messages that have arrived in part; further ones wait.
    pub message_memory: usize,
    /// The same for one peer.
    pub peer_message_memory: usize,
    /// Messages of one peer that may wait for memory; further ones are refused.
    pub peer_waiting_messages: usize,
    /// Messages a second of one peer; further ones wait.
    pub peer_messages: u32,
    /// Bytes a second of one peer that are no messages (pings, settings, headers, resets); further ones are not read. A call
    /// that is refused for want of a right counts as 16 KiB.
    pub peer_overhead: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            peer_connections: 1024,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            unread_response: Duration::from_secs(30),
            connection_requests: 16,
            peer_requests: 2048,
            header_bytes: 16 << 10,
            message: Duration::from_secs(30),
            message_memory: 64 << 20,
            peer_message_memory: 40 << 20,
            peer_waiting_messages: 64,
            peer_messages: 20_000,
            peer_overhead: 1 << 20,
        }
    }
}

/// Messages up to this size need no memory permit: heartbeats, joins and requests pass when the memory is taken.
pub(super) const SMALL_MESSAGE: usize = 16 << 10;

/// Largest message of a method in bytes. Documents travel in `Submit`, chunks of parts in `CommitShard`, answers of models in
/// `LlmCalls`, up to 10,000 leases in `Work`; no other message holds more than names and numbers.
pub(super) fn largest_message(path: &str) -> usize {
    match path {
        "/k8s_auto_fix.v1.Runs/Submit" => proto::channel::MAX_MESSAGE_BYTES,
        "/k8s_auto_fix.v1.Fleet/LlmCalls" => 8 << 20,
        "/k8s_auto_fix.v1.Fleet/CommitShard" | "/k8s_auto_fix.v1.Fleet/Work" => 2 << 20,
        _ => 64 << 10,
    }
}

/// All limits of incoming data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time limits of streams.
    pub streams: StreamLimits,
    /// Limits of connections, requests and messages.
    pub connections: ConnectionLimits,
}

impl Limits {
    /// The usual limits of a process that may open so many files and connections.
    pub fn within(descriptors: u64) -> Self {
        let mut limits = Self::default();
        let left = usize::try_from(descriptors.saturating_sub(cli_support::descriptors::FILES));
        limits.connections.connections = limits.connections.connections.min(left.unwrap_or(usize::MAX));
        limits
    }
}

impl From<StreamLimits> for Limits {
    fn from(streams: StreamLimits) -> Self {
        Self { streams, ..Self::default() }
    }
}

impl From<ConnectionLimits> for Limits {
    fn from(connections: ConnectionLimits) -> Self {
        Self { connections, ..Self::default() }
    }
}
