//! Why there is no server, or no answer of it.

use std::path::PathBuf;

use crate::control_plane::StartError;

/// No server could be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be used.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// The file that was named.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Nothing in the environment names a server.
    #[error(
        "no server is configured: neither KUBECONFIG or ~/.kube/config ({kubeconfig}), nor a service account of a pod \
         ({in_cluster})"
    )]
    Environment {
        /// Why the kubeconfig cannot be used.
        kubeconfig: Box<kube::config::KubeconfigError>,
        /// Why this is not a pod that may ask its cluster.
        in_cluster: Box<kube::config::InClusterError>,
    },
    /// The configuration does not make a client: a certificate, a proxy.
    #[error("the configuration of {server} cannot be used")]
    Client {
        /// URL of the server.
        server: String,
        /// What is wrong with it.
        #[source]
        source: Box<kube::Error>,
    },
    /// The throw-away control plane did not start.
    #[error("no control plane")]
    ControlPlane(#[from] StartError),
    /// The server does not answer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The server does not know the parameters that make a request a question.
    #[error(
        "{server} is Kubernetes {version}; it must be 1.27 or newer, so that `dryRun` and `fieldValidation` are understood"
    )]
    TooOld {
        /// URL of the server.
        server: String,
        /// What it says of itself.
        version: String,
    },
}

/// The server gave no answer that is a verdict. Says nothing about the document: ask again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No connection, or it broke.
    #[error("{server} cannot be reached ({attempts} attempts): {why}")]
    Connection {
        /// URL of the server.
        server: String,
        /// How often it was tried.
        attempts: u32,
        /// Of the last attempt.
        why: String,
    },
    /// No answer in time.
    #[error("{server} did not answer within {seconds} s ({attempts} attempts)")]
    Timeout {
        /// URL of the server.
        server: String,
        /// How often it was tried.
        attempts: u32,
        /// Of one attempt.
        seconds: u64,
    },
    /// It answers that it cannot serve now.
    #[error("{server} is overloaded or failing: HTTP {code} ({attempts} attempts): {message}")]
    Busy {
        /// URL of the server.
        server: String,
        /// How often it was tried.
        attempts: u32,
        /// HTTP status of the last answer.
        code: u16,
        /// Its words.
        message: String,
    },
    /// The credentials are refused.
    #[error("{server} refuses the credentials: {message}")]
    Credentials {
        /// URL of the server.
        server: String,
        /// Its words.
        message: String,
    },
    /// What answered is not a Kubernetes API server, or not only that: a redirect, a page, garbage, too many bytes.
    #[error("{server} did not answer as an API server does: {what}")]
    NotAnApiServer {
        /// URL of the server.
        server: String,
        /// What it answered instead.
        what: String,
    },
    /// The throw-away control plane ended, and cannot be started again.
    #[error("the control plane ended: {why}")]
    Ended {
        /// What is known of it.
        why: String,
    },
}

/// A server could not be prepared for a corpus.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The server does not answer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// One of our own fixtures is refused.
    #[error("the fixture {name} is refused: {message}")]
    Fixture {
        /// Kind and name of the object.
        name: String,
        /// The server's words.
        message: String,
    },
    /// Definitions were taken, but their kinds are not served.
    #[error("{count} custom resource definitions are not served after {seconds} s, the first is {first}")]
    NotServed {
        /// How many.
        count: usize,
        /// Name of the first.
        first: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The corpus has more definitions than the limit.
    #[error("more than {limit} custom resource definitions; raise the limit, or prepare fewer documents")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}
