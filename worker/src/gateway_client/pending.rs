//! Open requests of the LLM call stream: the state of each, and the messages to send. No I/O.
//!
//! *Invariants*: a new stream is sent every open request, so nothing is lost when a stream breaks or the coordinator
//! is replaced. At most `limit` requests are on the stream at a time: the others are queued here. Results and calls
//! in progress are sent before waiting requests; they count as on the stream already, so they are never queued.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use domain::answer::{Answer, CallOutcome};
use domain::budget::{Charge, Usage};
use proto::convert::{AcquireCall, CallResult, Ticket};
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;
use proto::v1::llm_calls_response::Message as Response;

use super::queue::Queue;

/// Longest time for which a permit is believed to be valid.
const LONGEST_PERMIT_MS: u64 = 3_600_000;

/// Event of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GatewayEvent {
    /// The response was cached, or another worker's call has just persisted it.
    CachedResponse(Answer),
    /// The call may start until this time.
    CallPermit(Instant),
    /// The result of the call is persisted.
    ResultPersisted {
        /// The failure is not held against the record: the request is made again, whatever its retries.
        ask_again: bool,
    },
    /// There will be no response: the reason.
    Stopped(String),
}

/// State of an open request. The gateway of the coordinator uses the same names: see the table in
/// `coordinator/src/llm_gateway/README.md`.
#[derive(Debug)]
enum RequestState {
    /// Queued here, or sent and waiting for a cached response or a permit.
    Waiting,
    /// Has a permit; its call is in progress.
    Calling,
    /// Its call has ended; the coordinator has not acknowledged the result as durable.
    Persisting(Box<CallResult>),
}

#[derive(Debug)]
struct PendingRequest {
    request: AcquireCall,
    state: RequestState,
    events: mpsc::Sender<GatewayEvent>,
    /// Whether its state is queued in `urgent`.
    is_urgent: bool,
}

/// A message that is sent before any waiting request.
#[derive(Debug)]
enum Urgent {
    /// The state of an open request whose call is in progress or has ended.
    State(u64),
    /// The cancellation of a request that is on the stream.
    Cancel(u64),
    /// The result of a call whose request is no longer open here.
    CallResult(Box<CallResult>),
}

/// The open requests, and the messages that are not sent yet.
#[derive(Debug)]
pub(super) struct PendingRequests {
    open: BTreeMap<u64, PendingRequest>,
    /// Requests that are not on the stream, because it is at its limit.
    queue: Queue,
    urgent: VecDeque<Urgent>,
    /// Most requests on the stream.
    limit: usize,
    /// Requests cancelled on this stream, whose permits may be in flight. The coordinator permits no other closed
    /// request.
    cancelled: VecDeque<AcquireCall>,
    /// Why no request may wait any more, once closed.
    closed: Option<String>,
    /// Shows the coordinator that the last stream was this worker's.
    resume: Option<Ticket>,
}

impl PendingRequests {
    /// Without requests; at most `limit` will be on the stream.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            queue: Queue::default(),
            urgent: VecDeque::new(),
            limit,
            cancelled: VecDeque::new(),
            closed: None,
            resume: None,
        }
    }

    /// The ticket of the last stream, for the opening of the next one.
    pub(super) const fn resume(&self) -> Option<Ticket> {
        self.resume
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Requests on the stream, as the coordinator counts them.
    fn on_stream(&self) -> usize {
        self.open.len() - self.queue.len()
    }

    /// Begins a new stream, to which nothing has been sent.
    pub(super) fn begin_stream(&mut self) {
        self.urgent.clear();
        self.queue.clear();
        self.cancelled.clear();
        for (number, entry) in &mut self.open {
            if let RequestState::Waiting = entry.state {
                self.queue.push(&entry.request.run_id, *number);
            } else {
                entry.is_urgent = true;
                self.urgent.push_back(Urgent::State(*number));
            }
        }
    }

    /// Whether there is a message to send.
    pub(super) fn has_message(&self) -> bool {
        !self.urgent.is_empty() || (!self.queue.is_empty() && self.on_stream() < self.limit)
    }

    /// Takes the next message to send.
    pub(super) fn next_message(&mut self) -> Option<Request> {
        while let Some(urgent) = self.urgent.pop_front() {
            match urgent {
                Urgent::State(number) => {
                    let Some(entry) = self.open.get_mut(&number) else { continue };
                    entry.is_urgent = false;
                    return Some(entry.message());
                }
                Urgent::Cancel(number) => return Some(Request::CancelCall(v1::CancelCall { number })),
                Urgent::CallResult(result) => return Some(Request::CallResult((&*result).into())),
            }
        }
        if self.on_stream() >= self.limit {
            return None;
        }
        let number = self.queue.pop()?;
        self.open.get(&number).map(PendingRequest::message)
    }

    /// Opens a request.
    pub(super) fn acquire(&mut self, request: AcquireCall, events: mpsc::Sender<GatewayEvent>) {
        if let Some(why) = &self.closed {
            let _ = events.try_send(GatewayEvent::Stopped(why.clone()));
            return;
        }
        self.queue.push(&request.run_id, request.number);
        let entry = PendingRequest { request, state: RequestState::Waiting, events, is_urgent: false };
        self.open.insert(entry.request.number, entry);
    }

    /// The call of a request has ended.
    pub(super) fn on_result(&mut self, mut result: CallResult) {
        let number = result.number;
        let Some(entry) = self.open.get_mut(&number) else {
            self.urgent.push_back(Urgent::CallResult(Box::new(result)));
            return;
        };
        result.ticket = entry.request.ticket;
        entry.state = RequestState::Persisting(Box::new(result));
        if !std::mem::replace(&mut entry.is_urgent, true) {
            self.urgent.push_back(Urgent::State(number));
        }
    }

    /// Cancels a request that waits. One whose call is in progress stays, because a paid response has to be persisted.
    pub(super) fn cancel(&mut self, number: u64) {
        let is_waiting =
            self.open.get(&number).is_some_and(|entry| matches!(entry.state, RequestState::Waiting));
        if is_waiting
            && let Some(entry) = self.open.remove(&number)
            && !self.queue.remove(&entry.request.run_id, number)
        {
            self.cancelled.push_back(entry.request);
            if self.cancelled.len() > self.limit {
                self.cancelled.pop_front();
            }
            self.urgent.push_back(Urgent::Cancel(number));
        }
    }

    /// Stops every request that waits, now and later, for the reason `why`.
    pub(super) fn close(&mut self, why: &str) {
        self.closed = Some(why.to_owned());
        let waiting = |entry: &PendingRequest| matches!(entry.state, RequestState::Waiting);
        let numbers: Vec<u64> =
            self.open.iter().filter(|(_, entry)| waiting(entry)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(entry) = self.open.get(&number) {
                let _ = entry.events.try_send(GatewayEvent::Stopped(why.to_owned()));
            }
            self.cancel(number);
        }
    }

    /// Handles a message of the coordinator.
    pub(super) fn on_response(&mut self, response: Response, now: Instant) {
        match response {
            Response::CallPermit(permit) => self.on_permit(&permit, now),
            Response::CachedResponse(cached) => {
                let event = match cached.answer.map(Answer::try_from) {
                    Some(Ok(answer)) => GatewayEvent::CachedResponse(answer),
                    Some(Err(error)) => GatewayEvent::Stopped(format!(
                        "the coordinator sent a response that is not valid: {error}"
                    )),
                    None => GatewayEvent::Stopped("the coordinator sent an empty response".to_owned()),
                };
                self.settle(cached.number, event);
            }
            Response::ResultPersisted(persisted) => {
                let ask_again = persisted.ask_again;
                self.settle(persisted.number, GatewayEvent::ResultPersisted { ask_again });
            }
            Response::Stopped(stopped) => self.settle(stopped.number, GatewayEvent::Stopped(stopped.reason)),
            // An older coordinator sends none, and one that cannot be read is of no use.
            Response::Opened(opened) => {
                self.resume = Ticket::from_wire("opened.resume", &opened.resume).unwrap_or_default();
            }
        }
    }

    fn on_permit(&mut self, permit: &v1::CallPermit, now: Instant) {
        let until = now + Duration::from_millis(permit.valid_ms.min(LONGEST_PERMIT_MS));
        let ticket = Ticket::from_wire("call_permit.ticket", &permit.ticket).unwrap_or_default();
        let Some(entry) = self.open.get_mut(&permit.number) else {
            // Cancelled meanwhile: return the permit.
            let request = self.cancelled.iter().find(|request| request.number == permit.number);
            self.urgent.extend(request.map(|request| {
                Urgent::CallResult(Box::new(unsent(&AcquireCall { ticket, ..request.clone() })))
            }));
            return;
        };
        if !matches!(entry.state, RequestState::Waiting) {
            // A second permit of the same request.
            return;
        }
        self.queue.remove(&entry.request.run_id, permit.number);
        entry.request.ticket = ticket;
        if entry.events.try_send(GatewayEvent::CallPermit(until)).is_ok() {
            entry.state = RequestState::Calling;
            return;
        }
        let unsent = unsent(&entry.request);
        self.on_result(unsent);
    }

    fn settle(&mut self, number: u64, event: GatewayEvent) {
        if let Some(entry) = self.open.remove(&number) {
            self.queue.remove(&entry.request.run_id, number);
            // A dropped receiver means that the request is cancelled.
            let _ = entry.events.try_send(event);
        }
    }
}

impl PendingRequest {
    fn message(&self) -> Request {
        match &self.state {
            RequestState::Waiting => Request::AcquireCall((&self.request).into()),
            RequestState::Calling => {
                Request::AcquireCall((&AcquireCall { under_way: true, ..self.request.clone() }).into())
            }
            RequestState::Persisting(result) => Request::CallResult((&**result).into()),
        }
    }
}

/// The result of a permitted call that was not made.
fn unsent(request: &AcquireCall) -> CallResult {
    CallResult {
        number: request.number,
        run_id: request.run_id.clone(),
        key: request.key,
        outcome: CallOutcome::Unsent,
        usage: Usage::default(),
        charge: Charge::default(),
        advertised_requests: None,
        advertised_tokens: None,
        ticket: request.ticket,
        tries: 0,
        last: false,
    }
}

#[cfg(test)]
mod tests {
    use domain::answer::FailureKind;
    use domain::ids::{AnswerKey, RunId};

    use super::*;

    fn request(number: u64) -> AcquireCall {
        let (run_id, key) = (RunId::new("r").unwrap(), AnswerKey::of(&number.to_le_bytes()));
        AcquireCall { number, run_id, key, tokens: 1000, under_way: false, ticket: None }
    }

    fn result(number: u64) -> CallResult {
        let AcquireCall { run_id, key, .. } = request(number);
        let outcome = CallOutcome::failed("500", FailureKind::Passing);
        CallResult {
            number,
            run_id,
            key,
            outcome,
            usage: Usage::default(),
            charge: Charge::default(),
            advertised_requests: None,
            advertised_tokens: None,
            ticket: None,
            tries: 1,
            last: false,
        }
    }

    fn permit(number: u64) -> Response {
        Response::CallPermit(v1::CallPermit { number, valid_ms: 1000, ticket: vec![7; 32] })
    }

    fn pending_requests() -> PendingRequests {
        PendingRequests::new(100)
    }

    /// Opens a request that is queued in the worker.
    fn queued(pending: &mut PendingRequests, number: u64) -> mpsc::Receiver<GatewayEvent> {
        let (sender, events) = mpsc::channel(4);
        pending.acquire(request(number), sender);
        events
    }

    /// Opens a request and puts it on the stream.
    fn open(pending: &mut PendingRequests, number: u64) -> mpsc::Receiver<GatewayEvent> {
        let events = queued(pending, number);
        assert!(matches!(pending.next_message(), Some(Request::AcquireCall(_))));
        events
    }

    /// Takes every message to send.
    fn messages(pending: &mut PendingRequests) -> Vec<Request> {
        std::iter::from_fn(|| pending.next_message()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_stream_is_sent_every_open_request() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let mut event_streams: Vec<_> = (0..3).map(|number| open(&mut pending, number)).collect();
        pending.on_response(permit(1), now);
        assert!(!pending.has_message());
        assert_eq!(
            event_streams[1].try_recv().unwrap(),
            GatewayEvent::CallPermit(now + Duration::from_secs(1))
        );
        pending.on_response(permit(2), now);
        pending.on_result(result(2));
        pending.begin_stream();
        let sent = messages(&mut pending);
        assert!(
            matches!(&sent[0], Request::AcquireCall(acquire) if acquire.number == 1 && acquire.under_way && acquire.ticket == [7; 32])
        );
        assert!(
            matches!(&sent[1], Request::CallResult(ended) if ended.number == 2 && ended.ticket == [7; 32])
        );
        assert!(
            matches!(&sent[2], Request::AcquireCall(acquire) if acquire.number == 0 && !acquire.under_way)
        );
        assert_eq!(sent.len(), 3);
        pending
            .on_response(Response::ResultPersisted(v1::ResultPersisted { number: 2, ask_again: true }), now);
        assert_eq!(
            event_streams[2].recv().await,
            Some(GatewayEvent::CallPermit(now + Duration::from_secs(1)))
        );
        assert_eq!(event_streams[2].recv().await, Some(GatewayEvent::ResultPersisted { ask_again: true }));
        pending.begin_stream();
        assert_eq!(messages(&mut pending).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_on_the_stream_are_bounded() {
        let (mut pending, now) = (PendingRequests::new(2), Instant::now());
        let _events: Vec<_> = (0..5).map(|number| queued(&mut pending, number)).collect();
        let numbers = |pending: &mut PendingRequests| -> Vec<u64> {
            let number = |message: Request| match message {
                Request::AcquireCall(acquire) => acquire.number,
                other => panic!("{other:?}"),
            };
            messages(pending).into_iter().map(number).collect()
        };
        assert_eq!(numbers(&mut pending), [0, 1]);
        assert!(!pending.has_message(), "the others are queued");
        pending.cancel(4);
        assert!(!pending.has_message(), "it was never sent");
        pending.on_response(permit(0), now);
        pending.on_result(result(0));
        assert!(matches!(pending.next_message(), Some(Request::CallResult(_))), "a result is not bounded");
        assert!(!pending.has_message(), "it counts until it is persisted");
        pending
            .on_response(Response::ResultPersisted(v1::ResultPersisted { number: 0, ask_again: false }), now);
        assert_eq!(numbers(&mut pending), [2]);
        pending.on_response(permit(1), now);
        pending.begin_stream();
        assert_eq!(
            numbers(&mut pending),
            [1, 2],
            "the call in progress first, then as many as the limit admits"
        );
        pending.on_response(Response::Stopped(v1::Stopped { number: 3, reason: "spent".to_owned() }), now);
        assert_eq!((pending.queue.len(), pending.open.len()), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_of_a_cancelled_request_is_returned() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let events = open(&mut pending, 0);
        pending.cancel(0);
        assert!(matches!(pending.next_message(), Some(Request::CancelCall(_))));
        drop(events);
        pending.on_response(permit(0), now);
        let Some(Request::CallResult(unsent)) = pending.next_message() else {
            panic!("the permit was not returned")
        };
        let unsent = CallResult::try_from(unsent).expect("the coordinator can read it");
        assert_eq!((unsent.number, unsent.key, unsent.outcome), (0, request(0).key, CallOutcome::Unsent));
        assert!(pending.is_empty());

        drop(open(&mut pending, 1));
        pending.on_response(permit(1), now);
        let unsent = pending.next_message();
        assert!(matches!(&unsent, Some(Request::CallResult(ended)) if ended.number == 1));
        pending
            .on_response(Response::ResultPersisted(v1::ResultPersisted { number: 1, ask_again: false }), now);
        assert!(pending.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_progress_outlast_the_close() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let mut waiting = open(&mut pending, 0);
        let mut calling = open(&mut pending, 1);
        let mut later = queued(&mut pending, 2);
        pending.on_response(permit(1), now);
        assert_eq!(calling.recv().await, Some(GatewayEvent::CallPermit(now + Duration::from_secs(1))));
        pending.close("ending");
        assert!(matches!(&messages(&mut pending)[..], [Request::CancelCall(v1::CancelCall { number: 0 })]));
        for events in [&mut waiting, &mut later] {
            assert_eq!(events.recv().await, Some(GatewayEvent::Stopped("ending".to_owned())));
        }
        assert!(calling.try_recv().is_err());
        pending.cancel(1);
        assert!(!pending.has_message(), "a call in progress is not cancelled");
        let mut late = queued(&mut pending, 3);
        assert!(!pending.has_message());
        assert_eq!(late.recv().await, Some(GatewayEvent::Stopped("ending".to_owned())));
        pending.on_result(result(1));
        pending
            .on_response(Response::ResultPersisted(v1::ResultPersisted { number: 1, ask_again: false }), now);
        assert!(pending.is_empty());
    }
}
