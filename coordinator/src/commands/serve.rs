//! `coordinator serve`: serves runs to workers and clients on other machines.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::{Exit, descriptors, output};
use results::store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::ledger_args::LedgerArgs;
use super::{block_on, open_results};
use crate::ledger::state_folder::{ENGINE_FILE, LEDGER_FILE, StateFolder};
use crate::ledger::{Ledger, PostgresLedger};
use crate::llm_gateway::response_cache::{ANSWERS_FILE, ResponseCache};
use crate::postgres::{Engine, Trust};
use crate::run::{Coordinator, Parts, Recovery};
use crate::server::access::{AccessControl, Credentials};
use crate::server::connections::Limits;
use crate::server::http::{self, PageAccess};
use crate::server::identity::LeaseSecrets;
use crate::server::listen::Listener;
use crate::server::roles::Role;
use crate::server::tls::TlsFiles;
use crate::server::{self, Endpoints, tokens};

/// Connections with which a coordinator is of use.
const FEWEST_CONNECTIONS: u64 = 16;

/// Serves workers (`worker serve`) and clients (`coordinator submit`, `status`, `cancel`).
///
/// All durable state lies in --state, but for the ledger where --ledger names a PostgreSQL server: started again with the
/// same arguments, after whatever ended it, it goes on with all unfinished runs. Ctrl-C (or SIGTERM) notifies workers and clients and ends with exit code 130; workers go on with what
/// they have begun and reconnect to the next coordinator on the same address. Serves gRPC with the standard health and
/// reflection services.
///
/// On a loopback address programs of the same user need nothing more. Others prove a role (worker, operator, viewer) by a
/// token or a client certificate; the tokens of the state folder lie in STATE/access. SIGHUP reloads certificates and
/// tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on, or unix:PATH for a socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    listen: ListenAddress,
    /// Address for metrics (/metrics), health (/healthz) and a status page (/) over HTTP [default: none]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Further name by which the HTTP page may be asked for, besides localhost and IP addresses; may be repeated
    #[arg(long, value_name = "NAME", requires = "http")]
    http_host: Vec<String>,
    /// Certificate (PEM) of the coordinator: serve TLS 1.3
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authority (PEM) of client certificates: the role is the URI urn:k8s-auto-fix:role:ROLE among the certificate's
    /// alternative names; without --token-file every client needs one
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// File of further tokens: a line is a role (worker, operator, viewer) and a token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Use a PostgreSQL server that may forget what it acknowledged (fsync off, standbys that lag behind, an older timeline):
    /// a run may lose commits and pay twice
    #[arg(long)]
    engine_may_forget: bool,
    /// Folder or object-store URL for the results [default: results in the state folder]
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// File of cached answers of models, shared by all runs [default: answers.sqlite in the state folder]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Listen on an address that other machines can reach in plain text: who listens in, learns the tokens
    #[arg(long)]
    insecure: bool,
    #[cfg(debug_assertions)]
    #[command(flatten)]
    crash: super::crash::CrashArgs,
}

/// Where a coordinator listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ListenAddress {
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

/// Serves until it is interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    #[cfg(debug_assertions)]
    args.crash.arm();
    check_plain_text(args)?;
    block_on(serve(args))
}

/// Refuses plain text beyond this machine, or warns where it is wanted.
fn check_plain_text(args: &Args) -> anyhow::Result<()> {
    let ListenAddress::Tcp(address) = &args.listen else { return Ok(()) };
    if address.ip().is_loopback() || args.tls_cert.is_some() {
        return Ok(());
    }
    if args.insecure {
        output::say(&format!(
            "warning: {address} takes plain text from other machines (--insecure): who listens in, learns the tokens"
        ));
        return Ok(());
    }
    let refused: anyhow::Result<()> = Err(anyhow::anyhow!(
        "{address} can be reached from other machines, and without a certificate the protocol is plain text"
    ));
    refused.hint(
        "listen on 127.0.0.1, or give --tls-cert and --tls-key (scripts/certs makes some for a trial), or add --insecure \
         on a network that you trust",
    )
}

/// Where the coordinator listens, opened.
struct Opened {
    endpoints: Endpoints,
    shown: String,
}

impl Opened {
    async fn open(args: &Args, state: &StateFolder) -> anyhow::Result<Self> {
        let own_tokens = tokens::create(&args.state)?;
        let files = args.tls_cert.clone().zip(args.tls_key.clone());
        let tls = files.map(|(cert, key)| TlsFiles { cert, key, client_ca: args.client_ca.clone() });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let credentials = Credentials { own_tokens, token_file: args.token_file.clone(), tls };
        let access = Arc::new(AccessControl::new(credentials)?);
        let leases = LeaseSecrets::of_state(&state.join(""))?;
        let (listeners, shown) = match &args.listen {
            ListenAddress::Unix(path) => {
                let listener = Listener::unix(path)
                    .with_context(|| format!("cannot listen on unix:{}", path.display()))?;
                (vec![listener], format!("unix:{}", path.display()))
            }
            ListenAddress::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address}"))?;
                let address = listener.local_addr()?;
                let listeners = std::iter::once(Listener::Tcp(listener)).chain(of_user(address));
                (listeners.collect(), format!("{scheme}://{address}"))
            }
        };
        Ok(Self { endpoints: Endpoints { listeners, access, leases }, shown })
    }
}

/// The socket for programs of this user, where they can reach `address` by a loopback address.
fn of_user(address: SocketAddr) -> Option<Listener> {
    let ip = match address.ip() {
        ip if ip.is_loopback() => ip,
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => return None,
    };
    match Listener::of_user(SocketAddr::new(ip, address.port())) {
        Ok(listener) => Some(listener),
        Err(error) => {
            output::say(&format!("warning: {error:#}"));
            None
        }
    }
}

/// Reads certificates and tokens again at each SIGHUP; without a valid new file the old ones stay.
async fn reload_on_hangup(access: Arc<AccessControl>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        match access.reload() {
            Ok(()) => output::say("certificates and tokens were reloaded"),
            Err(error) => output::say(&format!("certificates and tokens stay as they were: {error:#}")),
        }
    }
}

/// Says where the page is. The link that makes a browser a viewer is printed on a terminal alone: it must not be kept in
/// a log.
fn announce(address: SocketAddr, page: &PageAccess, state: &std::path::Path) -> anyhow::Result<()> {
    output::say(&format!("status page on http://{address}"));
    if std::io::stderr().is_terminal() {
        output::say(&format!("open it once by http://{address}{}", page.one_time_link()?));
    } else {
        let token = tokens::path(state, Role::Viewer);
        output::say(&format!("it needs the token in {}", token.display()));
    }
    Ok(())
}

/// Opens the ledger: a file in the state folder, or in the PostgreSQL server that the arguments name. A state folder belongs
/// to one of the two.
async fn open_ledger(args: &Args, state: &StateFolder) -> anyhow::Result<Arc<dyn Ledger>> {
    let (file, record) = (state.join(LEDGER_FILE), state.join(ENGINE_FILE));
    let Some(address) = args.ledger.address()? else {
        if record.exists() {
            let refused: anyhow::Result<_> =
                Err(anyhow::anyhow!("the ledger of {} is in a PostgreSQL server", args.state.display()));
            return refused.hint("name the server (--ledger or --ledger-file), or use another state folder");
        }
        return Ok(Arc::new(state.ledger()?));
    };
    if file.exists() {
        let refused: anyhow::Result<_> =
            Err(anyhow::anyhow!("{} has a ledger of its own in {LEDGER_FILE}", args.state.display()));
        return refused.hint("use another state folder with --ledger");
    }
    let trust = Trust::open(&record, args.engine_may_forget)
        .with_context(|| format!("cannot read {}: delete it if it is damaged", record.display()))?;
    output::say(&format!("the ledger is in {address}"));
    let engine = Engine::new(address, trust);
    Ok(Arc::new(PostgresLedger::open(Arc::new(engine)).await?))
}

async fn serve(args: &Args) -> anyhow::Result<Exit> {
    let limits = Limits::within(descriptors::ensure(descriptors::FILES + FEWEST_CONNECTIONS)?);
    let mut interrupts = Interrupts::listen()?;
    let page_listener = match args.http {
        None => None,
        Some(address) => Some(cli_support::http::listen(address, args.insecure).await?),
    };
    let state = StateFolder::open(&args.state)?;
    let results = state.join("results");
    let store = match &args.out {
        Some(out) => open_results(out).await?,
        None => Store::local(&results)?,
    };
    let place = store.location().to_owned();
    let scratch = state.join("");
    let answers = args.answers.clone().unwrap_or_else(|| state.join(ANSWERS_FILE));
    let answers = Arc::new(ResponseCache::open(&answers)?);
    let coordinator = Coordinator::open(Parts {
        ledger: open_ledger(args, &state).await?,
        store,
        scratch,
        recovery: Recovery::Grace,
    })
    .await?;
    let Opened { endpoints, shown } = Opened::open(args, &state).await?;
    let access = Arc::clone(&endpoints.access);
    let reloading = tokio::spawn(reload_on_hangup(Arc::clone(&access)));
    output::say(&format!("serving {shown}, results in {place}; Ctrl-C ends it"));
    let page_access = Arc::new(PageAccess::new(access, args.http_host.clone())?);
    if let Some(listener) = &page_listener {
        announce(listener.local_addr()?, &page_access, &args.state)?;
    }
    let (quiet, mut page) = watch::channel(());
    let page = page_listener.map(|listener| {
        let router = http::router(&coordinator, page_access);
        tokio::spawn(cli_support::http::serve(listener, router, async move {
            // Nothing is sent on it: it ends when the sender is dropped.
            let _ = page.changed().await;
        }))
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server::run_with(endpoints, coordinator, answers, limits, async move {
        // A dropped sender is a stop request, too.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => ended?,
        () = interrupts.next() => {
            output::say("notifying workers and clients; Ctrl-C again stops at once");
            drop(stop);
            tokio::select! {
                ended = serving => ended?,
                () = interrupts.next() => {}
            }
        }
    }
    drop(quiet);
    reloading.abort();
    if let Some(page) = page {
        page.await?;
    }
    Err(Interrupted).hint("started again with the same --state it goes on where it stopped")
}
