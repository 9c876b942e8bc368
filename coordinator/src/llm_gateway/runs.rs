//! Link between runs and gateway: one mailbox in each direction, and the status snapshot.
//!
//! *Invariant*: a reader empties its mailbox before it decides anything, so a message that was posted before a decision
//! counts in it. The gateway does so before each message of a worker, the coordinator before each lease.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use domain::ids::RunId;

use super::spend_limit::LlmPolicy;
use super::status_snapshot::LlmStatusSnapshot;

/// Change of a run that decides whether it may call a model. Sent by the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RunChanged {
    /// The run is active; a halt before it is lifted. `policy` is `None` where the run uses no model.
    Active { run_id: RunId, policy: Option<Arc<LlmPolicy>> },
    /// The run is stopped until it is submitted again.
    Halted { run_id: RunId, reason: String },
    /// The run has ended.
    Ended { run_id: RunId },
}

impl RunChanged {
    /// The run, if it may call a model from now on.
    pub(super) const fn asking(&self) -> Option<&RunId> {
        match self {
            Self::Active { run_id, policy: Some(_) } => Some(run_id),
            Self::Active { policy: None, .. } | Self::Halted { .. } | Self::Ended { .. } => None,
        }
    }
}

/// Obstacle to runs. Sent by the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunHalted {
    /// The run stops until it is submitted again.
    Halted { run_id: RunId, reason: String },
    /// The response cache does not work; the runs go on by themselves once it does.
    Stalled { run_ids: Vec<RunId>, reason: String },
    /// The response cache works again.
    Recovered { run_ids: Vec<RunId> },
}

/// Ordered queue that its one reader empties at once.
///
/// It has no bound of its own: there is one message for each change of a run, or for each failure of the cache.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    messages: Mutex<VecDeque<T>>,
    arrived: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { messages: Mutex::default(), arrived: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    /// Appends a message and wakes the reader.
    pub(crate) fn post(&self, message: T) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
        self.arrived.notify_one();
    }

    /// Takes all messages, the oldest first.
    pub(crate) fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a message has been posted since this returned last. The mailbox may be empty again by then.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// What the runs of a coordinator and its gateway share.
#[derive(Debug, Default)]
pub(crate) struct RunLink {
    /// From the coordinator to the gateway.
    pub(crate) changed: Mailbox<RunChanged>,
    /// From the gateway to the coordinator.
    pub(crate) halted: Mailbox<RunHalted>,
    /// LLM status of each run, written by the gateway.
    pub(crate) status: LlmStatusSnapshot,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_mailbox_keeps_the_order_and_wakes_its_reader_once() {
        let mailbox = Mailbox::default();
        mailbox.post(1);
        mailbox.post(2);
        mailbox.arrived().await;
        assert_eq!(mailbox.take(), [1, 2]);
        assert!(mailbox.arrived().now_or_never().is_none(), "both were taken");
        mailbox.post(3);
        assert_eq!(mailbox.take(), [3]);
    }
}
