//! A batch: what was asked for, how far it is by the clock, how it ends, and how it is shown.

use domain::ids::AnswerKey;
use serde_json::{Value, json};

use super::faults::{BatchFault, BatchFaults};
use crate::answers::Answers;
use crate::chat::random;
use crate::manner::Manner;

/// How batches are worked on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchSettings {
    /// How long a batch takes, in seconds.
    pub delay: f64,
    /// What goes wrong.
    pub faults: BatchFaults,
}

/// How often a batch is looked at before it names its output, where that comes late.
const LATE_LOOKS: u32 = 3;

/// A batch.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(super) id: String,
    pub(super) input: String,
    pub(super) endpoint: String,
    pub(super) window: String,
    pub(super) metadata: Value,
    /// When it was created, in the provider's seconds and on the clock.
    pub(super) created: f64,
    pub(super) created_at: u64,
    pub(super) lines: u64,
    /// How it will end, and which share of its lines is worked on until then.
    pub(super) ending: (Ending, f64),
    /// When it was cancelled.
    pub(super) cancelled: Option<f64>,
    pub(super) result: Option<BatchResult>,
    /// How often it has still to be looked at before it names its output.
    pub(super) late: u32,
}

/// How a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Expired,
    Failed,
    Cancelled,
}

impl Ending {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a batch has ended with.
#[derive(Debug, Clone)]
pub(super) struct BatchResult {
    pub(super) ending: Ending,
    pub(super) output: Option<String>,
    pub(super) errors: Option<String>,
    pub(super) answered: u64,
    pub(super) failed: u64,
}

/// What the work on batches needs of the provider.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) settings: BatchSettings,
    pub(crate) answers: Answers,
    pub(crate) manner: Manner,
    pub(crate) cached_share: f64,
    pub(crate) seed: u64,
}

impl Batch {
    /// How the batch with this number will end.
    pub(super) fn drawn(worker: &Worker, number: u64) -> ((Ending, f64), u32) {
        let key = AnswerKey::of(&number.to_le_bytes());
        let mut random = random(worker.seed, &key, 1);
        let faults = &worker.settings.faults;
        let expires = faults.occurs(BatchFault::Expire, &mut random);
        let fails = faults.occurs(BatchFault::Fail, &mut random);
        let late = faults.occurs(BatchFault::LateOutput, &mut random);
        let part = 0.2 + 0.7 * random.f64();
        let ending = match (expires, fails) {
            (true, _) => (Ending::Expired, part),
            (false, true) => (Ending::Failed, part),
            (false, false) => (Ending::Completed, 1.0),
        };
        (ending, if late { LATE_LOOKS } else { 0 })
    }

    /// The share of its lines that is worked on at a time, of a batch that takes `delay`.
    fn progress(&self, now: f64, delay: f64) -> f64 {
        let until = self.cancelled.map_or(now, |at| at.min(now));
        if delay <= 0.0 { 1.0 } else { ((until - self.created) / delay).clamp(0.0, 1.0) }
    }

    /// How it has ended by now; `None`: it has not.
    pub(super) fn ended(&self, now: f64, delay: f64) -> Option<(Ending, f64)> {
        let (ending, part) = self.ending;
        let progress = self.progress(now, delay);
        if progress >= part {
            return Some((ending, part));
        }
        self.cancelled.map(|_| (Ending::Cancelled, progress))
    }

    /// The batch as it is shown.
    pub(super) fn shown(&self, now: f64, delay: f64) -> Value {
        let progress = self.progress(now, delay);
        let status = match &self.result {
            Some(result) => result.ending.as_str(),
            None if progress < 0.02 => "validating",
            None => "in_progress",
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let begun = (self.lines as f64 * progress) as u64;
        let (completed, failed) =
            self.result.as_ref().map_or((begun, 0), |result| (result.answered, result.failed));
        let file = |of: fn(&BatchResult) -> &Option<String>| {
            self.result.as_ref().filter(|_| self.late == 0).and_then(|result| of(result).clone())
        };
        json!({
            "id": self.id, "object": "batch", "endpoint": self.endpoint, "errors": null, "input_file_id": self.input,
            "completion_window": self.window, "status": status, "output_file_id": file(|result| &result.output),
            "error_file_id": file(|result| &result.errors), "created_at": self.created_at, "metadata": self.metadata,
            "request_counts": {"total": self.lines, "completed": completed, "failed": failed},
        })
    }
}
