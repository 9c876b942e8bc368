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
use proto::convert::{Asked, Ended};
use proto::v1;
use proto::v1::ask_request::Message as Request;
use proto::v1::ask_response::Message as Response;

use super::queue::Queue;

/// What the coordinator says about a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// The answer, which is kept.
    Known(Answer),
    /// The call may start until then.
    Go(Instant),
    /// What the call came to is kept.
    Kept,
    /// There will be no answer.
    Stopped(String),
}

/// Where an open question stands.
#[derive(Debug)]
enum Standing {
    /// It waits for an answer or for leave.
    Waits,
    /// Its call is under way.
    UnderWay,
    /// Its call has ended; the coordinator has not said that it keeps that.
    Ended(Box<Ended>),
}

#[derive(Debug)]
struct Entry {
    asked: Asked,
    standing: Standing,
    ear: mpsc::Sender<Said>,
    /// Whether its standing is among the news already.
    in_news: bool,
}

/// What is sent before any question that waits.
#[derive(Debug)]
enum News {
    /// Where an open question stands: its call is under way, or has ended.
    Standing(u64),
    /// A question that is on the stream is withdrawn.
    Withdrawn(u64),
    /// A call has ended whose question is not open here any more.
    Ended(Box<Ended>),
}

/// Every open question, and what the stream has not been sent yet.
#[derive(Debug)]
pub(super) struct Book {
    open: BTreeMap<u64, Entry>,
    /// Those that are not on the stream: they wait for room there.
    queue: Queue,
    news: VecDeque<News>,
    /// How many questions may be on the stream.
    most: usize,
    /// Questions withdrawn from this stream: leave for them may be on its way. The coordinator allows none of the others.
    withdrawn: VecDeque<Asked>,
    /// Once set, no question waits any more: why.
    closed: Option<String>,
}

impl Book {
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
            if let Standing::Waits = entry.standing {
                self.queue.push(&entry.asked.run_id, *number);
            } else {
                entry.in_news = true;
                self.news.push_back(News::Standing(*number));
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
                News::Standing(number) => {
                    let Some(entry) = self.open.get_mut(&number) else { continue };
                    entry.in_news = false;
                    return Some(entry.message());
                }
                News::Withdrawn(number) => return Some(Request::Withdraw(v1::Withdraw { number })),
                News::Ended(ended) => return Some(Request::Ended((&*ended).into())),
            }
        }
        if self.on_stream() >= self.most {
            return None;
        }
        let number = self.queue.pop()?;
        self.open.get(&number).map(Entry::message)
    }

    /// A new question.
    pub(super) fn ask(&mut self, asked: Asked, ear: mpsc::Sender<Said>) {
        if let Some(why) = &self.closed {
            let _ = ear.try_send(Said::Stopped(why.clone()));
            return;
        }
        self.queue.push(&asked.run_id, asked.number);
        let entry = Entry { asked, standing: Standing::Waits, ear, in_news: false };
        self.open.insert(entry.asked.number, entry);
    }

    /// A call has ended.
    pub(super) fn ended(&mut self, ended: Ended) {
        let number = ended.number;
        let Some(entry) = self.open.get_mut(&number) else {
            self.news.push_back(News::Ended(Box::new(ended)));
            return;
        };
        entry.standing = Standing::Ended(Box::new(ended));
        if !std::mem::replace(&mut entry.in_news, true) {
            self.news.push_back(News::Standing(number));
        }
    }

    /// A question is wanted no more. One whose call is under way stays: what was paid for is kept.
    pub(super) fn withdraw(&mut self, number: u64) {
        let waits = self.open.get(&number).is_some_and(|entry| matches!(entry.standing, Standing::Waits));
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

    /// From now on nothing waits: what does is told so.
    pub(super) fn close(&mut self, why: &str) {
        self.closed = Some(why.to_owned());
        let waiting = |entry: &Entry| matches!(entry.standing, Standing::Waits);
        let numbers: Vec<u64> =
            self.open.iter().filter(|(_, entry)| waiting(entry)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(entry) = self.open.get(&number) {
                let _ = entry.ear.try_send(Said::Stopped(why.to_owned()));
            }
            self.withdraw(number);
        }
    }

    /// The coordinator says something.
    pub(super) fn hear(&mut self, response: Response, now: Instant) {
        match response {
            Response::Go(go) => self.go(&go, now),
            Response::Known(known) => {
                let said = match known.answer.map(Answer::try_from) {
                    Some(Ok(answer)) => Said::Known(answer),
                    Some(Err(error)) => Said::Stopped(format!("the coordinator sent a bad answer: {error}")),
                    None => Said::Stopped("the coordinator sent no answer".to_owned()),
                };
                self.settle(known.number, said);
            }
            Response::Kept(kept) => self.settle(kept.number, Said::Kept),
            Response::Stopped(stopped) => self.settle(stopped.number, Said::Stopped(stopped.reason)),
        }
    }

    fn go(&mut self, go: &v1::Go, now: Instant) {
        let until = now + Duration::from_millis(go.valid_ms);
        let Some(entry) = self.open.get_mut(&go.number) else {
            // Withdrawn meanwhile.
            let asked = self.withdrawn.iter().find(|asked| asked.number == go.number);
            self.news.extend(asked.map(|asked| News::Ended(Box::new(unsent(asked)))));
            return;
        };
        if !matches!(entry.standing, Standing::Waits) {
            // Said twice.
            return;
        }
        self.queue.remove(&entry.asked.run_id, go.number);
        if entry.ear.try_send(Said::Go(until)).is_ok() {
            entry.standing = Standing::UnderWay;
            return;
        }
        let unsent = unsent(&entry.asked);
        self.ended(unsent);
    }

    fn settle(&mut self, number: u64, said: Said) {
        if let Some(entry) = self.open.remove(&number) {
            self.queue.remove(&entry.asked.run_id, number);
            // Who does not listen any more has withdrawn.
            let _ = entry.ear.try_send(said);
        }
    }
}

impl Entry {
    fn message(&self) -> Request {
        match &self.standing {
            Standing::Waits => Request::Question((&self.asked).into()),
            Standing::UnderWay => {
                Request::Question((&Asked { under_way: true, ..self.asked.clone() }).into())
            }
            Standing::Ended(ended) => Request::Ended((&**ended).into()),
        }
    }
}

/// The call that was allowed for `asked` was never made.
fn unsent(asked: &Asked) -> Ended {
    Ended {
        number: asked.number,
        run_id: asked.run_id.clone(),
        key: asked.key,
        outcome: CallOutcome::Unsent,
        usage: Usage::default(),
        told_requests: None,
        told_tokens: None,
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{AnswerKey, RunId};

    use super::*;

    fn asked(number: u64) -> Asked {
        let (run_id, key) = (RunId::new("r").unwrap(), AnswerKey::of(&number.to_le_bytes()));
        Asked { number, run_id, key, tokens: 1000, under_way: false }
    }

    fn ended(number: u64) -> Ended {
        let Asked { run_id, key, .. } = asked(number);
        let outcome = CallOutcome::Failed { reason: "500".to_owned(), stop: false };
        Ended {
            number,
            run_id,
            key,
            outcome,
            usage: Usage::default(),
            told_requests: None,
            told_tokens: None,
        }
    }

    fn go(number: u64) -> Response {
        Response::Go(v1::Go { number, valid_ms: 1000 })
    }

    fn book() -> Book {
        Book::new(100)
    }

    /// A question that waits at the worker.
    fn queued(book: &mut Book, number: u64) -> mpsc::Receiver<Said> {
        let (ear, said) = mpsc::channel(4);
        book.ask(asked(number), ear);
        said
    }

    /// A question that is on the stream.
    fn open(book: &mut Book, number: u64) -> mpsc::Receiver<Said> {
        let said = queued(book, number);
        assert!(matches!(book.next_message(), Some(Request::Question(_))));
        said
    }

    /// All there is to send.
    fn messages(book: &mut Book) -> Vec<Request> {
        std::iter::from_fn(|| book.next_message()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_stream_is_told_everything() {
        let (mut book, now) = (book(), Instant::now());
        let mut ears: Vec<_> = (0..3).map(|number| open(&mut book, number)).collect();
        book.hear(go(1), now);
        assert!(!book.has_message());
        assert_eq!(ears[1].try_recv().unwrap(), Said::Go(now + Duration::from_secs(1)));
        book.hear(go(2), now);
        book.ended(ended(2));
        book.begin_stream();
        let told = messages(&mut book);
        assert!(
            matches!(&told[0], Request::Question(question) if question.number == 1 && question.under_way)
        );
        assert!(matches!(&told[1], Request::Ended(ended) if ended.number == 2));
        assert!(
            matches!(&told[2], Request::Question(question) if question.number == 0 && !question.under_way)
        );
        assert_eq!(told.len(), 3);
        book.hear(Response::Kept(v1::Kept { number: 2 }), now);
        assert_eq!(ears[2].recv().await, Some(Said::Go(now + Duration::from_secs(1))));
        assert_eq!(ears[2].recv().await, Some(Said::Kept));
        book.begin_stream();
        assert_eq!(messages(&mut book).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_questions_are_on_the_stream_than_may_be() {
        let (mut book, now) = (Book::new(2), Instant::now());
        let _ears: Vec<_> = (0..5).map(|number| queued(&mut book, number)).collect();
        let numbers = |book: &mut Book| -> Vec<u64> {
            let number = |message: Request| match message {
                Request::Question(question) => question.number,
                other => panic!("{other:?}"),
            };
            messages(book).into_iter().map(number).collect()
        };
        assert_eq!(numbers(&mut book), [0, 1]);
        assert!(!book.has_message(), "the others wait here");
        book.withdraw(4);
        assert!(!book.has_message(), "the coordinator never knew of it");
        book.hear(go(0), now);
        book.ended(ended(0));
        assert!(matches!(book.next_message(), Some(Request::Ended(_))), "a result needs no room");
        assert!(!book.has_message(), "it holds its place until it is kept");
        book.hear(Response::Kept(v1::Kept { number: 0 }), now);
        assert_eq!(numbers(&mut book), [2]);
        book.hear(go(1), now);
        book.begin_stream();
        assert_eq!(numbers(&mut book), [1, 2], "the call under way first, then as many as there is room for");
        book.hear(Response::Stopped(v1::Stopped { number: 3, reason: "spent".to_owned() }), now);
        assert_eq!((book.queue.len(), book.open.len()), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leave_that_nobody_wants_goes_back() {
        let (mut book, now) = (book(), Instant::now());
        let said = open(&mut book, 0);
        book.withdraw(0);
        assert!(matches!(book.next_message(), Some(Request::Withdraw(_))));
        drop(said);
        book.hear(go(0), now);
        let Some(Request::Ended(unsent)) = book.next_message() else { panic!("leave was kept") };
        let unsent = Ended::try_from(unsent).expect("the coordinator can read it");
        assert_eq!((unsent.number, unsent.key, unsent.outcome), (0, asked(0).key, CallOutcome::Unsent));
        assert!(book.is_empty());

        drop(open(&mut book, 1));
        book.hear(go(1), now);
        let unsent = book.next_message();
        assert!(matches!(&unsent, Some(Request::Ended(ended)) if ended.number == 1));
        book.hear(Response::Kept(v1::Kept { number: 1 }), now);
        assert!(book.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_outlasts_the_closing() {
        let (mut book, now) = (book(), Instant::now());
        let mut waits = open(&mut book, 0);
        let mut under_way = open(&mut book, 1);
        let mut later = queued(&mut book, 2);
        book.hear(go(1), now);
        assert_eq!(under_way.recv().await, Some(Said::Go(now + Duration::from_secs(1))));
        book.close("ending");
        assert!(matches!(&messages(&mut book)[..], [Request::Withdraw(v1::Withdraw { number: 0 })]));
        for ear in [&mut waits, &mut later] {
            assert_eq!(ear.recv().await, Some(Said::Stopped("ending".to_owned())));
        }
        assert!(under_way.try_recv().is_err());
        book.withdraw(1);
        assert!(!book.has_message(), "it was paid for");
        let mut late = queued(&mut book, 3);
        assert!(!book.has_message());
        assert_eq!(late.recv().await, Some(Said::Stopped("ending".to_owned())));
        book.ended(ended(1));
        book.hear(Response::Kept(v1::Kept { number: 1 }), now);
        assert!(book.is_empty());
    }
}
