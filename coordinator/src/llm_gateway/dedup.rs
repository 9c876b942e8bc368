//! Recently completed calls, to drop results re-sent after a lost acknowledgement.

use std::collections::{HashSet, VecDeque};

use domain::ids::{AnswerKey, WorkerName};

/// How many are remembered.
const MOST: usize = 50_000;

/// A call, as its worker names it.
pub(super) type Name = (WorkerName, u64, AnswerKey);

/// Calls that ended.
#[derive(Debug, Default)]
pub(super) struct RecentCalls {
    known: HashSet<Name>,
    order: VecDeque<Name>,
}

impl RecentCalls {
    /// Remembers a call.
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

    /// Whether it is remembered.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.known.contains(name)
    }
}
