//! Recently completed calls, to drop results re-sent after a lost acknowledgement.

use std::collections::{HashSet, VecDeque};

use domain::ids::{AnswerKey, WorkerName};

/// Calls that are remembered.
const MOST: usize = 50_000;

/// Name of a call: its worker, its number there, and its key.
pub(super) type Name = (WorkerName, u64, AnswerKey);

/// The last calls that ended.
#[derive(Debug, Default)]
pub(super) struct RecentCalls {
    known: HashSet<Name>,
    order: VecDeque<Name>,
}

impl RecentCalls {
    /// Adds a call, and drops the oldest one beyond the limit.
    pub(super) fn add(&mut self, name: Name) {
        if self.known.insert(name.clone()) {
            self.order.push_back(name);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether the call has ended recently.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.known.contains(name)
    }
}
