//! The client over real sockets, and the limiter against load curves.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod bursts;
mod client;
mod curves;
mod hostile;
mod load;
mod mock;
mod phases;
mod redirects;
mod support;
