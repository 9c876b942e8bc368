//! Limits of connections, requests and messages, per peer and in all: what a peer can occupy before anything it sent is
//! looked at.
//!
//! `limited` stands between the listener and whatever speaks the protocol (TLS, HTTP/2): it counts connections and closes
//! those that send no request in time. `LimitRequests` stands between HTTP/2 and the services: it counts requests and
//! bounds the messages that have arrived in part. Both meet in a connection of `peers.rs`, which travels with each request as its
//! connect info.
//!
//! Limits that are passed by honest peers under load wait (backpressure); those that only a hostile or broken peer passes
//! close the connection or end the stream with a reason and its remedy. The README has a table of all limits.

mod framing;
mod incoming;
mod layer;
mod limits;
mod peers;
#[cfg(test)]
mod tests;

pub(crate) use incoming::{LimitedStream, limited};
pub(crate) use layer::LimitRequests;
pub use limits::{ConnectionLimits, Limits};
pub use peers::PeerKey;
pub(crate) use peers::{PeerConnection, Peers};
