//! Recently completed calls, to drop results re-sent after a lost acknowledgement.

use std::collections::{HashSet, VecDeque};

use super::response_cache::CallId;

/// Calls that are remembered.
const MOST: usize = 50_000;

/// The last calls that ended.
#[derive(Debug, Default)]
pub(super) struct RecentCalls {
    known: HashSet<CallId>,
    order: VecDeque<CallId>,
}

impl RecentCalls {
    /// Adds a call, and drops the oldest one beyond the limit.
    pub(super) fn add(&mut self, id: CallId) {
        if self.known.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether the call has ended recently.
    pub(super) fn has(&self, id: CallId) -> bool {
        self.known.contains(&id)
    }
}
