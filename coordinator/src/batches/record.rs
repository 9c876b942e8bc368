//! A batch as it is recorded: what a process that knows nothing else needs to go on with it.

use std::fmt;

use domain::ids::RunId;
use llm::batch::{BatchId, FileId, Mark, RemoteStatus};
use serde::{Deserialize, Serialize};

use crate::llm_gateway::response_cache::Owner;

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its questions are collected. Nothing has left this machine.
    Gathering,
    /// Its file lies on this machine, complete.
    Ready,
    /// The provider has the file. Nothing has been asked for.
    Uploaded { input: FileId },
    /// The provider was, or is about to be, told to work on it: whether it does is not known until it is found by its mark.
    Creating { input: FileId, at_ms: u64 },
    /// The provider works on it.
    Submitted { input: FileId, remote: BatchId, at_ms: u64, looks: u32, cancelled: bool },
    /// The provider has ended it; its answers are to be read.
    Ended { input: FileId, remote: BatchId, status: RemoteStatus, files: Vec<FileId>, words: String },
    /// Every line has its answer, its failure, or is free to be asked again.
    Done { status: RemoteStatus },
    /// It was given up before anything was asked for.
    Dropped,
}

impl Phase {
    /// The word of the store and of messages.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Gathering => "gathering",
            Self::Ready => "ready",
            Self::Uploaded { .. } => "uploaded",
            Self::Creating { .. } => "creating",
            Self::Submitted { .. } => "submitted",
            Self::Ended { .. } => "ended",
            Self::Done { .. } => "done",
            Self::Dropped => "dropped",
        }
    }

    /// Whether something is left to do.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self, Self::Done { .. } | Self::Dropped)
    }

    /// The provider's id of the batch, where it is known.
    pub(crate) const fn remote(&self) -> Option<&BatchId> {
        match self {
            Self::Submitted { remote, .. } | Self::Ended { remote, .. } => Some(remote),
            _ => None,
        }
    }
}

/// A batch as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRecord {
    /// Its mark, also at the provider.
    pub(crate) mark: Mark,
    /// The run that pays for it.
    pub(crate) run_id: RunId,
    /// Where it is submitted.
    pub(crate) target: Target,
    pub(crate) phase: Phase,
    /// Its lines.
    pub(crate) lines: u64,
    /// Who works on it.
    pub(crate) owner: Owner,
    /// When it was begun, in ms since the Unix epoch.
    pub(crate) created_at_ms: u64,
}

/// Where a batch is submitted, and which model it asks. Part of the key of every answer in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name of the provider.
    pub(crate) provider: String,
    /// Its address.
    pub(crate) endpoint: String,
    /// The model.
    pub(crate) model: String,
}

/// The parts of a phase as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    looks: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    words: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A stored phase that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadPhase;

impl fmt::Display for BadPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch is recorded in a form that this program does not know")
    }
}

impl std::error::Error for BadPhase {}

impl Phase {
    /// The parts that the word does not say, as JSON.
    pub(crate) fn detail(&self) -> String {
        let mut detail = Detail::default();
        match self {
            Self::Gathering | Self::Ready | Self::Dropped => {}
            Self::Uploaded { input } => detail.input = Some(input.to_string()),
            Self::Creating { input, at_ms } => {
                (detail.input, detail.at_ms) = (Some(input.to_string()), Some(*at_ms));
            }
            Self::Submitted { input, remote, at_ms, looks, cancelled } => {
                (detail.input, detail.remote) = (Some(input.to_string()), Some(remote.to_string()));
                (detail.at_ms, detail.looks, detail.cancelled) = (Some(*at_ms), *looks, *cancelled);
            }
            Self::Ended { input, remote, status, files, words } => {
                (detail.input, detail.remote) = (Some(input.to_string()), Some(remote.to_string()));
                detail.status = Some(status.as_str().to_owned());
                detail.files = files.iter().map(ToString::to_string).collect();
                detail.words.clone_from(words);
            }
            Self::Done { status } => detail.status = Some(status.as_str().to_owned()),
        }
        // Texts and numbers always serialise.
        serde_json::to_string(&detail).unwrap_or_default()
    }

    /// The phase of a word and its parts.
    pub(crate) fn parse(word: &str, detail: &str) -> Result<Self, BadPhase> {
        let Detail { input, remote, at_ms, looks, cancelled, status, files, words } =
            serde_json::from_str(detail).map_err(|_| BadPhase)?;
        let file = |id: String| FileId::new(id).map_err(|_| BadPhase);
        let input = || input.ok_or(BadPhase).and_then(file);
        let remote = || remote.ok_or(BadPhase).and_then(|id| BatchId::new(id).map_err(|_| BadPhase));
        let at_ms = at_ms.ok_or(BadPhase);
        let status = || {
            let all = [
                RemoteStatus::Underway,
                RemoteStatus::Completed,
                RemoteStatus::Failed,
                RemoteStatus::Expired,
                RemoteStatus::Cancelled,
            ];
            all.into_iter().find(|known| status.as_deref() == Some(known.as_str())).ok_or(BadPhase)
        };
        Ok(match word {
            "gathering" => Self::Gathering,
            "ready" => Self::Ready,
            "uploaded" => Self::Uploaded { input: input()? },
            "creating" => Self::Creating { input: input()?, at_ms: at_ms? },
            "submitted" => {
                Self::Submitted { input: input()?, remote: remote()?, at_ms: at_ms?, looks, cancelled }
            }
            "ended" => {
                let files = files.into_iter().map(file).collect::<Result<_, _>>()?;
                Self::Ended { input: input()?, remote: remote()?, status: status()?, files, words }
            }
            "done" => Self::Done { status: status()? },
            "dropped" => Self::Dropped,
            _ => return Err(BadPhase),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_survives_the_store() {
        let (input, remote) = (FileId::new("file-1").unwrap(), BatchId::new("batch_1").unwrap());
        let status = RemoteStatus::Expired;
        for phase in [
            Phase::Gathering,
            Phase::Ready,
            Phase::Uploaded { input: input.clone() },
            Phase::Creating { input: input.clone(), at_ms: 7 },
            Phase::Submitted {
                input: input.clone(),
                remote: remote.clone(),
                at_ms: 7,
                looks: 2,
                cancelled: true,
            },
            Phase::Ended {
                input: input.clone(),
                remote,
                status,
                files: vec![input],
                words: "late".to_owned(),
            },
            Phase::Done { status },
            Phase::Dropped,
        ] {
            assert_eq!(Phase::parse(phase.as_str(), &phase.detail()), Ok(phase));
        }
        for (word, detail) in
            [("uploaded", "{}"), ("gone", "{}"), ("ready", "x"), ("done", r#"{"status": "x"}"#)]
        {
            assert_eq!(Phase::parse(word, detail), Err(BadPhase), "{word}");
        }
    }
}
