//! What is open on the line to the coordinator: which question waits for what. No I/O.
//!
//! *Invariant*: a new stream is told all of it, so nothing is lost when a stream breaks or the coordinator is another.

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
}

/// Withdrawn questions that are remembered, in case leave for them is on its way.
const WITHDRAWN: usize = 4096;

/// Every open question.
#[derive(Debug, Default)]
pub(super) struct Book {
    open: BTreeMap<u64, Entry>,
    withdrawn: VecDeque<Asked>,
    /// Once set, no question waits any more: why.
    closed: Option<String>,
}

impl Book {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A question; gives what to send.
    pub(super) fn ask(&mut self, asked: Asked, ear: mpsc::Sender<Said>) -> Option<Request> {
        if let Some(why) = &self.closed {
            let _ = ear.try_send(Said::Stopped(why.clone()));
            return None;
        }
        let message = Request::Question((&asked).into());
        self.open.insert(asked.number, Entry { asked, standing: Standing::Waits, ear });
        Some(message)
    }

    /// A call has ended; gives what to send.
    pub(super) fn ended(&mut self, ended: Ended) -> Request {
        let message = Request::Ended((&ended).into());
        if let Some(entry) = self.open.get_mut(&ended.number) {
            entry.standing = Standing::Ended(Box::new(ended));
        }
        message
    }

    /// A question is wanted no more. One whose call is under way stays: what was paid for is kept.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<Request> {
        let waits = self.open.get(&number).is_some_and(|entry| matches!(entry.standing, Standing::Waits));
        if waits && let Some(entry) = self.open.remove(&number) {
            self.withdrawn.push_back(entry.asked);
            if self.withdrawn.len() > WITHDRAWN {
                self.withdrawn.pop_front();
            }
            return Some(Request::Withdraw(v1::Withdraw { number }));
        }
        None
    }

    /// From now on nothing waits: what does is told so.
    pub(super) fn close(&mut self, why: &str) -> Vec<Request> {
        self.closed = Some(why.to_owned());
        let waiting = |entry: &Entry| matches!(entry.standing, Standing::Waits);
        let numbers: Vec<u64> =
            self.open.iter().filter(|(_, entry)| waiting(entry)).map(|(number, _)| *number).collect();
        for number in &numbers {
            if let Some(entry) = self.open.get(number) {
                let _ = entry.ear.try_send(Said::Stopped(why.to_owned()));
            }
        }
        numbers.into_iter().filter_map(|number| self.withdraw(number)).collect()
    }

    /// What a new stream has to be told.
    pub(super) fn all(&self) -> Vec<Request> {
        let message = |entry: &Entry| match &entry.standing {
            Standing::Waits => Request::Question((&entry.asked).into()),
            Standing::UnderWay => {
                Request::Question((&Asked { under_way: true, ..entry.asked.clone() }).into())
            }
            Standing::Ended(ended) => Request::Ended((&**ended).into()),
        };
        self.open.values().map(message).collect()
    }

    /// The coordinator says something; gives what to answer at once.
    pub(super) fn hear(&mut self, response: Response, now: Instant) -> Option<Request> {
        match response {
            Response::Go(go) => self.go(&go, now),
            Response::Known(known) => {
                let said = match known.answer.map(Answer::try_from) {
                    Some(Ok(answer)) => Said::Known(answer),
                    Some(Err(error)) => Said::Stopped(format!("the coordinator sent a bad answer: {error}")),
                    None => Said::Stopped("the coordinator sent no answer".to_owned()),
                };
                self.settle(known.number, said);
                None
            }
            Response::Kept(kept) => {
                self.settle(kept.number, Said::Kept);
                None
            }
            Response::Stopped(stopped) => {
                self.settle(stopped.number, Said::Stopped(stopped.reason));
                None
            }
        }
    }

    fn go(&mut self, go: &v1::Go, now: Instant) -> Option<Request> {
        let until = now + Duration::from_millis(go.valid_ms);
        let Some(entry) = self.open.get_mut(&go.number) else {
            // Withdrawn meanwhile.
            let asked = self.withdrawn.iter().find(|asked| asked.number == go.number)?;
            return Some(Request::Ended((&unsent(asked)).into()));
        };
        if !matches!(entry.standing, Standing::Waits) {
            // Said twice.
            return None;
        }
        if entry.ear.try_send(Said::Go(until)).is_ok() {
            entry.standing = Standing::UnderWay;
            return None;
        }
        let unsent = unsent(&entry.asked);
        Some(self.ended(unsent))
    }

    fn settle(&mut self, number: u64, said: Said) {
        if let Some(entry) = self.open.remove(&number) {
            // Who does not listen any more has withdrawn.
            let _ = entry.ear.try_send(said);
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

    fn open(book: &mut Book, number: u64) -> mpsc::Receiver<Said> {
        let (ear, said) = mpsc::channel(4);
        assert!(matches!(book.ask(asked(number), ear), Some(Request::Question(_))));
        said
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_stream_is_told_everything() {
        let (mut book, now) = (Book::default(), Instant::now());
        let mut ears: Vec<_> = (0..3).map(|number| open(&mut book, number)).collect();
        assert_eq!(book.hear(go(1), now), None);
        assert_eq!(ears[1].try_recv().unwrap(), Said::Go(now + Duration::from_secs(1)));
        book.hear(go(2), now);
        book.ended(ended(2));
        let told = book.all();
        assert!(matches!(&told[0], Request::Question(question) if !question.under_way));
        assert!(matches!(&told[1], Request::Question(question) if question.under_way));
        assert!(matches!(&told[2], Request::Ended(ended) if ended.number == 2));
        book.hear(Response::Kept(v1::Kept { number: 2 }), now);
        assert_eq!(ears[2].recv().await, Some(Said::Go(now + Duration::from_secs(1))));
        assert_eq!(ears[2].recv().await, Some(Said::Kept));
        assert_eq!(book.all().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leave_that_nobody_wants_goes_back() {
        let (mut book, now) = (Book::default(), Instant::now());
        let said = open(&mut book, 0);
        assert!(matches!(book.withdraw(0), Some(Request::Withdraw(_))));
        drop(said);
        let Some(Request::Ended(unsent)) = book.hear(go(0), now) else { panic!("leave was kept") };
        let unsent = Ended::try_from(unsent).expect("the coordinator can read it");
        assert_eq!((unsent.number, unsent.key, unsent.outcome), (0, asked(0).key, CallOutcome::Unsent));
        assert!(book.is_empty());

        drop(open(&mut book, 1));
        let unsent = book.hear(go(1), now);
        assert!(matches!(&unsent, Some(Request::Ended(ended)) if ended.number == 1));
        book.hear(Response::Kept(v1::Kept { number: 1 }), now);
        assert!(book.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_outlasts_the_closing() {
        let (mut book, now) = (Book::default(), Instant::now());
        let mut waits = open(&mut book, 0);
        let mut under_way = open(&mut book, 1);
        book.hear(go(1), now);
        assert_eq!(under_way.recv().await, Some(Said::Go(now + Duration::from_secs(1))));
        assert_eq!(book.close("ending").len(), 1);
        assert_eq!(waits.recv().await, Some(Said::Stopped("ending".to_owned())));
        assert!(under_way.try_recv().is_err());
        assert!(book.withdraw(1).is_none(), "it was paid for");
        let (ear, mut late) = mpsc::channel(4);
        assert!(book.ask(asked(2), ear).is_none());
        assert_eq!(late.recv().await, Some(Said::Stopped("ending".to_owned())));
        book.ended(ended(1));
        book.hear(Response::Kept(v1::Kept { number: 1 }), now);
        assert!(book.is_empty());
    }
}
