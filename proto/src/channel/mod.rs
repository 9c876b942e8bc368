//! Transport of both ends: addresses and routes, TLS, tokens, keepalive, window sizes, message limits.

mod access;
mod address;
mod dial;
mod greeting;
pub mod local_socket;
mod settings;
mod stamp;
pub mod tls;
mod unreachable;

use tonic::transport::Server;

use settings::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};

pub use access::{Access, BadTokenFile, MIN_TOKEN_CHARS, TOKEN_FILE_VARIABLE, TokenLine, read_tokens};
pub use address::{BadAddress, CoordinatorAddress};
pub use dial::{Connection, connect};
pub use settings::{
    CHUNK_BYTES, CONNECTION_WINDOW_BYTES, MAX_DOCUMENT_BYTES, MAX_MESSAGE_BYTES, OPEN_QUESTIONS,
    STREAM_WINDOW_BYTES,
};
pub use stamp::{AUTHORIZATION_KEY, PROTOCOL_KEY, check_stamp};
pub use unreachable::{Cause, Unreachable};

/// What a program says at its start when its requests are plain text.
pub fn plain_text_warning(address: &CoordinatorAddress) -> String {
    let plain: Vec<&str> = address.plain_text().collect();
    let address = plain.join(", ");
    format!("warning: {address} is plain text to a coordinator that has not proved who it is (--insecure)")
}

/// Server builder with the settings of this protocol; the caller adds the services.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Client of the `Fleet` service with the limits of this protocol.
pub fn fleet_client(connection: Connection) -> crate::v1::fleet_client::FleetClient<Connection> {
    crate::v1::fleet_client::FleetClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Client of the `Runs` service with the limits of this protocol.
pub fn runs_client(connection: Connection) -> crate::v1::runs_client::RunsClient<Connection> {
    crate::v1::runs_client::RunsClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
