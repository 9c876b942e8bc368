//! Sessions of the store: opened when they are needed, with their prepared statements.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use crate::database::Trouble;
use crate::database::postgres::{
    Engine, EngineResult, Failed, Failure, Layout, RETRY, Session, read, transact, trouble,
};

/// Tables of the store.
pub(super) const LAYOUT: Layout =
    Layout { name: "store of answers", migrations: &[include_str!("migrations/0001_answers.sql")] };

/// How long the opening of the store waits for a server that is not available.
const OPENING: Duration = Duration::from_secs(15);

/// How long a use of the store does. Then its caller says what waits, and tries again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statements that are prepared for a session.
pub(super) trait Statements: Sized {
    async fn prepare(client: &Client) -> Result<Self, Error>;
}

/// A session with its prepared statements.
#[derive(Debug)]
pub(super) struct PreparedSession<S> {
    pub(super) session: Session,
    pub(super) statements: S,
}

/// A session that is opened again when it broke.
#[derive(Debug)]
pub(super) struct Connector<S> {
    engine: Arc<Engine>,
    open: Option<PreparedSession<S>>,
}

impl<S: Statements> Connector<S> {
    /// Opens the session for the first time, and migrates the tables.
    pub(super) async fn open(engine: Arc<Engine>) -> EngineResult<Self> {
        let until = Instant::now() + OPENING;
        let mut session = engine.open(until).await?;
        LAYOUT.migrate(&mut session.client, engine.schema()).await?;
        let open = Some(prepared(session).await?);
        Ok(Self { engine, open })
    }

    /// Runs `work` in a transaction, calls `applied`, and commits it. `work` is repeated where its transaction took no effect.
    pub(super) async fn transact<T>(
        &mut self,
        work: impl AsyncFn(&PreparedSession<S>) -> Result<T, Error>,
        applied: impl Fn(),
    ) -> Result<T, Failure> {
        self.attempts(async |open| transact(&open.session, work(open), &applied).await).await
    }

    /// Runs reads, each a statement of its own.
    pub(super) async fn read<T>(
        &mut self,
        work: impl AsyncFn(&PreparedSession<S>) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        self.attempts(async |open| read(work(open)).await).await
    }

    async fn attempts<T>(
        &mut self,
        attempt: impl AsyncFn(&PreparedSession<S>) -> Result<T, Failed>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            // A panic leaves a session in its transaction: it is put back only after it has ended.
            let open = self.take(until).await.map_err(Failure::NotApplied)?;
            let ended = attempt(&open).await;
            if ended.as_ref().err().is_none_or(|failed| failed.session_is_usable) {
                self.open = Some(open);
            }
            match ended.map_err(|failed| failed.failure) {
                Err(Failure::NotApplied(Trouble::Unavailable(reason))) if Instant::now() < until => {
                    tracing::warn!(reason, "a use of the store of answers took no effect; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                ended => return ended,
            }
        }
    }

    async fn take(&mut self, until: Instant) -> EngineResult<PreparedSession<S>> {
        match self.open.take().filter(|open| !open.session.client.is_closed()) {
            Some(open) => Ok(open),
            None => prepared(self.engine.open(until).await?).await,
        }
    }
}

async fn prepared<S: Statements>(session: Session) -> EngineResult<PreparedSession<S>> {
    let statements = S::prepare(&session.client).await.map_err(|error| trouble(&error))?;
    Ok(PreparedSession { session, statements })
}
