//! What follows for a batch: pure. The driver performs one step after the other and records what came of each.
//!
//! *Invariant*: money is spent by [`Step::Create`] alone. Before it, `Creating` is recorded; after it, and after any crash in
//! between, the batch is looked for by its mark before it is created again.

use llm::batch::{FileId, RemoteBatch, RemoteStatus};

use super::record::Phase;

/// How often a finished batch is looked at that names no file, though lines of it were answered: some providers name it late.
const LOOKS_FOR_FILES: u32 = 20;

/// How batches are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// After so long a batch that is not found was not created, in ms.
    pub(crate) unseen_ms: u64,
    /// After so long the provider ends a batch, in ms.
    pub(crate) window_ms: u64,
    /// Whether a batch is cancelled when its window is over, and the rest asked live.
    pub(crate) cancels: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Free its questions: nothing was asked for.
    Drop,
    /// Upload its file.
    Upload,
    /// Record [`Phase::Creating`], then tell the provider to work on the file.
    Create { input: FileId },
    /// Look for it by its mark.
    Find,
    /// Look at it.
    Look,
    /// Cancel it.
    Cancel,
    /// Read its answers.
    Collect,
    /// Nothing.
    Nothing,
}

/// The next step of a batch. `is_mine`: this process has begun it and has not lost track of it since; `has_file`: its file
/// of questions lies here.
pub(crate) fn next(phase: &Phase, is_mine: bool, has_file: bool, patience: &Patience, now_ms: u64) -> Step {
    match phase {
        // Another process that is gone was collecting: what it knew is gone with it.
        Phase::Gathering if is_mine => Step::Nothing,
        Phase::Ready if has_file => Step::Upload,
        Phase::Gathering | Phase::Ready => Step::Drop,
        Phase::Uploaded { input } => Step::Create { input: input.clone() },
        Phase::Creating { .. } => Step::Find,
        Phase::Submitted { at_ms, cancelled, .. } => {
            let over = now_ms > at_ms.saturating_add(patience.window_ms);
            if over && patience.cancels && !cancelled { Step::Cancel } else { Step::Look }
        }
        Phase::Ended { .. } => Step::Collect,
        Phase::Done { .. } | Phase::Dropped => Step::Nothing,
    }
}

/// The phase after the file was uploaded.
pub(crate) const fn uploaded(input: FileId) -> Phase {
    Phase::Uploaded { input }
}

/// The phase before the provider is told to work on it.
pub(crate) const fn creating(input: FileId, now_ms: u64) -> Phase {
    Phase::Creating { input, at_ms: now_ms }
}

/// The phase after the provider showed the batch that it was told to work on.
pub(crate) fn created(phase: &Phase, shown: &RemoteBatch, now_ms: u64) -> Phase {
    match phase {
        Phase::Creating { input, at_ms } => {
            let at_ms = (*at_ms).min(now_ms);
            let (input, remote) = (input.clone(), shown.id.clone());
            looked(&Phase::Submitted { input, remote, at_ms, looks: 0, cancelled: false }, shown)
        }
        other => other.clone(),
    }
}

/// The phase after the provider refused to work on it, for good or for now: it did not begin.
pub(crate) fn refused(phase: &Phase) -> Phase {
    match phase {
        Phase::Creating { input, .. } => Phase::Uploaded { input: input.clone() },
        other => other.clone(),
    }
}

/// The phase after a search by the mark, which lists the newest first, and those that are too many: the oldest counts.
pub(crate) fn found<'r>(
    phase: &Phase,
    list: &'r [RemoteBatch],
    patience: &Patience,
    now_ms: u64,
) -> (Phase, &'r [RemoteBatch]) {
    let Phase::Creating { at_ms, .. } = phase else { return (phase.clone(), &[]) };
    match list.split_last() {
        Some((oldest, newer)) => (created(phase, oldest, now_ms), newer),
        // It may be under way, and not listed yet.
        None if now_ms < at_ms.saturating_add(patience.unseen_ms) => (phase.clone(), &[]),
        None => (refused(phase), &[]),
    }
}

/// The phase after a look.
pub(crate) fn looked(phase: &Phase, shown: &RemoteBatch) -> Phase {
    let Phase::Submitted { input, remote, at_ms, looks, cancelled } = phase else { return phase.clone() };
    let files: Vec<FileId> = shown.output.iter().chain(&shown.errors).cloned().collect();
    let nameless = shown.counts.completed > 0 && shown.output.is_none();
    if !shown.status.is_final() || (nameless && *looks < LOOKS_FOR_FILES) {
        let looks = looks + u32::from(shown.status.is_final());
        return Phase::Submitted {
            input: input.clone(),
            remote: remote.clone(),
            at_ms: *at_ms,
            looks,
            cancelled: *cancelled,
        };
    }
    Phase::Ended {
        input: input.clone(),
        remote: remote.clone(),
        status: shown.status,
        files,
        words: shown.words.clone(),
    }
}

/// The phase after the provider took the order to cancel it.
pub(crate) fn cancelled(phase: &Phase, shown: &RemoteBatch) -> Phase {
    match looked(phase, shown) {
        Phase::Submitted { input, remote, at_ms, looks, .. } => {
            Phase::Submitted { input, remote, at_ms, looks, cancelled: true }
        }
        other => other,
    }
}

/// The phase after the provider does not know the batch any more: it has ended, and its answers are lost.
pub(crate) fn gone(phase: &Phase) -> Phase {
    match phase {
        Phase::Submitted { input, remote, .. } => Phase::Ended {
            input: input.clone(),
            remote: remote.clone(),
            status: RemoteStatus::Failed,
            files: Vec::new(),
            words: "the provider does not know the batch any more".to_owned(),
        },
        other => other.clone(),
    }
}

/// The phase after its answers were read.
pub(crate) fn collected(phase: &Phase) -> Phase {
    match phase {
        Phase::Ended { status, .. } => Phase::Done { status: *status },
        other => other.clone(),
    }
}
