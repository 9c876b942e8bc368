//! What a batch changes, from what the tables hold: its writes in their order, without the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::answer::{Answer, Finish};
use domain::ids::{AnswerKey, RunId};

use crate::llm_gateway::response_cache::sums::Sums;
use crate::llm_gateway::response_cache::{
    CacheEntry, CacheWrite, CachedResponse, CallId, Counted, RecordedCall, StoreWrite,
};

/// What the tables hold of what a batch touches.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Calls that have a row.
    pub(super) calls: BTreeSet<CallId>,
    pub(super) answers: BTreeMap<AnswerKey, CachedResponse>,
    /// Labels of the failures of runs, by the ids of the runs.
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
}

/// An answer to be stored.
#[derive(Debug)]
pub(super) struct NewAnswer<'b> {
    pub(super) entry: &'b CacheEntry,
    /// That of the entry, as it can be stored.
    pub(super) answer: Arc<Answer>,
    pub(super) run_id: &'b RunId,
}

/// What a batch changes. Calls that have ended are deleted before those that begin are written.
#[derive(Debug, Default)]
pub(super) struct Changes<'b> {
    pub(super) ended: BTreeSet<CallId>,
    pub(super) begun: BTreeMap<CallId, &'b RecordedCall>,
    pub(super) answers: BTreeMap<AnswerKey, NewAnswer<'b>>,
    pub(super) sums: Sums<'b>,
}

impl<'b> Changes<'b> {
    /// What a batch changes, and what counts of each write. A write that took effect before has a value in `repeated`.
    pub(super) fn of(
        batch: &[&'b StoreWrite],
        repeated: &[Option<Counted>],
        held: &mut Held,
    ) -> (Self, Vec<Counted>) {
        let mut changes = Self::default();
        let writes = batch.iter().zip(repeated);
        let counted = writes.map(|(write, repeated)| repeated.unwrap_or_else(|| changes.add(write, held)));
        let counted = counted.collect();
        (changes, counted)
    }

    fn add(&mut self, write: &'b StoreWrite, held: &mut Held) -> Counted {
        match write {
            StoreWrite::Begin(call) => {
                held.calls.insert(call.id);
                self.begun.insert(call.id, call);
                Counted::Whole
            }
            StoreWrite::Unused { call, .. } => {
                self.delete(*call, held);
                Counted::Whole
            }
            StoreWrite::End(write) => {
                let is_open = write.call.is_none_or(|call| self.delete(call, held));
                let is_stored = self.insert(write, held);
                self.sums.count(write, is_open, is_stored)
            }
        }
    }

    /// Deletes a call; returns whether it was there.
    fn delete(&mut self, call: CallId, held: &mut Held) -> bool {
        self.begun.remove(&call);
        self.ended.insert(call);
        held.calls.remove(&call)
    }

    /// Stores the answer of a call, unless one is stored that it does not replace. Returns whether there was none to store, or
    /// the same was stored before.
    fn insert(&mut self, write: &'b CacheWrite, held: &mut Held) -> bool {
        let Some((key, entry)) = &write.entry else { return true };
        let answer = storable(&entry.answer);
        if let Some(known) = held.answers.get(key).filter(|known| !entry.replaces(known)) {
            return known.answer == answer;
        }
        let stored = CachedResponse { answer: Arc::clone(&answer), created_at_ms: entry.created_at_ms };
        held.answers.insert(*key, stored);
        self.answers.insert(*key, NewAnswer { entry, answer, run_id: &write.run_id });
        false
    }
}

/// The answer without the one character that the server cannot store in a text. Its content is stored as bytes.
fn storable(answer: &Arc<Answer>) -> Arc<Answer> {
    let mut answer = Arc::clone(answer);
    if answer.model.contains('\0') {
        Arc::make_mut(&mut answer).model = text(&answer.model);
    }
    if let Finish::Other(word) = &answer.finish
        && word.contains('\0')
    {
        let word = text(word);
        Arc::make_mut(&mut answer).finish = Finish::Other(word);
    }
    answer
}

/// A text without the one character that the server cannot store.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
