//! Arguments of `coordinator serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::commands::ledger_args::LedgerArgs;

/// Serves workers (`worker serve`) and clients (`coordinator submit`, `status`, `cancel`).
///
/// All durable state lies in --state, but for the ledger where --ledger names a PostgreSQL server: started again with the
/// same arguments, after whatever ended it, it goes on with all unfinished runs. Ctrl-C (or SIGTERM) notifies workers and
/// clients and ends with exit code 130; workers go on with what they have begun and reconnect to the next coordinator. Serves
/// gRPC with the standard health and reflection services.
///
/// Several coordinators may use one --ledger, each with a --state of its own and all with the same --out (a bucket or a shared
/// folder): one is the owner and serves, the others are standbys that listen on no --listen address. When the owner ends, a
/// standby takes over within a second; when it dies or hangs, within 13 s. Workers and clients are given all addresses.
///
/// On a loopback address programs of the same user need nothing more. Others prove a role (worker, operator, viewer) by a
/// token or a client certificate; the tokens of the state folder lie in STATE/access. SIGHUP reloads certificates and
/// tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on, or unix:PATH for a socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub(super) listen: ListenAddress,
    /// Address for metrics (/metrics), health (/healthz) and a status page (/) over HTTP [default: none]
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<SocketAddr>,
    /// Further name by which the HTTP page may be asked for, besides localhost and IP addresses; may be repeated
    #[arg(long, value_name = "NAME", requires = "http")]
    pub(super) http_host: Vec<String>,
    /// Certificate (PEM) of the coordinator: serve TLS 1.3
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Authority (PEM) of client certificates: the role is the URI urn:k8s-auto-fix:role:ROLE among the certificate's
    /// alternative names; without --token-file every client needs one
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) client_ca: Option<PathBuf>,
    /// File of further tokens: a line is a role (worker, operator, viewer) and a token
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
    #[command(flatten)]
    pub(super) ledger: LedgerArgs,
    /// Use a PostgreSQL server that may forget what it acknowledged (fsync off, standbys that lag behind, an older timeline):
    /// a run may lose commits and pay twice
    #[arg(long)]
    pub(super) engine_may_forget: bool,
    /// Folder or object-store URL for the results [default: results in the state folder]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<String>,
    /// File of cached answers of models, shared by all runs [default: answers.sqlite in the state folder; with --ledger they are
    /// in the same server]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "ledger_file"])]
    pub(super) answers: Option<PathBuf>,
    /// Listen on an address that other machines can reach in plain text: who listens in, learns the tokens
    #[arg(long)]
    pub(super) insecure: bool,
    #[cfg(debug_assertions)]
    #[command(flatten)]
    pub(super) crash: crate::commands::crash::CrashArgs,
}

/// Where a coordinator listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => text.parse().map(Self::Tcp).map_err(|_| {
                "expected an IP address with a port such as 127.0.0.1:7070, or unix:PATH".to_owned()
            }),
        }
    }
}

impl Args {
    /// An address as clients name it.
    pub(super) fn place(&self, address: &ListenAddress) -> String {
        match address {
            ListenAddress::Unix(path) => format!("unix:{}", path.display()),
            ListenAddress::Tcp(address) => {
                let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
                format!("{scheme}://{address}")
            }
        }
    }
}
