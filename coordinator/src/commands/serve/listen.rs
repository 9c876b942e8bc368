//! Where a coordinator listens, and how its peers prove who they are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use cli_support::failure::WithHint as _;
use cli_support::output;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Args, ListenAddress};
use crate::server::access::{AccessControl, Credentials};
use crate::server::listen::Listener;
use crate::server::tls::TlsFiles;
use crate::server::tokens;

/// Refuses plain text beyond this machine, or warns where it is wanted.
pub(super) fn check_plain_text(args: &Args) -> anyhow::Result<()> {
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

/// Reads certificates and tokens again at each SIGHUP; without a valid new file the old ones stay.
pub(super) async fn reload_on_hangup(access: Arc<AccessControl>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        match access.reload() {
            Ok(()) => output::say("certificates and tokens were reloaded"),
            Err(error) => output::say(&format!("certificates and tokens stay as they were: {error:#}")),
        }
    }
}

/// Who may do what, by the files that the arguments name and the tokens of the state folder.
pub(super) fn access_control(args: &Args) -> anyhow::Result<Arc<AccessControl>> {
    let own_tokens = tokens::create(&args.state)?;
    let files = args.tls_cert.clone().zip(args.tls_key.clone());
    let tls = files.map(|(cert, key)| TlsFiles { cert, key, client_ca: args.client_ca.clone() });
    let credentials = Credentials { own_tokens, token_file: args.token_file.clone(), tls };
    Ok(Arc::new(AccessControl::new(credentials)?))
}

/// Listens on the address of the arguments; returns it as clients name it, with the port that was found.
pub(super) async fn listen(args: &Args) -> anyhow::Result<(Vec<Listener>, String)> {
    Ok(match &args.listen {
        ListenAddress::Unix(path) => {
            let listener =
                Listener::unix(path).with_context(|| format!("cannot listen on unix:{}", path.display()))?;
            (vec![listener], args.place(&args.listen))
        }
        ListenAddress::Tcp(address) => {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let address = listener.local_addr()?;
            let listeners = std::iter::once(Listener::Tcp(listener)).chain(of_user(address));
            (listeners.collect(), args.place(&ListenAddress::Tcp(address)))
        }
    })
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
