//! The machine: who asks what, and who waits for whose call.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use domain::answer::Answer;
use domain::budget::Pool;
use domain::ids::{AnswerKey, RunId, WorkerName};
use llm::limit::Seconds;
use proto::convert::{Asked, ModelStatus};

use super::account::{Account, Standing, Terms};
use super::calls::{Call, CallId};
use super::effect::{Effect, Keeping, Place, Reply, StreamId};
use super::recent::Recent;
use crate::answers::{Keep, Spent, Stored};
use crate::budget::{Budget, Entry};

/// Why a run that asks no model gets no answer.
pub(crate) const UNASKED: &str = "the run's configuration names no model";

/// A question of a stream.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) run_id: RunId,
    pub(super) key: AnswerKey,
    pub(super) tokens: u64,
    /// Its call, once that is under way.
    pub(super) call: Option<CallId>,
}

/// A worker's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) worker: WorkerName,
    pub(super) questions: BTreeMap<u64, Open>,
}

/// Everything about one key.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Who waits, in the order of their coming; the first is in its run's lane unless something is under way.
    pub(super) waiters: VecDeque<Place>,
    /// Whether the store is being asked, or was.
    looking: bool,
    looked: bool,
    /// What the store has, kept for those who come while somebody wants it afresh.
    stored: Option<Stored>,
    /// Whose lane it stands in, and its place there.
    pub(super) queued: Option<(RunId, u64)>,
    /// Calls that are believed to be under way: one, unless a worker came back late with another.
    pub(super) calls: u32,
    /// Answers on their way to the store.
    pub(super) keeping: u32,
}

impl Flight {
    pub(super) fn is_over(&self) -> bool {
        self.waiters.is_empty() && !self.looking && self.calls == 0 && self.keeping == 0
    }

    /// Whether the first waiter has to ask by itself.
    pub(super) fn needs_a_call(&self) -> bool {
        let alone = self.calls == 0 || mutated!(FlightNotShared);
        !self.waiters.is_empty() && self.looked && alone && self.keeping == 0
    }
}

/// All questions. See the head of the module for what always holds.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) flights: HashMap<AnswerKey, Flight>,
    pub(super) calls: BTreeMap<CallId, Call>,
    /// When calls are given up, in ms.
    pub(super) deadlines: BTreeSet<(u64, CallId)>,
    pub(super) pools: BTreeMap<Pool, Budget>,
    pub(super) accounts: BTreeMap<RunId, Account>,
    /// What runs had spent before they were met here.
    spent_before: BTreeMap<RunId, Spent>,
    pub(super) ended: Recent,
    pub(super) counter: u64,
    pub(super) effects: Vec<Effect>,
}

impl Questions {
    /// No question yet; `spent`: what each run that lives has spent so far.
    pub(crate) fn new(spent: BTreeMap<RunId, Spent>) -> Self {
        Self { spent_before: spent, ..Self::default() }
    }

    /// What is to be done, in this order.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A worker opened a stream. An older one of the same worker has ended without our knowing.
    pub(crate) fn opened(&mut self, now: Seconds, stream: StreamId, worker: WorkerName) {
        let older: Vec<StreamId> =
            self.streams.iter().filter(|(_, known)| known.worker == worker).map(|(id, _)| *id).collect();
        for older in older {
            self.gone(now, older);
            self.effects.push(Effect::Close(older));
        }
        self.streams.insert(stream, Stream { worker, questions: BTreeMap::new() });
    }

    /// A stream has ended: what waited is dropped, what is under way counts until its worker comes back with it, or for
    /// the time of a lease.
    pub(crate) fn gone(&mut self, now: Seconds, stream: StreamId) {
        let Some(ended) = self.streams.remove(&stream) else { return };
        for (number, open) in ended.questions {
            match open.call {
                Some(call) if mutated!(CallEndsWithStream) => self.give_up(now, call),
                Some(call) => self.orphan(now, call),
                None => self.drop_waiter(Place { stream, number }, &open),
            }
        }
        self.pump(now);
    }

    /// How many questions of a stream are open.
    pub(crate) fn open_questions(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.questions.len())
    }

    /// A worker wants an answer.
    pub(crate) fn asked(&mut self, now: Seconds, stream: StreamId, asked: &Asked, standing: &Standing) {
        let place = Place { stream, number: asked.number };
        let Some(known) = self.streams.get(&stream) else { return };
        if let Some(open) = known.questions.get(&asked.number) {
            // Said twice: the first time counts, unless its call has begun meanwhile.
            if open.call.is_none() && asked.under_way {
                self.forget_waiting(place);
            } else {
                return;
            }
        }
        self.meet(now, &asked.run_id, standing);
        if asked.under_way {
            self.take_over(now, place, asked);
            return;
        }
        if let Some(reason) = self.closed(&asked.run_id, standing) {
            self.effects.push(Effect::Tell(place, Reply::Stopped(reason)));
            return;
        }
        let open =
            Open { run_id: asked.run_id.clone(), key: asked.key, tokens: asked.tokens.max(1), call: None };
        if let Some(known) = self.streams.get_mut(&stream) {
            known.questions.insert(asked.number, open);
        }
        if let Some(account) = self.accounts.get_mut(&asked.run_id) {
            account.waiting += 1;
        }
        let flight = self.flights.entry(asked.key).or_default();
        flight.waiters.push_back(place);
        if !flight.looked && !flight.looking {
            flight.looking = true;
            self.effects.push(Effect::LookUp(asked.key));
        }
        self.serve_stored(asked.key);
        self.settle(asked.key, false);
        self.pump(now);
    }

    /// A worker wants an answer no more. What is under way it still has to bring to its end.
    pub(crate) fn withdrawn(&mut self, now: Seconds, place: Place) {
        self.forget_waiting(place);
        self.pump(now);
    }

    /// The store was asked for a key.
    pub(crate) fn looked(&mut self, now: Seconds, key: AnswerKey, found: Option<Stored>) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        (flight.looking, flight.looked) = (false, true);
        flight.stored = found;
        self.serve_stored(key);
        self.settle(key, false);
        self.pump(now);
    }

    /// What a call came to is durable. `counted`: whether the store had not counted it before.
    pub(crate) fn kept(&mut self, now: Seconds, keeping: Keeping, counted: bool) {
        let Keeping { place, keep } = keeping;
        if !counted && let Some(account) = self.accounts.get_mut(&keep.run_id) {
            account.spent.take_back(&keep.spent);
        }
        if let Some(place) = place {
            self.effects.push(Effect::Tell(place, Reply::Kept));
        }
        if let Some((key, entry)) = keep.entry {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.keeping = flight.keeping.saturating_sub(1);
                flight.looked = true;
                flight.stored =
                    Some(Stored { answer: Arc::clone(&entry.answer), created_at_ms: entry.created_at_ms });
                let waiters = std::mem::take(&mut flight.waiters);
                for place in waiters {
                    self.answer(place, &entry.answer);
                }
            }
            self.settle(key, false);
        }
        self.pump(now);
    }

    /// What a call came to cannot be made durable, ever: who waits for that gets the reason, and the run stops.
    pub(crate) fn not_kept(&mut self, now: Seconds, keeping: Keeping, reason: &str) {
        let Keeping { place, keep } = keeping;
        if let Some(place) = place {
            self.effects.push(Effect::Tell(place, Reply::Stopped(reason.to_owned())));
        }
        self.halt(&keep.run_id, reason);
        if let Some((key, _)) = keep.entry {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.keeping = flight.keeping.saturating_sub(1);
            }
            self.settle(key, true);
        }
        self.pump(now);
    }

    /// Whether a run may still ask, and under which terms; said when something about a known run may have changed.
    pub(crate) fn changed(&mut self, now: Seconds, run_id: &RunId, standing: &Standing) {
        if !self.accounts.contains_key(run_id) {
            return;
        }
        self.meet(now, run_id, standing);
        if let Some(reason) = self.closed(run_id, standing) {
            self.stop_waiting(run_id, &reason);
        }
        self.pump(now);
    }

    /// Runs of which anything is known.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.accounts.keys().chain(self.spent_before.keys()).cloned().collect()
    }

    /// Whether it is known what a run has spent.
    pub(crate) fn knows(&self, run_id: &RunId) -> bool {
        self.accounts.contains_key(run_id) || self.spent_before.contains_key(run_id)
    }

    /// What a run had spent that is not known here: said before it asks.
    pub(crate) fn spent_before(&mut self, run_id: RunId, spent: Spent) {
        if !self.knows(&run_id) {
            self.spent_before.insert(run_id, spent);
        }
    }

    /// A run has ended: nothing of it is kept here, unless calls are under way. Says whether anything was.
    pub(crate) fn forget_run(&mut self, run_id: &RunId) -> bool {
        let busy = |account: &Account| account.waiting > 0 || account.under_way > 0;
        if self.accounts.get(run_id).is_some_and(busy) {
            return false;
        }
        for budget in self.pools.values_mut() {
            budget.lanes.forget(run_id);
        }
        let account = self.accounts.remove(run_id).is_some();
        self.spent_before.remove(run_id).is_some() || account
    }

    /// Where every run stands that is known.
    pub(crate) fn statuses(&self, now: Seconds) -> BTreeMap<RunId, ModelStatus> {
        let before = self.spent_before.iter().map(|(run_id, spent)| (run_id.clone(), spent.status()));
        let mut statuses: BTreeMap<RunId, ModelStatus> = before.collect();
        for (run_id, account) in &self.accounts {
            let pool = account.terms.as_ref().and_then(|terms| self.pools.get(&terms.pool));
            let limit = pool.and_then(Budget::limit_per_min);
            statuses.insert(run_id.clone(), account.status(now, limit));
        }
        statuses
    }

    /// Takes note of a run and its terms.
    pub(super) fn meet(&mut self, now: Seconds, run_id: &RunId, standing: &Standing) {
        let before = self.spent_before.remove(run_id).unwrap_or_default();
        let account = self.accounts.entry(run_id.clone()).or_insert_with(|| Account::new(before, now));
        let Standing::Open(terms) = standing else { return };
        account.halted = None;
        if account.terms.as_ref().is_some_and(|known| known == terms) {
            return;
        }
        account.terms = Some(Arc::clone(terms));
        let Terms { pool, limits, submitted_at_ms, .. } = &**terms;
        self.pools.entry(pool.clone()).or_insert_with(|| Budget::new(limits, *submitted_at_ms, now)).allow(
            limits,
            *submitted_at_ms,
            now,
        );
    }

    fn closed(&self, run_id: &RunId, standing: &Standing) -> Option<String> {
        match standing {
            Standing::Closed(reason) => Some(reason.clone()),
            Standing::Open(_) => self.accounts.get(run_id).and_then(|account| account.halted.clone()),
        }
    }

    /// Stops a run: every question of it that waits is answered with the reason.
    pub(super) fn halt(&mut self, run_id: &RunId, reason: &str) {
        if let Some(account) = self.accounts.get_mut(run_id)
            && account.halted.is_none()
        {
            account.halted = Some(reason.to_owned());
            self.effects.push(Effect::Halt(run_id.clone(), reason.to_owned()));
            self.stop_waiting(run_id, reason);
        }
    }

    fn stop_waiting(&mut self, run_id: &RunId, reason: &str) {
        let waiting = self.streams.iter().flat_map(|(stream, known)| {
            let waits =
                known.questions.iter().filter(|(_, open)| open.call.is_none() && open.run_id == *run_id);
            waits.map(|(number, _)| Place { stream: *stream, number: *number })
        });
        for place in waiting.collect::<Vec<_>>() {
            self.forget_waiting(place);
            self.effects.push(Effect::Tell(place, Reply::Stopped(reason.to_owned())));
        }
    }

    /// Takes a question that waits out of everything; one whose call is under way stays.
    pub(super) fn forget_waiting(&mut self, place: Place) {
        let Some(stream) = self.streams.get_mut(&place.stream) else { return };
        if stream.questions.get(&place.number).is_some_and(|open| open.call.is_none())
            && let Some(open) = stream.questions.remove(&place.number)
        {
            self.drop_waiter(place, &open);
        }
    }

    fn drop_waiter(&mut self, place: Place, open: &Open) {
        if let Some(account) = self.accounts.get_mut(&open.run_id) {
            account.waiting = account.waiting.saturating_sub(1);
        }
        if let Some(flight) = self.flights.get_mut(&open.key) {
            flight.waiters.retain(|waiter| *waiter != place);
        }
        self.settle(open.key, false);
    }

    /// Gives what the store has to those who want no fresher one.
    fn serve_stored(&mut self, key: AnswerKey) {
        let Some(flight) = self.flights.get(&key) else { return };
        let Some(stored) = flight.stored.clone() else { return };
        let terms = |place: &Place| {
            let run_id = &self.streams.get(&place.stream)?.questions.get(&place.number)?.run_id;
            self.accounts.get(run_id)?.terms.clone()
        };
        let (served, left): (Vec<Place>, Vec<Place>) = flight.waiters.iter().copied().partition(|place| {
            terms(place)
                .is_none_or(|terms| !terms.spend.refresh || stored.created_at_ms >= terms.created_at_ms)
        });
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.waiters = left.into();
        }
        for place in served {
            self.answer(place, &stored.answer);
        }
    }

    /// A question gets an answer that is kept.
    fn answer(&mut self, place: Place, answer: &Arc<Answer>) {
        let stream = self.streams.get_mut(&place.stream);
        let Some(open) = stream.and_then(|stream| stream.questions.remove(&place.number)) else { return };
        let reused = Spent { reused: 1, ..Spent::default() };
        if let Some(account) = self.accounts.get_mut(&open.run_id) {
            account.waiting = account.waiting.saturating_sub(1);
            account.spent += reused;
        }
        self.effects.push(Effect::Tell(place, Reply::Known(Arc::clone(answer))));
        self.keep(None, Keep { run_id: open.run_id, spent: reused, entry: None, perhaps_repeated: false });
    }

    pub(super) fn keep(&mut self, place: Option<Place>, keep: Keep) {
        self.effects.push(Effect::Keep(Keeping { place, keep }));
    }

    /// Brings a key in order after any change: its first waiter stands in its run's lane exactly when it has to call by
    /// itself. `first`: at the head of the lane.
    pub(super) fn settle(&mut self, key: AnswerKey, first: bool) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        if flight.is_over() {
            self.flights.remove(&key);
            return;
        }
        if !flight.needs_a_call() {
            flight.queued = None;
            return;
        }
        let Some(front) = flight.waiters.front() else { return };
        let stream = self.streams.get(&front.stream);
        let Some(open) = stream.and_then(|stream| stream.questions.get(&front.number)) else { return };
        if flight.queued.as_ref().is_some_and(|(run_id, _)| *run_id == open.run_id) {
            return;
        }
        let terms = self.accounts.get(&open.run_id).and_then(|account| account.terms.as_ref());
        let Some(terms) = terms else { return };
        self.counter += 1;
        flight.queued = Some((open.run_id.clone(), self.counter));
        let Some(budget) = self.pools.get_mut(&terms.pool) else { return };
        let entry = Entry { key, place: self.counter, tokens: open.tokens };
        if first {
            budget.lanes.push_first(&open.run_id, terms.spend.priority, entry);
        } else {
            budget.lanes.push(&open.run_id, terms.spend.priority, entry);
        }
    }
}
