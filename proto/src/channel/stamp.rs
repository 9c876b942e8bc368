//! What a client adds to each call: its protocol version and, where it has one, its token.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::status::{ApiError, check_version};

/// Metadata key with the protocol version of the caller.
pub const PROTOCOL_KEY: &str = "k8s-auto-fix-protocol";

/// Metadata key of the token.
pub const AUTHORIZATION_KEY: &str = "authorization";

/// Adds protocol version and token to the metadata of a call.
#[derive(Debug, Clone)]
pub struct Stamp {
    pub(super) bearer: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(PROTOCOL_KEY, MetadataValue::from(crate::PROTOCOL_VERSION));
        if let Some(bearer) = &self.bearer {
            metadata.insert(AUTHORIZATION_KEY, bearer.clone());
        }
        Ok(request)
    }
}

/// Refuses a call of a program with another protocol version: `stamp` is the value of [`PROTOCOL_KEY`], `agent` names the
/// caller's software.
pub fn check_stamp(stamp: &str, agent: &str, our_software: &str) -> Result<(), ApiError> {
    // 0 is not a version of the protocol: an unreadable stamp is refused.
    check_version(stamp.parse().unwrap_or(0), ("client", agent), ("coordinator", our_software))
}
