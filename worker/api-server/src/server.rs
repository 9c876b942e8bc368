//! A server that judges documents.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::api_server::ServerVerdict;

use crate::connection::Connection;
use crate::control_plane::ControlPlane;
use crate::error::{ConnectError, PrepareError, Unreachable};
use crate::fixtures::{Fixtures, Prepared};
use crate::limits::Limits;
use crate::question::{Question, read};
use crate::source::Source;

/// A Kubernetes API server that is asked about documents.
///
/// *Owns* its control plane, where it has one: that ends with it, and is started again when it dies. *Never* writes into
/// any other cluster.
pub struct ApiServer {
    source: Source,
    limits: Limits,
    connection: tokio::sync::RwLock<Arc<Connection>>,
    version: String,
    flags: String,
    fixtures: Option<Fixtures>,
    restarts: AtomicU32,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("version", &self.version)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Connects to the server of `source`; starts it where it is a control plane of our own.
    pub async fn connect(source: &Source, limits: Limits) -> Result<Self, ConnectError> {
        let (connection, version) = Connection::open(source, &limits).await?;
        Ok(Self {
            source: source.clone(),
            flags: connection.flags.clone(),
            limits,
            connection: tokio::sync::RwLock::new(Arc::new(connection)),
            version,
            fixtures: None,
            restarts: AtomicU32::new(0),
        })
    }

    /// What it says of itself, e.g. `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What beside the version decides its verdicts, as a short text: of a control plane its flags and fixtures, of a
    /// cluster which one it is.
    pub fn flags(&self) -> &str {
        &self.flags
    }

    /// The URL of the server, for people.
    pub async fn url(&self) -> String {
        self.connection.read().await.http.server().to_owned()
    }

    /// Path of a kubeconfig of the control plane, where there is one.
    pub async fn kubeconfig(&self) -> Option<std::path::PathBuf> {
        self.connection.read().await.control_plane.as_ref().map(ControlPlane::kubeconfig)
    }

    /// Writes the fixtures and the custom resource definitions of `documents` into a control plane of our own; does nothing
    /// with a cluster. Call it before the first question: it changes [`ApiServer::flags`].
    ///
    /// Namespaces need no preparation: those with a valid name are made when a document names them.
    pub async fn prepare<I>(&mut self, documents: I) -> Result<Prepared, PrepareError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        if !matches!(self.source, Source::ControlPlane(_)) {
            return Ok(Prepared::default());
        }
        let mut fixtures = Fixtures::seed(&self.limits.document);
        for document in documents {
            fixtures.take(document.as_ref(), &self.limits.document);
            if fixtures.definitions.len() > self.limits.definitions {
                return Err(PrepareError::TooMany { limit: self.limits.definitions });
            }
        }
        let connection = Arc::clone(&*self.connection.read().await);
        let prepared = connection.install(&fixtures).await?;
        self.flags = format!("{} fixtures={}", connection.flags, fixtures.hash());
        self.fixtures = Some(fixtures);
        Ok(prepared)
    }

    /// What the server says of a document, the text as it stands. A List is judged entry by entry; the worst verdict counts.
    ///
    /// # Errors
    /// When it gave no verdict. That says nothing about the document.
    pub async fn judge(&self, text: &str) -> Result<ServerVerdict, Unreachable> {
        let question = match read(text, &self.limits.document, self.limits.list_entries) {
            Question::Unsent(verdict) => return Ok(verdict),
            question => question,
        };
        loop {
            let connection = Arc::clone(&*self.connection.read().await);
            let error = match connection.judge(&question, text).await {
                Err(error) if connection.has_ended() => error,
                answered => return answered,
            };
            self.restart(&connection, &error).await?;
        }
    }

    /// Ends the control plane, where there is one, and waits until nothing of it is left. Dropping does the same, and blocks
    /// the thread for it.
    pub async fn stop(self) {
        // The last of those who use it drops it.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// Starts a control plane in the place of `dead`, unless that was done.
    async fn restart(&self, dead: &Arc<Connection>, error: &Unreachable) -> Result<(), Unreachable> {
        let mut current = self.connection.write().await;
        if !Arc::ptr_eq(&current, dead) {
            return Ok(());
        }
        if self.restarts.fetch_add(1, Ordering::Relaxed) >= self.limits.restarts {
            let why = format!("{error}; it was started {} times", self.limits.restarts + 1);
            return Err(Unreachable::Ended { why });
        }
        tracing::warn!(%error, "the control plane ended; starting it again");
        let ended = |error: &dyn std::error::Error| Unreachable::Ended { why: words_of(error) };
        let (connection, version) =
            Connection::open(&self.source, &self.limits).await.map_err(|error| ended(&error))?;
        if version != self.version {
            let why = format!("it is {version} now and was {}", self.version);
            return Err(Unreachable::Ended { why });
        }
        if let Some(fixtures) = &self.fixtures {
            connection.install(fixtures).await.map_err(|error| ended(&error))?;
        }
        *current = Arc::new(connection);
        Ok(())
    }
}

fn words_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
