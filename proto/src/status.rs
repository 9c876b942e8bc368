//! What a call can be refused for: one word for machines, a sentence for people, and the gRPC code between them.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::convert::BadMessage;

/// Metadata key under which the word travels.
pub const REASON_KEY: &str = "k8s-auto-fix-reason";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal => $code:ident,)*) => {
        /// Why a call was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorReason {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The gRPC code that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// Worker and coordinator speak different versions of the protocol.
    VersionMismatch = "version_mismatch" => FailedPrecondition,
    /// The message is not legal.
    BadMessage = "bad_message" => InvalidArgument,
    /// No run has this id.
    UnknownRun = "unknown_run" => NotFound,
    /// No worker of this name is connected.
    UnknownWorker = "unknown_worker" => NotFound,
    /// The run has no such shard.
    UnknownShard = "unknown_shard" => NotFound,
    /// The shard has been leased again since, or committed under another token.
    StaleToken = "stale_token" => Aborted,
    /// The run has ended.
    RunEnded = "run_ended" => FailedPrecondition,
    /// The run has not ended.
    RunLives = "run_lives" => FailedPrecondition,
    /// A run of this id exists with another corpus.
    CorpusDiffers = "corpus_differs" => AlreadyExists,
    /// A run of this id exists with another configuration.
    ConfigDiffers = "config_differs" => AlreadyExists,
    /// The corpus has no record.
    EmptyCorpus = "empty_corpus" => InvalidArgument,
    /// Something is larger than the limits allow.
    TooLarge = "too_large" => ResourceExhausted,
    /// The part is not what its header says.
    DamagedPart = "damaged_part" => DataLoss,
    /// The stream was slower than its time limit; the call may be repeated.
    TimedOut = "timed_out" => DeadlineExceeded,
    /// The ledger or the store does not work; the call may be repeated.
    Storage = "storage" => Unavailable,
    /// The coordinator is ending; the call may be repeated elsewhere or later.
    Draining = "draining" => Unavailable,
    /// A fault of the coordinator.
    Internal = "internal" => Internal,
}

impl ErrorReason {
    /// Reads the word of a status; `None` when the status did not come from this protocol.
    pub fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(REASON_KEY)?.to_str().ok()?;
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

/// A refusal: the word and the sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For machines.
    pub reason: ErrorReason,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl ApiError {
    /// Refuses for `reason`.
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
    fn from(refusal: ApiError) -> Self {
        let mut status = Self::new(refusal.reason.code(), refusal.message);
        status.metadata_mut().insert(REASON_KEY, MetadataValue::from_static(refusal.reason.as_str()));
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
                    | ErrorReason::TimedOut
            )
        }
        // Not from this protocol: from the transport or from something between the two ends.
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

/// Compares the protocol version of the other end with ours.
///
/// `theirs` is the version it sent; for the sentence, `them` and `us` are what each end is and the version of its
/// software.
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
    fn a_refusal_survives_as_a_status() {
        for reason in ErrorReason::ALL {
            let status = Status::from(ApiError::new(*reason, "because"));
            assert_eq!((ErrorReason::of(&status), status.message()), (Some(*reason), "because"));
        }
        assert_eq!(ErrorReason::of(&Status::aborted("from elsewhere")), None);
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        assert!(is_transient(&ApiError::new(ErrorReason::Storage, "").into()));
        assert!(is_transient(&Status::unavailable("connection refused")));
        assert!(!is_transient(&ApiError::new(ErrorReason::StaleToken, "").into()));
        assert!(!is_transient(&Status::unimplemented("")));
    }

    #[test]
    fn a_version_mismatch_names_both_versions_and_the_remedy() {
        let us = ("coordinator", "0.1.0");
        assert!(check_version(crate::PROTOCOL_VERSION, ("worker", "0.1.0"), us).is_ok());
        let refusal = check_version(99, ("worker", "9.9.9"), us).unwrap_err();
        let text = refusal.to_string();
        let ours = format!("protocol {}", crate::PROTOCOL_VERSION);
        for needed in ["the worker", "99", "9.9.9", "the coordinator", &ours, "0.1.0", "same release"] {
            assert!(text.contains(needed), "{text}");
        }
    }
}
