//! Session of a queue: opened when it is needed, with its prepared statements.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::shards::{Open, Statements};
use crate::database::Trouble;
use crate::database::postgres::{Engine, EngineResult, Layout, trouble};
use crate::ledger::contract::LedgerError;

/// Tables of the ledger.
pub(super) const LAYOUT: Layout = Layout {
    name: "ledger",
    migrations: &[include_str!("migrations/0001_ledger.sql"), include_str!("migrations/0002_run_file.sql")],
};

/// How long the opening of the ledger, and a step that took no effect, wait for a server that is not available.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Steps that change something, in transactions.
    Steps,
    /// Reads, each a statement of its own.
    Reads,
}

/// The session of a queue.
#[derive(Debug)]
pub(super) struct Connector {
    engine: Arc<Engine>,
    pub(super) mode: Mode,
    open: Option<Open>,
}

impl Connector {
    /// Opens the session for the first time; steps migrate the tables.
    pub(super) async fn open(engine: Arc<Engine>, mode: Mode) -> Result<Self, LedgerError> {
        let mut connector = Self { engine, mode, open: None };
        match connector.session(Instant::now() + PATIENCE).await {
            Ok(_) => Ok(connector),
            Err(trouble) => Err(connector.failed(trouble)),
        }
    }

    /// The session; a broken one is opened again, until `until`.
    pub(super) async fn session(&mut self, until: Instant) -> EngineResult<&Open> {
        if self.open.as_ref().is_some_and(|open| open.session.client.is_closed()) {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin(until).await?,
        };
        Ok(self.open.insert(open))
    }

    /// Drops the session.
    pub(super) fn drop_session(&mut self) {
        self.open = None;
    }

    async fn begin(&self, until: Instant) -> EngineResult<Open> {
        let mut session = self.engine.open(until).await?;
        let schema = self.engine.schema();
        match self.mode {
            Mode::Steps => {
                LAYOUT.migrate(&mut session.client, schema).await?;
            }
            Mode::Reads => LAYOUT.check(&session.client, schema).await?,
        }
        let statements = Statements::prepare(&session.client).await.map_err(|error| trouble(&error))?;
        Ok(Open { session, statements })
    }

    /// The error for the callers of steps.
    pub(super) fn failed(&self, trouble: Trouble) -> LedgerError {
        LedgerError::of(self.engine.place(), trouble)
    }
}
