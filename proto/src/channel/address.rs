//! The addresses of coordinators, parsed and checked together with what proves both ends to each other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;

use super::access::{Access, BadTokenFile, client_token};
use super::local_socket;
use super::settings::MAX_ADDRESSES;
use super::tls::{self, BadTls};

/// Longest part of an address that an error repeats, in characters.
const SHOWN_CHARS: usize = 200;

/// An address of a coordinator that cannot be used, or not like this.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// It is not an address.
    #[error(
        "{0:?} is not a coordinator's address such as http://127.0.0.1:7070, https://host:7070 or unix:/path/to/socket \
         (several: separated by commas, each with its scheme)"
    )]
    Form(String),
    /// There are more addresses than a client tries.
    #[error("{0} addresses of coordinators are given, and at most {MAX_ADDRESSES} can be")]
    TooMany(usize),
    /// Plain text to another machine.
    #[error(
        "{0} is plain text over a network: use https:// with --tls-ca, or add --insecure on a network that you trust"
    )]
    PlainText(String),
    /// https without an authority to check the certificate against.
    #[error("{0} needs --tls-ca FILE: the authority that signed the coordinator's certificate")]
    NoAuthority(String),
    /// TLS options for an address without TLS.
    #[error("{0} has no TLS: --tls-ca, --tls-cert and --tls-key are for https://")]
    NoTls(String),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// The token file cannot be used.
    #[error(transparent)]
    Token(#[from] BadTokenFile),
}

/// How a coordinator is reached.
#[derive(Clone)]
pub(super) enum Route {
    /// Plain text over TCP, which `--insecure` permits.
    Tcp { host: String, port: u16 },
    /// TLS over TCP.
    Tls { host: String, port: u16, name: ServerName<'static>, config: Arc<ClientConfig> },
    /// The first of these Unix sockets that exists. `private`: its folder belongs to this user alone.
    Unix { sockets: Vec<PathBuf>, private: bool },
    /// A pipe within this process.
    InProcess(mpsc::Sender<DuplexStream>),
}

/// A route, and the address that it comes from.
pub(super) struct NamedRoute {
    /// The address, for display.
    pub(super) shown: String,
    pub(super) route: Route,
}

/// One address of a coordinator or several, and the token to send there. Nothing is connected yet.
///
/// Of several coordinators with the same ledger one is active; the others do not listen. Each connection goes to one of them.
#[derive(Clone)]
pub struct CoordinatorAddress {
    shown: String,
    /// Scheme and host of the requests, whichever address they go to: of the first one.
    pub(super) uri: Uri,
    /// At least one.
    pub(super) routes: Arc<[NamedRoute]>,
    /// The value of the `authorization` header.
    pub(super) bearer: Option<MetadataValue<Ascii>>,
    /// The address that was connected to last, for display.
    pub(super) reached: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl CoordinatorAddress {
    /// Parses one address, or several that are separated by commas, and reads the files of `access`.
    ///
    /// - `http://127.0.0.1:PORT` (any loopback address): the socket of a coordinator of the same user, see
    ///   [`local_socket`](super::local_socket). Nothing is sent to the port.
    /// - `unix:PATH`: that socket; the coordinator must be of the same user, or of root.
    /// - `https://HOST:PORT`: TLS 1.3. The certificate must be for the host of its own address.
    /// - `http://` with [`Access::insecure`]: plain text over TCP.
    ///
    /// # Errors
    /// When one of the addresses cannot be used, or a file of `access`.
    pub fn parse(addresses: &str, access: &Access) -> Result<Self, BadAddress> {
        let parts = split(addresses);
        if parts.len() > MAX_ADDRESSES {
            return Err(BadAddress::TooMany(parts.len()));
        }
        let mut first = None;
        let mut routes = Vec::with_capacity(parts.len());
        for part in parts {
            let shown: String = part.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
            let (uri, route) = parse_one(part, &shown, access)?;
            first.get_or_insert(uri);
            routes.push(NamedRoute { shown, route });
        }
        let shown = routes.iter().map(|route| route.shown.as_str()).collect::<Vec<_>>().join(",");
        let has_tls_options = access.tls_ca.is_some() || access.tls_cert.is_some();
        if has_tls_options && !routes.iter().any(|named| matches!(named.route, Route::Tls { .. })) {
            return Err(BadAddress::NoTls(shown));
        }
        let uri = first.unwrap_or_else(no_host);
        Ok(Self { uri, routes: routes.into(), bearer: bearer(access)?, shown, reached: Arc::default() })
    }

    /// The address of a coordinator in this process, whose server takes each connection from the other end of the queue.
    pub fn in_process(connections: mpsc::Sender<DuplexStream>) -> Self {
        let shown = "this process".to_owned();
        let route = NamedRoute { shown: shown.clone(), route: Route::InProcess(connections) };
        Self { shown, uri: no_host(), routes: Arc::new([route]), bearer: None, reached: Arc::default() }
    }

    /// Whether there is another address to go to when a coordinator is away.
    pub fn has_several(&self) -> bool {
        self.routes.len() > 1
    }

    /// Whether requests and the token are sent to one of the addresses in plain text over TCP, to a server that has not
    /// proved who it is.
    pub fn is_plain_text(&self) -> bool {
        self.plain_text().next().is_some()
    }

    /// The addresses that are sent plain text.
    pub(super) fn plain_text(&self) -> impl Iterator<Item = &str> {
        let plain = self.routes.iter().filter(|named| matches!(named.route, Route::Tcp { .. }));
        plain.map(|named| named.shown.as_str())
    }

    /// The address that was connected to last; before the first connection all of them.
    pub fn reached(&self) -> String {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reached.unwrap_or_else(|| self.shown.clone())
    }
}

/// What an address begins with.
const SCHEMES: [&str; 3] = ["http://", "https://", "unix:"];

/// The addresses of a list. A comma separates them where an address follows: the path of a socket may have one.
fn split(addresses: &str) -> Vec<&str> {
    let begins = |(at, _): &(usize, &str)| {
        let rest = addresses.get(at + 1..).unwrap_or_default().trim_start();
        SCHEMES.iter().any(|scheme| rest.starts_with(scheme))
    };
    let (mut found, mut from) = (Vec::new(), 0);
    for (at, _) in addresses.match_indices(',').filter(begins) {
        found.extend(addresses.get(from..at).map(str::trim));
        from = at + 1;
    }
    found.extend(addresses.get(from..).map(|last| if from == 0 { last } else { last.trim() }));
    found
}

fn parse_one(address: &str, shown: &str, access: &Access) -> Result<(Uri, Route), BadAddress> {
    let form = || BadAddress::Form(shown.to_owned());
    if let Some(path) = address.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(form());
        }
        return Ok((no_host(), Route::Unix { sockets: vec![PathBuf::from(path)], private: false }));
    }
    let uri: Uri = address.parse().map_err(|_| form())?;
    let route = over_network(&uri, shown, access)?;
    Ok((uri, route))
}

/// The URI of a transport that needs no host: HTTP/2 wants one nevertheless.
fn no_host() -> Uri {
    Uri::from_static("http://coordinator")
}

fn over_network(uri: &Uri, shown: &str, access: &Access) -> Result<Route, BadAddress> {
    let form = || BadAddress::Form(shown.to_owned());
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(form)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let plain = match uri.scheme_str() {
        Some("http") => true,
        Some("https") => false,
        _ => return Err(form()),
    };
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    // A comma is left where the address after it has no scheme.
    let is_odd = uri.authority().is_some_and(|authority| authority.as_str().contains(['@', ',']));
    if !matches!(path, "" | "/") || is_odd {
        return Err(form());
    }
    let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
    if !plain {
        let ca = access.tls_ca.as_deref().ok_or_else(|| BadAddress::NoAuthority(shown.to_owned()))?;
        let own = access.tls_cert.as_deref().zip(access.tls_key.as_deref());
        let name = ServerName::try_from(host.clone()).map_err(|_| form())?;
        return Ok(Route::Tls { host, port, name, config: tls::client(ca, own)? });
    }
    if access.insecure {
        return Ok(Route::Tcp { host, port });
    }
    let loopback: Vec<IpAddr> = match host.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => vec![address],
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]
        }
        _ => return Err(BadAddress::PlainText(shown.to_owned())),
    };
    let names = loopback.into_iter().map(|ip| local_socket::name(SocketAddr::new(ip, port)));
    let folders = local_socket::folders();
    let sockets = names.flat_map(|name| folders.iter().map(move |folder| folder.join(&name))).collect();
    Ok(Route::Unix { sockets, private: true })
}

fn bearer(access: &Access) -> Result<Option<MetadataValue<Ascii>>, BadAddress> {
    let Some(path) = &access.token_file else { return Ok(None) };
    let token = client_token(path)?;
    // A token is visible ASCII, so it is a valid header value.
    let value = format!("Bearer {}", token.expose()).parse::<MetadataValue<Ascii>>();
    let mut value = value.map_err(|_| BadTokenFile::Empty(path.clone()))?;
    // Kept out of the table of repeated headers, and out of debug output.
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str, access: &Access) -> Result<CoordinatorAddress, String> {
        CoordinatorAddress::parse(address, access).map_err(|error| error.to_string())
    }

    #[test]
    fn a_loopback_address_is_a_socket_of_the_same_user() {
        for address in
            ["http://127.0.0.1:7070", "http://[::1]:7070", "http://localhost:7070/", "http://127.9.9.9:1"]
        {
            let parsed = parse(address, &Access::default()).unwrap();
            let [named] = &*parsed.routes else { panic!("{address}") };
            assert!(matches!(named.route, Route::Unix { private: true, .. }), "{address}");
            assert!(!parsed.is_plain_text());
        }
        let plain = parse("http://127.0.0.1:7070", &Access { insecure: true, ..Access::default() }).unwrap();
        assert!(plain.is_plain_text());
    }

    #[test]
    fn what_is_unsafe_or_not_an_address_is_refused_with_a_remedy() {
        let none = Access::default();
        for (address, needed) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("ftp://127.0.0.1:7070", "is not a coordinator's address"),
            ("http://a b", "is not a coordinator's address"),
            ("http://user:pw@127.0.0.1:7070", "is not a coordinator's address"),
            ("http://127.0.0.1:7070/path", "is not a coordinator's address"),
            ("unix:", "is not a coordinator's address"),
            ("", "is not a coordinator's address"),
            ("http://10.0.0.1:7070", "--insecure"),
            ("http://127.0.0.1.example.org:7070", "--insecure"),
            ("https://10.0.0.1:7070", "--tls-ca"),
        ] {
            let error = parse(address, &none).unwrap_err();
            assert!(error.contains(needed), "{address}: {error}");
        }
        let tls = Access { tls_ca: Some("ca.pem".into()), ..Access::default() };
        assert!(parse("unix:/x", &tls).unwrap_err().contains("for https://"));
        assert!(parse("https://h:1", &tls).unwrap_err().contains("ca.pem"));
    }

    #[test]
    fn several_addresses_are_separated_by_commas_and_each_is_checked() {
        let parsed = parse("http://127.0.0.1:1, unix:/run/a,b.sock,unix:/c", &Access::default()).unwrap();
        let shown: Vec<&str> = parsed.routes.iter().map(|named| named.shown.as_str()).collect();
        assert_eq!(shown, ["http://127.0.0.1:1", "unix:/run/a,b.sock", "unix:/c"]);
        assert_eq!(parsed.to_string(), "http://127.0.0.1:1,unix:/run/a,b.sock,unix:/c");
        assert_eq!(parsed.reached(), parsed.to_string(), "nothing is connected");
        assert!(parsed.has_several() && !parsed.is_plain_text());

        let insecure = Access { insecure: true, ..Access::default() };
        let mixed = parse("unix:/a,http://10.0.0.1:1,http://10.0.0.2:1", &insecure).unwrap();
        assert_eq!(mixed.plain_text().collect::<Vec<_>>(), ["http://10.0.0.1:1", "http://10.0.0.2:1"]);
        let many = vec!["unix:/a"; MAX_ADDRESSES + 1].join(",");
        for (addresses, needed) in [
            ("http://127.0.0.1:1,http://10.0.0.1:7070", "http://10.0.0.1:7070 is plain text"),
            ("unix:/a,https://h:1", "https://h:1 needs --tls-ca"),
            ("http://127.0.0.1:1,127.0.0.1:2", "each with its scheme"),
            ("http://127.0.0.1:1,", "is not a coordinator's address"),
            (&many, "17 addresses"),
        ] {
            let error = parse(addresses, &Access::default()).unwrap_err();
            assert!(error.contains(needed), "{addresses}: {error}");
        }
    }

    #[test]
    fn the_token_is_sent_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "viewer 0123456789abcdef\n").unwrap();
        let access = Access { token_file: Some(file), ..Access::default() };
        let parsed = parse("unix:/x", &access).unwrap();
        let bearer = parsed.bearer.clone().unwrap();
        assert_eq!(bearer.to_str().unwrap(), "Bearer 0123456789abcdef");
        assert!(!format!("{bearer:?} {parsed:?} {parsed}").contains("0123456789"));
    }
}
