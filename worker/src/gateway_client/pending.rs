//! What is open on the line to the coordinator: which question waits for what, and what has to be sent. No I/O.
//!
//! *Invariants*: a new stream is sent all that is open, so nothing is lost when a stream breaks or the coordinator is
//! another. No more than `most` questions are on the stream at a time: the rest wait here. Results and calls under way are
//! sent before questions; they are on the stream already, so they never wait for room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use domain::answer::{Answer, CallOutcome};
use domain::budget::Usage;
use proto::convert::{AcquireCall, CallResult};
use proto::v1;
use proto::v1::llm_calls_request::Message as Request;
use proto::v1::llm_calls_response::Message as Response;

use super::queue::Queue;

/// What the coordinator says about a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GatewayEvent {
    /// The answer, which is kept.
    CachedResponse(Answer),
    /// The call may start until then.
    CallPermit(Instant),
    /// What the call came to is kept.
    ResultPersisted,
    /// There will be no answer.
    Stopped(String),
}

/// State of an open request. The gateway of the coordinator uses the same names: see the table in
/// `coordinator/src/llm_gateway/README.md`.
#[derive(Debug)]
enum RequestState {
    /// Queued here, or sent and waiting for a cached response or a permit.
    Waiting,
    /// Has a permit; its call is under way.
    Calling,
    /// Its call has ended; the coordinator has not acknowledged the result as durable.
    Persisting(Box<CallResult>),
}

#[derive(Debug)]
struct PendingRequest {
    asked: AcquireCall,
    state: RequestState,
    events: mpsc::Sender<GatewayEvent>,
    /// Whether its state is among the news already.
    in_news: bool,
}

/// What is sent before any question that waits.
#[derive(Debug)]
enum News {
    /// Where an open question stands: its call is under way, or has ended.
    RequestState(u64),
    /// A question that is on the stream is withdrawn.
    Withdrawn(u64),
    /// A call has ended whose question is not open here any more.
    CallResult(Box<CallResult>),
}

/// Every open question, and what the stream has not been sent yet.
#[derive(Debug)]
pub(super) struct PendingRequests {
    open: BTreeMap<u64, PendingRequest>,
    /// Those that are not on the stream: they wait for room there.
    queue: Queue,
    news: VecDeque<News>,
    /// How many questions may be on the stream.
    most: usize,
    /// Questions withdrawn from this stream: leave for them may be on its way. The coordinator allows none of the others.
    withdrawn: VecDeque<AcquireCall>,
    /// Once set, no question waits any more: why.
    closed: Option<String>,
}

impl PendingRequests {
    /// Nothing is open yet; `most`: how many questions may be on the stream.
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            queue: Queue::default(),
            news: VecDeque::new(),
            most,
            withdrawn: VecDeque::new(),
            closed: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many questions are on the stream, as far as the coordinator can know.
    fn on_stream(&self) -> usize {
        self.open.len() - self.queue.len()
    }

    /// A new stream: it has been sent nothing.
    pub(super) fn begin_stream(&mut self) {
        self.news.clear();
        self.queue.clear();
        self.withdrawn.clear();
        for (number, entry) in &mut self.open {
            if let RequestState::Waiting = entry.state {
                self.queue.push(&entry.asked.run_id, *number);
            } else {
                entry.in_news = true;
                self.news.push_back(News::RequestState(*number));
            }
        }
    }

    /// Whether there is something to send.
    pub(super) fn has_message(&self) -> bool {
        !self.news.is_empty() || (!self.queue.is_empty() && self.on_stream() < self.most)
    }

    /// What to send next; it counts as sent.
    pub(super) fn next_message(&mut self) -> Option<Request> {
        while let Some(news) = self.news.pop_front() {
            match news {
                News::RequestState(number) => {
                    let Some(entry) = self.open.get_mut(&number) else { continue };
                    entry.in_news = false;
                    return Some(entry.message());
                }
                News::Withdrawn(number) => return Some(Request::CancelCall(v1::CancelCall { number })),
                News::CallResult(ended) => return Some(Request::CallResult((&*ended).into())),
            }
        }
        if self.on_stream() >= self.most {
            return None;
        }
        let number = self.queue.pop()?;
        self.open.get(&number).map(PendingRequest::message)
    }

    /// A new question.
    pub(super) fn ask(&mut self, asked: AcquireCall, events: mpsc::Sender<GatewayEvent>) {
        if let Some(why) = &self.closed {
            let _ = events.try_send(GatewayEvent::Stopped(why.clone()));
            return;
        }
        self.queue.push(&asked.run_id, asked.number);
        let entry = PendingRequest { asked, state: RequestState::Waiting, events, in_news: false };
        self.open.insert(entry.asked.number, entry);
    }

    /// A call has ended.
    pub(super) fn ended(&mut self, ended: CallResult) {
        let number = ended.number;
        let Some(entry) = self.open.get_mut(&number) else {
            self.news.push_back(News::CallResult(Box::new(ended)));
            return;
        };
        entry.state = RequestState::Persisting(Box::new(ended));
        if !std::mem::replace(&mut entry.in_news, true) {
            self.news.push_back(News::RequestState(number));
        }
    }

    /// A question is wanted no more. One whose call is under way stays: what was paid for is kept.
    pub(super) fn withdraw(&mut self, number: u64) {
        let waits = self.open.get(&number).is_some_and(|entry| matches!(entry.state, RequestState::Waiting));
        if waits
            && let Some(entry) = self.open.remove(&number)
            && !self.queue.remove(&entry.asked.run_id, number)
        {
            self.withdrawn.push_back(entry.asked);
            if self.withdrawn.len() > self.most {
                self.withdrawn.pop_front();
            }
            self.news.push_back(News::Withdrawn(number));
        }
    }

    /// From now on nothing waits: what does is sent so.
    pub(super) fn close(&mut self, why: &str) {
        self.closed = Some(why.to_owned());
        let waiting = |entry: &PendingRequest| matches!(entry.state, RequestState::Waiting);
        let numbers: Vec<u64> =
            self.open.iter().filter(|(_, entry)| waiting(entry)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(entry) = self.open.get(&number) {
                let _ = entry.events.try_send(GatewayEvent::Stopped(why.to_owned()));
            }
            self.withdraw(number);
        }
    }

    /// The coordinator says something.
    pub(super) fn on_response(&mut self, response: Response, now: Instant) {
        match response {
            Response::CallPermit(go) => self.go(&go, now),
            Response::CachedResponse(known) => {
                let said = match known.answer.map(Answer::try_from) {
                    Some(Ok(answer)) => GatewayEvent::CachedResponse(answer),
                    Some(Err(error)) => {
                        GatewayEvent::Stopped(format!("the coordinator sent a bad answer: {error}"))
                    }
                    None => GatewayEvent::Stopped("the coordinator sent no answer".to_owned()),
                };
                self.settle(known.number, said);
            }
            Response::ResultPersisted(kept) => self.settle(kept.number, GatewayEvent::ResultPersisted),
            Response::Stopped(stopped) => self.settle(stopped.number, GatewayEvent::Stopped(stopped.reason)),
        }
    }

    fn go(&mut self, go: &v1::CallPermit, now: Instant) {
        let until = now + Duration::from_millis(go.valid_ms);
        let Some(entry) = self.open.get_mut(&go.number) else {
            // Withdrawn meanwhile.
            let asked = self.withdrawn.iter().find(|asked| asked.number == go.number);
            self.news.extend(asked.map(|asked| News::CallResult(Box::new(unsent(asked)))));
            return;
        };
        if !matches!(entry.state, RequestState::Waiting) {
            // GatewayEvent twice.
            return;
        }
        self.queue.remove(&entry.asked.run_id, go.number);
        if entry.events.try_send(GatewayEvent::CallPermit(until)).is_ok() {
            entry.state = RequestState::Calling;
            return;
        }
        let unsent = unsent(&entry.asked);
        self.ended(unsent);
    }

    fn settle(&mut self, number: u64, said: GatewayEvent) {
        if let Some(entry) = self.open.remove(&number) {
            self.queue.remove(&entry.asked.run_id, number);
            // Who does not listen any more has withdrawn.
            let _ = entry.events.try_send(said);
        }
    }
}

impl PendingRequest {
    fn message(&self) -> Request {
        match &self.state {
            RequestState::Waiting => Request::AcquireCall((&self.asked).into()),
            RequestState::Calling => {
                Request::AcquireCall((&AcquireCall { under_way: true, ..self.asked.clone() }).into())
            }
            RequestState::Persisting(ended) => Request::CallResult((&**ended).into()),
        }
    }
}

/// The call that was allowed for `asked` was never made.
fn unsent(asked: &AcquireCall) -> CallResult {
    CallResult {
        number: asked.number,
        run_id: asked.run_id.clone(),
        key: asked.key,
        outcome: CallOutcome::Unsent,
        usage: Usage::default(),
        advertised_requests: None,
        advertised_tokens: None,
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{AnswerKey, RunId};

    use super::*;

    fn asked(number: u64) -> AcquireCall {
        let (run_id, key) = (RunId::new("r").unwrap(), AnswerKey::of(&number.to_le_bytes()));
        AcquireCall { number, run_id, key, tokens: 1000, under_way: false }
    }

    fn ended(number: u64) -> CallResult {
        let AcquireCall { run_id, key, .. } = asked(number);
        let outcome = CallOutcome::Failed { reason: "500".to_owned(), stop: false };
        CallResult {
            number,
            run_id,
            key,
            outcome,
            usage: Usage::default(),
            advertised_requests: None,
            advertised_tokens: None,
        }
    }

    fn go(number: u64) -> Response {
        Response::CallPermit(v1::CallPermit { number, valid_ms: 1000 })
    }

    fn pending_requests() -> PendingRequests {
        PendingRequests::new(100)
    }

    /// A question that waits at the worker.
    fn queued(pending: &mut PendingRequests, number: u64) -> mpsc::Receiver<GatewayEvent> {
        let (events, said) = mpsc::channel(4);
        pending.ask(asked(number), events);
        said
    }

    /// A question that is on the stream.
    fn open(pending: &mut PendingRequests, number: u64) -> mpsc::Receiver<GatewayEvent> {
        let said = queued(pending, number);
        assert!(matches!(pending.next_message(), Some(Request::AcquireCall(_))));
        said
    }

    /// All there is to send.
    fn messages(pending: &mut PendingRequests) -> Vec<Request> {
        std::iter::from_fn(|| pending.next_message()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_stream_is_told_everything() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let mut event_streams: Vec<_> = (0..3).map(|number| open(&mut pending, number)).collect();
        pending.on_response(go(1), now);
        assert!(!pending.has_message());
        assert_eq!(
            event_streams[1].try_recv().unwrap(),
            GatewayEvent::CallPermit(now + Duration::from_secs(1))
        );
        pending.on_response(go(2), now);
        pending.ended(ended(2));
        pending.begin_stream();
        let sent = messages(&mut pending);
        assert!(
            matches!(&sent[0], Request::AcquireCall(question) if question.number == 1 && question.under_way)
        );
        assert!(matches!(&sent[1], Request::CallResult(ended) if ended.number == 2));
        assert!(
            matches!(&sent[2], Request::AcquireCall(question) if question.number == 0 && !question.under_way)
        );
        assert_eq!(sent.len(), 3);
        pending.on_response(Response::ResultPersisted(v1::ResultPersisted { number: 2 }), now);
        assert_eq!(
            event_streams[2].recv().await,
            Some(GatewayEvent::CallPermit(now + Duration::from_secs(1)))
        );
        assert_eq!(event_streams[2].recv().await, Some(GatewayEvent::ResultPersisted));
        pending.begin_stream();
        assert_eq!(messages(&mut pending).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_questions_are_on_the_stream_than_may_be() {
        let (mut pending, now) = (PendingRequests::new(2), Instant::now());
        let _ears: Vec<_> = (0..5).map(|number| queued(&mut pending, number)).collect();
        let numbers = |pending: &mut PendingRequests| -> Vec<u64> {
            let number = |message: Request| match message {
                Request::AcquireCall(question) => question.number,
                other => panic!("{other:?}"),
            };
            messages(pending).into_iter().map(number).collect()
        };
        assert_eq!(numbers(&mut pending), [0, 1]);
        assert!(!pending.has_message(), "the others wait here");
        pending.withdraw(4);
        assert!(!pending.has_message(), "the coordinator never knew of it");
        pending.on_response(go(0), now);
        pending.ended(ended(0));
        assert!(matches!(pending.next_message(), Some(Request::CallResult(_))), "a result needs no room");
        assert!(!pending.has_message(), "it holds its place until it is kept");
        pending.on_response(Response::ResultPersisted(v1::ResultPersisted { number: 0 }), now);
        assert_eq!(numbers(&mut pending), [2]);
        pending.on_response(go(1), now);
        pending.begin_stream();
        assert_eq!(
            numbers(&mut pending),
            [1, 2],
            "the call under way first, then as many as there is room for"
        );
        pending.on_response(Response::Stopped(v1::Stopped { number: 3, reason: "spent".to_owned() }), now);
        assert_eq!((pending.queue.len(), pending.open.len()), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leave_that_nobody_wants_goes_back() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let said = open(&mut pending, 0);
        pending.withdraw(0);
        assert!(matches!(pending.next_message(), Some(Request::CancelCall(_))));
        drop(said);
        pending.on_response(go(0), now);
        let Some(Request::CallResult(unsent)) = pending.next_message() else { panic!("the permit was kept") };
        let unsent = CallResult::try_from(unsent).expect("the coordinator can read it");
        assert_eq!((unsent.number, unsent.key, unsent.outcome), (0, asked(0).key, CallOutcome::Unsent));
        assert!(pending.is_empty());

        drop(open(&mut pending, 1));
        pending.on_response(go(1), now);
        let unsent = pending.next_message();
        assert!(matches!(&unsent, Some(Request::CallResult(ended)) if ended.number == 1));
        pending.on_response(Response::ResultPersisted(v1::ResultPersisted { number: 1 }), now);
        assert!(pending.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_outlasts_the_closing() {
        let (mut pending, now) = (pending_requests(), Instant::now());
        let mut waits = open(&mut pending, 0);
        let mut under_way = open(&mut pending, 1);
        let mut later = queued(&mut pending, 2);
        pending.on_response(go(1), now);
        assert_eq!(under_way.recv().await, Some(GatewayEvent::CallPermit(now + Duration::from_secs(1))));
        pending.close("ending");
        assert!(matches!(&messages(&mut pending)[..], [Request::CancelCall(v1::CancelCall { number: 0 })]));
        for events in [&mut waits, &mut later] {
            assert_eq!(events.recv().await, Some(GatewayEvent::Stopped("ending".to_owned())));
        }
        assert!(under_way.try_recv().is_err());
        pending.withdraw(1);
        assert!(!pending.has_message(), "it was paid for");
        let mut late = queued(&mut pending, 3);
        assert!(!pending.has_message());
        assert_eq!(late.recv().await, Some(GatewayEvent::Stopped("ending".to_owned())));
        pending.ended(ended(1));
        pending.on_response(Response::ResultPersisted(v1::ResultPersisted { number: 1 }), now);
        assert!(pending.is_empty());
    }
}
