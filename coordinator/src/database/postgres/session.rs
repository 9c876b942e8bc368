//! Sessions: opened, checked, and what the server warns of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::error::Severity;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use super::address::EngineAddress;
use super::engine::{EngineFacts, Trust};
use super::errors::{EngineResult, described, trouble};
use super::ownership::Epoch;
use crate::database::Trouble;

/// Schema of all tables.
const SCHEMA: &str = "k8s_auto_fix";

const BEGIN: &str = "BEGIN";

/// Pause between two warnings that there is no session.
const WARN_AGAIN: Duration = Duration::from_secs(5);

/// Pause between two tries to connect.
const RETRY: Duration = Duration::from_millis(200);

/// A server with the conditions under which it is used.
#[derive(Debug)]
pub(crate) struct Engine {
    address: EngineAddress,
    trust: Arc<Trust>,
    schema: String,
    /// What each transaction begins with.
    begin: String,
}

impl Engine {
    pub(crate) fn new(address: EngineAddress, trust: Trust) -> Self {
        Self { address, trust: Arc::new(trust), schema: SCHEMA.to_owned(), begin: BEGIN.to_owned() }
    }

    /// The same with another schema, for tests that share a server.
    #[cfg(test)]
    pub(crate) fn with_schema(self, schema: &str) -> Self {
        Self { schema: schema.to_owned(), ..self }
    }

    /// The same for the owner of an epoch: each transaction fails where another coordinator has taken over.
    pub(crate) fn fenced_by(&self, epoch: Epoch) -> Self {
        let begin = format!("{BEGIN}; SELECT fence({epoch})");
        Self {
            address: self.address.clone(),
            trust: Arc::clone(&self.trust),
            schema: self.schema.clone(),
            begin,
        }
    }

    /// Name of the server, for people.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Opens a session; tries again until `until` while the server is not available.
    pub(crate) async fn open(&self, until: Instant) -> EngineResult<Session> {
        let mut warned: Option<Instant> = None;
        loop {
            match self.try_to_open().await {
                Err(Trouble::Unavailable(reason)) if Instant::now() < until => {
                    if warned.is_none_or(|at| at.elapsed() >= WARN_AGAIN) {
                        warned = Some(Instant::now());
                        tracing::warn!(place = %self.address, reason, "no session with the ledger's server; trying again");
                    }
                    tokio::time::sleep(RETRY).await;
                }
                ended => return ended,
            }
        }
    }

    /// What the server says of itself, whether or not it is trusted.
    pub(crate) async fn facts(&self) -> EngineResult<EngineFacts> {
        let session = self.connect().await?;
        EngineFacts::read(&session.client).await.map_err(|error| trouble(&error))
    }

    async fn try_to_open(&self) -> EngineResult<Session> {
        let session = self.connect().await?;
        let failed = |error: tokio_postgres::Error| trouble(&error);
        let facts = EngineFacts::read(&session.client).await.map_err(failed)?;
        if let Err(reason) = self.trust.admit(&facts) {
            // Another host of the list may be the right one.
            return Err(if self.address.parts().0.get_hosts().len() > 1 {
                Trouble::Unavailable(reason)
            } else {
                Trouble::Unusable(reason)
            });
        }
        // What a coordinator holds that stands still in a transaction, or whose machine is gone, comes free.
        let settings = format!(
            "SET search_path TO {}; SET statement_timeout TO 0; SET idle_in_transaction_session_timeout TO '10s';
             SET tcp_keepalives_idle TO 5; SET tcp_keepalives_interval TO 2; SET tcp_keepalives_count TO 3;
             SET tcp_user_timeout TO '10s'",
            self.schema
        );
        session.client.batch_execute(&settings).await.map_err(failed)?;
        Ok(session)
    }

    async fn connect(&self) -> EngineResult<Session> {
        let (config, tls) = self.address.parts();
        let (client, connection) = config.connect(tls).await.map_err(|error| trouble(&error))?;
        let warned = Arc::<Warnings>::default();
        let task = tokio::spawn(drive(connection, Arc::clone(&warned)));
        Ok(Session { client, task, warned, begin: self.begin.clone() })
    }
}

/// A session. Dropping it closes the connection; nothing is cancelled.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    task: JoinHandle<()>,
    warned: Arc<Warnings>,
    begin: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Begins a transaction; fails where another coordinator has taken over from the one that opened the session.
    pub(crate) async fn begin(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(&self.begin).await
    }

    /// Commits the open transaction. An error means that it is not known whether it is durable: also where the server says
    /// that it stopped to wait for its standbys.
    pub(crate) async fn commit(&self) -> Result<(), String> {
        self.warned.since.store(false, Ordering::Release);
        self.client.batch_execute("COMMIT").await.map_err(|error| described(&error))?;
        if self.warned.since.load(Ordering::Acquire) {
            return Err(self.warned.last.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        Ok(())
    }
}

/// Warnings of the server.
#[derive(Debug, Default)]
struct Warnings {
    since: AtomicBool,
    last: Mutex<String>,
}

/// Reads and writes the connection until it ends. A warning is noted before the answer that it precedes is delivered.
async fn drive<T>(mut connection: Connection<Socket, T>, warned: Arc<Warnings>)
where
    T: TlsStream + Unpin,
{
    while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) if notice.parsed_severity() == Some(Severity::Warning) => {
                tracing::warn!(notice = notice.message(), "warning of the ledger's server");
                notice.message().clone_into(&mut warned.last.lock().unwrap_or_else(PoisonError::into_inner));
                warned.since.store(true, Ordering::Release);
            }
            Ok(_) => {}
            // The caller of the statement under way gets the error.
            Err(_) => return,
        }
    }
}
