//! Transport settings of client and server: keepalive, window sizes, message limits. TLS and authentication, which
//! do not exist yet, would be set up here too.

use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

use crate::status::{ApiError, check_version};

/// Largest message that either end accepts. It is above `FRAME_BYTES`, the usual size of a piece of a shard's records,
/// because one document may be larger than that.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Largest document that a run may allow, so that it fits into a message with room to spare.
pub const MAX_DOCUMENT_BYTES: usize = 24 << 20;

/// Size of the chunks in which a part is uploaded.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Pending LLM requests that a worker may have on one stream; further requests wait in the worker.
pub const OPEN_QUESTIONS: usize = 20_000;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of one stream that the server receives before its service reads them. They bound the memory that half-sent
/// messages take while they wait.
pub const STREAM_WINDOW_BYTES: u32 = 512 << 10;

/// The same for all streams of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// Windows of a client: shards and answers come from a coordinator that it has chosen.
const CLIENT_STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A coordinator address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not a coordinator's address such as http://127.0.0.1:7070")]
pub struct BadAddress {
    url: String,
    #[source]
    source: Option<tonic::transport::Error>,
}

/// Endpoint of a client with the settings of this protocol; does not connect yet.
pub fn endpoint(url: &str) -> Result<Endpoint, BadAddress> {
    let bad = |source| BadAddress { url: url.chars().take(200).collect(), source };
    if !url.starts_with("http://") {
        return Err(bad(None));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|source| bad(Some(source)))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES))
}

/// Server builder with the settings of this protocol; the caller adds the services.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Client of the `Fleet` service with the limits of this protocol.
pub fn fleet_client(channel: Channel) -> crate::v1::fleet_client::FleetClient<Channel> {
    crate::v1::fleet_client::FleetClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Metadata key with the protocol version of a client of the `Runs` service.
pub const PROTOCOL_KEY: &str = "k8s-auto-fix-protocol";

/// An interceptor as a function pointer, so that its type has a name.
type StampFn = fn(Request<()>) -> Result<Request<()>, Status>;

/// A channel that adds the protocol version to the metadata of each call.
pub type StampedChannel = InterceptedService<Channel, StampFn>;

/// Adds the protocol version to the metadata of a call.
#[expect(clippy::unnecessary_wraps, reason = "the signature of an interceptor")]
fn stamp(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert(PROTOCOL_KEY, MetadataValue::from(crate::PROTOCOL_VERSION));
    Ok(request)
}

/// Refuses a call of a client with another protocol version. A call without the metadata key, as sent by general gRPC
/// tools, is accepted.
pub fn check_stamp(request: &Request<()>, our_software: &str) -> Result<(), ApiError> {
    let Some(stamp) = request.metadata().get(PROTOCOL_KEY) else { return Ok(()) };
    // 0 is not a version of the protocol: an unreadable stamp is refused.
    let theirs = stamp.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let agent = request.metadata().get("user-agent").and_then(|agent| agent.to_str().ok());
    check_version(theirs, ("client", agent.unwrap_or("unknown")), ("coordinator", our_software))
}

/// Client of the `Runs` service with the limits of this protocol.
pub fn runs_client(channel: Channel) -> crate::v1::runs_client::RunsClient<StampedChannel> {
    crate::v1::runs_client::RunsClient::with_interceptor(channel, stamp as StampFn)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_accepted() {
        assert!(endpoint("http://127.0.0.1:7070").is_ok());
        for bad in ["127.0.0.1:7070", "https://example.org", "http://a b", ""] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
