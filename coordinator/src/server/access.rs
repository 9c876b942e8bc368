//! Access control: proves the role of each call before a service sees it.
//!
//! *Owns* the tokens and the TLS configuration, which can be reloaded. *Never* logs or repeats a token.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::Either;
use proto::channel::{AUTHORIZATION_KEY, PROTOCOL_KEY, check_stamp};
use proto::status::{ApiError, ErrorReason};
use rustls::ServerConfig;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;

use super::roles::{Peer, Role, Roles, needed};
use super::secrets::FOLDER;
use super::tls::{self, TlsFiles};
use super::tokens::Tokens;

/// Shortest time between two log lines about refused peers.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What clients and workers prove their roles by.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Token files of the state folder.
    pub own_tokens: Vec<PathBuf>,
    /// Token file of the operator.
    pub token_file: Option<PathBuf>,
    /// Certificate of the server, and authority of the clients'.
    pub tls: Option<TlsFiles>,
}

/// Checks the role of each call.
#[derive(Debug, Default)]
pub struct AccessControl {
    credentials: Credentials,
    loaded: RwLock<Loaded>,
    pub(super) refused: RefusalLog,
}

/// The contents of the files.
#[derive(Default, Clone)]
struct Loaded {
    tokens: Arc<Tokens>,
    tls: Option<Arc<ServerConfig>>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl AccessControl {
    /// Reads the files.
    pub fn new(credentials: Credentials) -> anyhow::Result<Self> {
        let loaded = RwLock::new(Self::read(&credentials)?);
        Ok(Self { credentials, loaded, refused: RefusalLog::default() })
    }

    fn read(credentials: &Credentials) -> anyhow::Result<Loaded> {
        let files: Vec<PathBuf> =
            credentials.own_tokens.iter().chain(&credentials.token_file).cloned().collect();
        // With tokens for clients, a certificate is one of two proofs.
        let required = credentials.token_file.is_none();
        let tls = credentials.tls.as_ref().map(|files| tls::load(files, required)).transpose()?;
        Ok(Loaded { tokens: Arc::new(Tokens::read(&files)?), tls })
    }

    /// Reads the files again; after an error everything stays as it was.
    pub fn reload(&self) -> anyhow::Result<()> {
        let read = Self::read(&self.credentials)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn loaded(&self) -> Loaded {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The TLS configuration for the next connection.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.loaded().tls
    }

    /// The roles of a token.
    pub(super) fn roles_of_token(&self, token: &str) -> Roles {
        self.loaded().tokens.roles(token)
    }

    /// Refuses a call whose sender may not make it. A token says more than the transport: who sends one has its role
    /// alone.
    fn check(&self, path: &str, peer: Option<&Peer>, headers: &http::HeaderMap) -> Result<(), ApiError> {
        let Some(role) = needed(path) else { return Ok(()) };
        check_version(role, headers)?;
        let roles = match headers.get(AUTHORIZATION_KEY) {
            Some(value) => bearer(value).map(|token| self.roles_of_token(token)).unwrap_or_default(),
            None => peer.map(|peer| peer.roles).unwrap_or_default(),
        };
        if roles.allow(role) {
            return Ok(());
        }
        Err(if roles.is_empty() {
            unauthenticated(role, headers)
        } else {
            let message = format!("this needs the role {role}; the caller has: {roles}");
            ApiError::new(ErrorReason::PermissionDenied, message)
        })
    }
}

/// Refuses a program with another protocol version. A call of a client without one, as sent by general gRPC tools, is
/// accepted.
fn check_version(role: Role, headers: &http::HeaderMap) -> Result<(), ApiError> {
    let ours = env!("CARGO_PKG_VERSION");
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match text(PROTOCOL_KEY) {
        Some(stamp) => check_stamp(stamp, text("user-agent").unwrap_or("unknown"), ours),
        None if role == Role::Worker => {
            let message = format!(
                "the worker speaks protocol 4 or older, the coordinator protocol {} (version {ours}): install the same \
                 release on both",
                proto::PROTOCOL_VERSION
            );
            Err(ApiError::new(ErrorReason::VersionMismatch, message))
        }
        None => Ok(()),
    }
}

/// The token of an `authorization` header.
pub(super) fn bearer(value: &http::HeaderValue) -> Option<&str> {
    value.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn unauthenticated(role: Role, headers: &http::HeaderMap) -> ApiError {
    let sent = headers.contains_key(AUTHORIZATION_KEY);
    let message = format!(
        "{} for the role {role}: give --token-file with a token of that role (the coordinator's state folder has one in \
         {}/{role}.token), or a client certificate over https",
        if sent { "the token is not known" } else { "no proof was sent" },
        FOLDER,
    );
    ApiError::new(ErrorReason::Unauthenticated, message)
}

/// Logs refused peers, at most one a second.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<(Option<Instant>, u64)>);

impl RefusalLog {
    /// Logs a refusal unless the last one was logged just before.
    pub(super) fn log(&self, peer: &dyn fmt::Display, reason: &str) {
        if let Some(suppressed) = self.due(Instant::now()) {
            tracing::warn!(%peer, reason, suppressed, "refused a peer");
        }
    }

    /// How many refusals were not logged since the last line; `None`: this one is not, either.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

/// Puts the check before a service.
#[derive(Debug, Clone)]
pub(super) struct AccessLayer(pub(super) Arc<AccessControl>);

impl<S> tower::Layer<S> for AccessLayer {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, access: Arc::clone(&self.0) }
    }
}

/// A service behind the check.
#[derive(Debug, Clone)]
pub(super) struct Checked<S> {
    inner: S,
    access: Arc<AccessControl>,
}

impl<S> tower::Service<http::Request<Body>> for Checked<S>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, std::future::Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (path, peer) = (request.uri().path(), request.extensions().get::<Peer>());
        match self.access.check(path, peer, request.headers()) {
            Ok(()) => {
                // What everyone may do says nothing of a peer.
                if let Some(connection) = peer.and_then(|peer| peer.connection.as_ref())
                    && needed(path).is_some()
                {
                    connection.permitted();
                }
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => {
                let address = peer.map_or("an unknown address", |peer| &peer.address);
                self.access.refused.log(&address, &refusal.message);
                Either::Right(std::future::ready(Ok(Status::from(refusal).into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_a_second_is_logged_with_the_number_of_the_others() {
        let log = RefusalLog::default();
        let now = Instant::now();
        let at = |ms| log.due(now + Duration::from_millis(ms));
        assert_eq!(
            [at(0), at(10), at(999), at(1000), at(1001), at(5000)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
