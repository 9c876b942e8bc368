//! The session that writes, one transaction at a time.
//!
//! *Invariant*: a transaction that writes holds the lock of the store, and stores its number for its process.

use std::cell::RefCell;
use std::sync::Arc;

use domain::ids::{AnswerKey, RunId};
use futures::try_join;
use results::crash::Point;
use tokio_postgres::{Client, Error, Statement};

use super::changes::{Changes, Held};
use super::sessions::{Connector, PreparedSession, Statements};
use super::untold::{Done, Untold};
use super::{calls, failures, rows};
use crate::database::postgres::{Engine, EngineResult, Failure};
use crate::llm_gateway::response_cache::store::pass;
use crate::llm_gateway::response_cache::usage::signed;
use crate::llm_gateway::response_cache::{CallId, Counted, OrphanedCall, StoreWrite};

/// Statements of batches.
#[derive(Debug)]
pub(super) struct WriteStatements {
    last: Statement,
    number: Statement,
    open: Statement,
    end: Statement,
    begin: Statement,
    look_up: Statement,
    answers: Statement,
    spend: Statement,
}

impl Statements for WriteStatements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        let number = "INSERT INTO processes (process, last) VALUES ($1, $2) \
                      ON CONFLICT (process) DO UPDATE SET last = excluded.last";
        let (last, number, open, end, begin, look_up, answers, spend) = try_join!(
            client.prepare("SELECT last FROM processes WHERE process = $1"),
            client.prepare(number),
            calls::prepare_open(client),
            calls::prepare_end(client),
            calls::prepare_begin(client),
            rows::prepare_look_up(client),
            rows::prepare_answers(client),
            rows::prepare_spend(client),
        )?;
        Ok(Self { last, number, open, end, begin, look_up, answers, spend })
    }
}

/// The session that writes.
#[derive(Debug)]
pub(super) struct Writer {
    sessions: Connector<WriteStatements>,
    /// This process: a random number.
    process: i64,
    /// Number of the last transaction whose COMMIT was sent.
    number: i64,
    untold: Untold,
}

/// What a transaction found and did, before its COMMIT.
#[derive(Debug, Default)]
struct Applied {
    last: i64,
    repeated: Vec<Option<Counted>>,
    counted: Vec<Counted>,
    taken: Vec<OrphanedCall>,
}

impl Writer {
    /// Opens the session, and migrates the tables.
    pub(super) async fn open(engine: Arc<Engine>) -> EngineResult<Self> {
        let process =
            CallId::random().map_err(|error| crate::database::Trouble::Unusable(error.to_string()))?;
        let sessions = Connector::open(engine).await?;
        Ok(Self { sessions, process: signed(process.number()), number: 0, untold: Untold::default() })
    }

    /// Makes a batch durable; returns what counts of each write.
    pub(super) async fn apply(&mut self, batch: &[&StoreWrite]) -> Result<Vec<Counted>, Failure> {
        let (process, number, untold) = (self.process, self.number + 1, &self.untold);
        let applied = RefCell::default();
        let work = async |open: &PreparedSession<WriteStatements>| {
            let (last, mut held) = held(open, process, batch).await?;
            let repeated = untold.counted(batch, last);
            let (changes, counted) = Changes::of(batch, &repeated, &mut held);
            write(open, (process, number), &changes, &held).await?;
            applied.replace(Applied { last, repeated, counted, taken: Vec::new() });
            Ok(())
        };
        let applying = || pass(batch, Point::CallsApplied, Point::AnswersApplied);
        let ended = Box::pin(self.sessions.transact(work, applying)).await;
        let Applied { last, repeated, counted, .. } = applied.into_inner();
        match &ended {
            Ok(()) => {
                self.number = number;
                self.untold.settle(last);
                self.untold.told(batch, &repeated);
                pass(batch, Point::CallsDurable, Point::AnswersDurable);
            }
            Err(Failure::Unknown(_)) => {
                self.number = number;
                self.untold.settle(last);
                let writes = batch.iter().zip(&counted).zip(&repeated);
                let new = writes.filter(|(_, repeated)| repeated.is_none());
                let writes = new.map(|((write, counted), _)| (StoreWrite::clone(write), *counted)).collect();
                self.untold.lost(number, Done { writes, taken: Vec::new() });
            }
            Err(_) => {}
        }
        ended.map(|()| counted)
    }

    /// Takes up the calls of all other processes.
    pub(super) async fn take_up(&mut self) -> Result<Vec<OrphanedCall>, Failure> {
        let (process, number) = (self.process, self.number + 1);
        let applied = RefCell::default();
        let work = async |open: &PreparedSession<WriteStatements>| {
            let client = &open.session.client;
            let ((), last) = try_join!(lock(client), last(open, process))?;
            let taken = calls::take_up(client, process).await?;
            client.execute(&open.statements.number, &[&process, &number]).await?;
            applied.replace(Applied { last, taken, ..Applied::default() });
            Ok(())
        };
        let ended = self.sessions.transact(work, || {}).await;
        let Applied { last, taken, .. } = applied.into_inner();
        match ended {
            Ok(()) => {
                self.number = number;
                self.untold.settle(last);
                let mut all = self.untold.take();
                all.extend(taken);
                Ok(all)
            }
            Err(Failure::Unknown(reason)) => {
                self.number = number;
                self.untold.settle(last);
                self.untold.lost(number, Done { writes: Vec::new(), taken });
                Err(Failure::Unknown(reason))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Runs `work` in a transaction that can be repeated.
    pub(super) async fn transact<T>(
        &mut self,
        work: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let work = async |open: &PreparedSession<WriteStatements>| {
            lock(&open.session.client).await?;
            work(&open.session.client).await
        };
        self.sessions.transact(work, || {}).await
    }
}

/// Waits until every earlier transaction that writes to the store has ended.
async fn lock(client: &Client) -> Result<(), Error> {
    client.batch_execute("LOCK TABLE one_writer IN EXCLUSIVE MODE").await
}

/// Number of the last transaction of a process that took effect; 0: none did.
async fn last(open: &PreparedSession<WriteStatements>, process: i64) -> Result<i64, Error> {
    let row = open.session.client.query_opt(&open.statements.last, &[&process]).await?;
    row.map_or(Ok(0), |row| row.try_get(0))
}

/// What the tables hold of what a batch touches, and the number of the last transaction. The statements are sent together.
async fn held(
    open: &PreparedSession<WriteStatements>,
    process: i64,
    batch: &[&StoreWrite],
) -> Result<(i64, Held), Error> {
    let (mut ids, mut keys, mut failed): (Vec<CallId>, Vec<AnswerKey>, Vec<&RunId>) = Default::default();
    for write in batch {
        match write {
            StoreWrite::Begin(_) | StoreWrite::Unused { .. } => {}
            StoreWrite::End(write) => {
                ids.extend(write.call);
                keys.extend(write.entry.as_ref().map(|(key, _)| *key));
                failed.extend(write.failure.as_ref().map(|_| &write.run_id));
            }
        }
    }
    failed.sort_unstable();
    failed.dedup();
    let (client, statements) = (&open.session.client, &open.statements);
    let ((), last, calls, answers, labels) = try_join!(
        lock(client),
        last(open, process),
        calls::open(client, &statements.open, &ids),
        rows::look_up(client, &statements.look_up, &keys),
        failures::labels(client, &failed),
    )?;
    Ok((last, Held { calls, answers, labels }))
}

/// Writes the changes of a batch. The statements are sent together.
async fn write(
    open: &PreparedSession<WriteStatements>,
    (process, number): (i64, i64),
    changes: &Changes<'_>,
    held: &Held,
) -> Result<(), Error> {
    let (client, statements) = (&open.session.client, &open.statements);
    try_join!(
        calls::end(client, &statements.end, changes),
        calls::begin(client, &statements.begin, changes, process),
        rows::write_answers(client, &statements.answers, changes),
        rows::add_spent(client, &statements.spend, changes),
        failures::add(client, changes, held),
        async { client.execute(&statements.number, &[&process, &number]).await.map(|_| ()) },
    )?;
    Ok(())
}
