//! Errors of RPCs: a machine-readable reason, a message for people, and the gRPC code that belongs to the reason.
//!
//! The reason travels in a metadata key of our own. `google.rpc.ErrorInfo` (crate `tonic-types`) would carry the same word
//! in the status details; one ASCII key needs no further dependency, and tools such as `grpcurl` print it undecoded.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::convert::BadMessage;

/// Bytes of a message beyond which it is cut: a client accepts 16 KiB of headers, in which it is escaped.
const MESSAGE_BYTES: usize = 4096;

/// Metadata key of the reason.
pub const REASON_KEY: &str = "k8s-auto-fix-reason";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal => $code:ident,)*) => {
        /// Machine-readable reason of an [`ApiError`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorReason {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason as sent in the metadata.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The gRPC code of the reason.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// Both ends have different protocol versions.
    VersionMismatch = "version_mismatch" => FailedPrecondition,
    /// The caller has not proved a role.
    Unauthenticated = "unauthenticated" => Unauthenticated,
    /// The caller's role may not do this.
    PermissionDenied = "permission_denied" => PermissionDenied,
    /// The worker has no session with that secret: it may join again.
    UnknownSession = "unknown_session" => Unauthenticated,
    /// A field of the message is missing or invalid.
    BadMessage = "bad_message" => InvalidArgument,
    /// No run has this id.
    UnknownRun = "unknown_run" => NotFound,
    /// No worker of this name is connected.
    UnknownWorker = "unknown_worker" => NotFound,
    /// The run has no such shard.
    UnknownShard = "unknown_shard" => NotFound,
    /// The fencing token is stale: the shard was leased again, or committed under another token.
    StaleToken = "stale_token" => Aborted,
    /// The run has ended.
    RunEnded = "run_ended" => FailedPrecondition,
    /// The run has not ended, as the call requires.
    RunLives = "run_lives" => FailedPrecondition,
    /// A run of this id exists with another corpus.
    CorpusDiffers = "corpus_differs" => AlreadyExists,
    /// A run of this id exists with another configuration.
    ConfigDiffers = "config_differs" => AlreadyExists,
    /// The corpus has no records.
    EmptyCorpus = "empty_corpus" => InvalidArgument,
    /// A part, document or request exceeds a limit.
    TooLarge = "too_large" => ResourceExhausted,
    /// A peer has too much open at the same time; the call may be repeated later.
    TooMany = "too_many" => ResourceExhausted,
    /// Length or hash of the part differ from its header.
    DamagedPart = "damaged_part" => DataLoss,
    /// The part is not the result of its shard: the lease is released as failed. To send it again does not help.
    PartRefused = "part_refused" => InvalidArgument,
    /// The folder for the results of a run holds something else.
    FolderTaken = "folder_taken" => AlreadyExists,
    /// The stream was slower than its time limit; the call may be repeated.
    TimedOut = "timed_out" => DeadlineExceeded,
    /// The ledger or the object store failed; the call may be repeated.
    Storage = "storage" => Unavailable,
    /// The coordinator shuts down; the call may be repeated later.
    Draining = "draining" => Unavailable,
    /// A bug in the coordinator.
    Internal = "internal" => Internal,
}

impl ErrorReason {
    /// Reads the reason of a status; `None` when the status does not come from this protocol.
    pub fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(REASON_KEY)?.to_str().ok()?;
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

/// An RPC error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Machine-readable reason.
    pub reason: ErrorReason,
    /// Message for people: what is wrong and the remedy.
    pub message: String,
}

impl ApiError {
    /// Creates an error.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl From<BadMessage> for ApiError {
    fn from(error: BadMessage) -> Self {
        Self::new(ErrorReason::BadMessage, error.to_string())
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        // It travels in a header, and may repeat what a peer sent.
        let message: String = if error.message.len() > MESSAGE_BYTES {
            error.message.chars().take(MESSAGE_BYTES / 4).chain("…".chars()).collect()
        } else {
            error.message
        };
        let mut status = Self::new(error.reason.code(), message);
        status.metadata_mut().insert(REASON_KEY, MetadataValue::from_static(error.reason.as_str()));
        status
    }
}

/// Whether repeating a call that ended with `status` can help.
pub fn is_transient(status: &Status) -> bool {
    match ErrorReason::of(status) {
        Some(reason) => {
            matches!(
                reason,
                ErrorReason::Storage
                    | ErrorReason::Draining
                    | ErrorReason::DamagedPart
                    | ErrorReason::TooMany
                    | ErrorReason::TimedOut
                    | ErrorReason::UnknownSession
            )
        }
        // Not from this protocol: from the transport or a proxy between the two ends.
        None => matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::Aborted
        ),
    }
}

/// The message of a status, with its causes where the transport failed: such a status names the cause only in its sources.
pub fn explained(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// Compares the protocol version of the other end with ours.
///
/// `theirs` is the version that it sent. `them` and `us` are role and software version of each end, for the message.
pub fn check_version(theirs: u32, them: (&str, &str), us: (&str, &str)) -> Result<(), ApiError> {
    if theirs == crate::PROTOCOL_VERSION {
        return Ok(());
    }
    let software: String = them.1.chars().filter(|c| !c.is_control()).take(40).collect();
    Err(ApiError::new(
        ErrorReason::VersionMismatch,
        format!(
            "the {} speaks protocol {theirs} (version {software}), the {} protocol {} (version {}): install the same \
             release on both",
            them.0,
            us.0,
            crate::PROTOCOL_VERSION,
            us.1
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_round_trips_through_a_status() {
        for reason in ErrorReason::ALL {
            let status = Status::from(ApiError::new(*reason, "because"));
            assert_eq!((ErrorReason::of(&status), status.message()), (Some(*reason), "because"));
        }
        assert_eq!(ErrorReason::of(&Status::aborted("from elsewhere")), None);
    }

    #[test]
    fn a_long_message_is_cut_so_that_it_fits_into_a_header() {
        let status = Status::from(ApiError::new(ErrorReason::BadMessage, "ü".repeat(60_000)));
        assert!(status.message().len() < MESSAGE_BYTES && status.message().ends_with('…'));
        assert_eq!(ErrorReason::of(&status), Some(ErrorReason::BadMessage));
    }

    #[test]
    fn only_transient_errors_are_repeated() {
        assert!(is_transient(&ApiError::new(ErrorReason::Storage, "").into()));
        assert!(is_transient(&ApiError::new(ErrorReason::UnknownSession, "").into()));
        assert!(!is_transient(&ApiError::new(ErrorReason::Unauthenticated, "").into()));
        assert!(is_transient(&Status::unavailable("connection refused")));
        assert!(!is_transient(&ApiError::new(ErrorReason::StaleToken, "").into()));
        assert!(!is_transient(&Status::unimplemented("")));
    }

    #[test]
    fn a_version_mismatch_names_both_versions_and_the_remedy() {
        let us = ("coordinator", "0.1.0");
        assert!(check_version(crate::PROTOCOL_VERSION, ("worker", "0.1.0"), us).is_ok());
        let error = check_version(99, ("worker", "9.9.9"), us).unwrap_err();
        let text = error.to_string();
        let ours = format!("protocol {}", crate::PROTOCOL_VERSION);
        for needed in ["the worker", "99", "9.9.9", "the coordinator", &ours, "0.1.0", "same release"] {
            assert!(text.contains(needed), "{text}");
        }
    }
}
