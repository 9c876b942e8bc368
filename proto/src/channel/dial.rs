//! Connects to a coordinator over the routes of its addresses, one after the other.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::address::{CoordinatorAddress, NamedRoute, Route};
use super::greeting::greet;
use super::local_socket;
use super::settings::{
    CLIENT_CONNECTION_WINDOW_BYTES, CLIENT_STREAM_WINDOW_BYTES, CONNECT_TIMEOUT, FAILOVER_CONNECT_TIMEOUT,
    FAILOVER_KEEPALIVE, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_ADDRESSES, PIPE_BYTES,
};
use super::stamp::Stamp;
use super::unreachable::{Cause, Tried, Unreachable};

/// A byte stream of any transport.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A channel to a coordinator that adds protocol version and token to each call; cheap to clone.
pub type Connection = InterceptedService<Channel, Stamp>;

/// A connection to a coordinator at one of the addresses; it connects at the first call, and again after it broke.
///
/// Of several addresses it begins with the first, and after a connection broke with the one behind it. It fails with an
/// [`Unreachable`] when it has tried each of them once. The requests carry the host of the first address, whichever they
/// are sent to.
pub fn connect(address: &CoordinatorAddress) -> Connection {
    let (interval, limit) = if address.has_several() {
        (FAILOVER_KEEPALIVE, FAILOVER_KEEPALIVE)
    } else {
        (KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)
    };
    let endpoint = Endpoint::from(address.uri.clone())
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(limit)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES);
    let dialer = Arc::new(Dialer::new(address));
    let connector = tower::service_fn(move |_| {
        let dialer = Arc::clone(&dialer);
        async move { dialer.open().await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector_lazy(connector);
    InterceptedService::new(channel, Stamp { bearer: address.bearer.clone() })
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Position of the route.
    route: usize,
    /// Address of a TCP connection.
    socket: Option<SocketAddr>,
}

/// Opens the connections of a channel, and remembers where the last one went.
struct Dialer {
    routes: Arc<[NamedRoute]>,
    last: Mutex<Option<Target>>,
    reached: Arc<Mutex<Option<String>>>,
}

impl Dialer {
    fn new(address: &CoordinatorAddress) -> Self {
        Self {
            routes: Arc::clone(&address.routes),
            last: Mutex::default(),
            reached: Arc::clone(&address.reached),
        }
    }

    /// Tries each address once, the one of the last connection at the end.
    async fn open(&self) -> Result<Box<dyn Io>, Unreachable> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let begin = last.as_ref().map_or(0, |last| last.route);
        let (mut tried, mut at_end) = (Vec::new(), None);
        for (route, named) in self.routes.iter().enumerate().cycle().skip(begin).take(self.routes.len()) {
            let sockets = match self.resolve(&named.route).await {
                Ok(sockets) => sockets,
                Err(cause) => {
                    tried.push(Tried { route, address: named.shown.clone(), cause });
                    continue;
                }
            };
            let others = self.routes.len() > 1 || sockets.len() > 1;
            let limit = if others { FAILOVER_CONNECT_TIMEOUT } else { CONNECT_TIMEOUT };
            let shown = |socket: Option<SocketAddr>| match socket {
                Some(socket) if sockets.len() > 1 => format!("{} at {socket}", named.shown),
                _ => named.shown.clone(),
            };
            let targets = sockets.iter().map(|socket| Target { route, socket: *socket });
            let (targets, used) = behind(targets.collect(), last.as_ref());
            for target in targets {
                match self.try_one(named, &target, limit).await {
                    Ok(stream) => return Ok(stream),
                    Err(cause) => tried.push(Tried { route, address: shown(target.socket), cause }),
                }
            }
            if let Some(target) = used {
                at_end = Some((named, shown(target.socket), target, limit));
            }
        }
        if let Some((named, address, target, limit)) = at_end {
            match self.try_one(named, &target, limit).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => tried.push(Tried { route: target.route, address, cause }),
            }
        }
        Err(Unreachable::new(tried))
    }

    /// The addresses of a route over TCP; of another one `None`, once.
    async fn resolve(&self, route: &Route) -> Result<Vec<Option<SocketAddr>>, Cause> {
        let (Route::Tcp { host, port } | Route::Tls { host, port, .. }) = route else {
            return Ok(vec![None]);
        };
        let limit = if self.routes.len() > 1 { FAILOVER_CONNECT_TIMEOUT } else { CONNECT_TIMEOUT };
        let found = timeout(limit, lookup_host((host.as_str(), *port))).await;
        let found =
            found.map_err(|_| Cause::UnknownName(format!("no answer within {} s", limit.as_secs())))?;
        let found = found.map_err(|error| Cause::UnknownName(error.to_string()))?;
        let found: Vec<_> = found.take(MAX_ADDRESSES).map(Some).collect();
        if found.is_empty() { Err(Cause::UnknownName("it has no address".to_owned())) } else { Ok(found) }
    }

    async fn try_one(
        &self,
        named: &NamedRoute,
        target: &Target,
        limit: Duration,
    ) -> Result<Box<dyn Io>, Cause> {
        let stream = timeout(limit, open(&named.route, target.socket)).await;
        let stream = stream.map_err(|_| Cause::NoAnswer(limit))??;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(named.shown.clone());
        Ok(stream)
    }
}

/// The targets behind the last one and then those before it, and the last one apart, if it is among them.
fn behind(mut targets: Vec<Target>, last: Option<&Target>) -> (Vec<Target>, Option<Target>) {
    let Some(at) = targets.iter().position(|target| Some(target) == last) else { return (targets, None) };
    let used = targets.remove(at);
    targets.rotate_left(at);
    (targets, Some(used))
}

/// Connects, and waits until the coordinator answers.
async fn open(route: &Route, socket: Option<SocketAddr>) -> Result<Box<dyn Io>, Cause> {
    let of = |error: io::Error| Cause::of(&error);
    Ok(match route {
        Route::Tcp { .. } => Box::new(greet(tcp(socket).await.map_err(of)?).await?),
        Route::Tls { name, config, .. } => {
            let stream = tcp(socket).await.map_err(of)?;
            let connector = TlsConnector::from(Arc::clone(config));
            Box::new(greet(connector.connect(name.clone(), stream).await.map_err(of)?).await?)
        }
        Route::Unix { sockets, private } => {
            Box::new(greet(unix(sockets, *private).await.map_err(of)?).await?)
        }
        Route::InProcess(connections) => {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let ended = |_| Cause::NothingListens("the coordinator has ended".to_owned());
            connections.send(far).await.map_err(ended)?;
            Box::new(near)
        }
    })
}

async fn tcp(socket: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = socket.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect(socket).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to the first socket that exists, if the process behind it is of this user, or of root.
async fn unix(sockets: &[PathBuf], private: bool) -> io::Result<UnixStream> {
    let socket = sockets.iter().find(|socket| socket.symlink_metadata().is_ok()).ok_or_else(|| {
        let tried: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
        let who = if private {
            "no coordinator of this user listens on that address of this machine; for one of another user use https:// or \
             unix:PATH (see --help)"
        } else {
            "there is no such socket"
        };
        io::Error::new(io::ErrorKind::NotFound, format!("{who}; looked for {}", tried.join(", ")))
    })?;
    if private && let Some(folder) = socket.parent() {
        local_socket::check_folder(folder)?;
    }
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot connect to {}: {error}", socket.display()))
    })?;
    let owner = stream.peer_cred()?.uid();
    if owner != local_socket::own_uid() && owner != 0 {
        let message = format!("the process behind {} is of user {owner}, not of this one", socket.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::channel::Access;

    fn parse(addresses: &[&str]) -> CoordinatorAddress {
        let access = Access { insecure: true, ..Access::default() };
        CoordinatorAddress::parse(&addresses.join(","), &access).unwrap()
    }

    /// A listener, and its address.
    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// A server that begins HTTP/2 on each connection.
    async fn server() -> String {
        let (listener, url) = listener().await;
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                kept.push(stream);
            }
        });
        url
    }

    /// An address where nothing listens.
    async fn nothing() -> String {
        listener().await.1
    }

    #[tokio::test]
    async fn a_loopback_address_sends_nothing_to_its_port() {
        let (listener, url) = listener().await;
        let address = CoordinatorAddress::parse(&url, &Access::default()).unwrap();
        let mut client = crate::channel::fleet_client(connect(&address));
        let refused = client.join(crate::v1::JoinRequest::default()).await.unwrap_err();
        assert!(refused.message().contains("no coordinator of this user"), "{refused}");
        let nobody = timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(nobody.is_err(), "the port was connected to");
    }

    #[tokio::test]
    async fn each_connection_begins_behind_the_last_one() {
        let (first, second, away) = (server().await, server().await, nothing().await);
        let address = parse(&[&away, &first, &second]);
        let dialer = Dialer::new(&address);
        for expected in [&first, &second, &first, &second] {
            dialer.open().await.unwrap();
            assert_eq!(&address.reached(), expected);
        }
    }

    #[tokio::test]
    async fn an_address_that_accepts_and_never_answers_is_left_within_its_time_limit() {
        let ((_kept, frozen), alive) = (listener().await, server().await);
        let address = parse(&[&frozen, &alive]);
        let begun = tokio::time::Instant::now();
        Dialer::new(&address).open().await.unwrap();
        assert_eq!(address.reached(), alive);
        assert!(begun.elapsed() >= FAILOVER_CONNECT_TIMEOUT);
        // The only address has longer.
        let failed = Dialer::new(&parse(&[&frozen])).open().await.err().unwrap();
        assert_eq!(failed.only_cause(), Some(&Cause::NoAnswer(CONNECT_TIMEOUT)));
    }

    #[tokio::test]
    async fn the_failure_names_each_address_with_its_own_reason() {
        let ((_kept, frozen), away) = (listener().await, nothing().await);
        let mut client = crate::channel::fleet_client(connect(&parse(&[&frozen, &away])));
        let status = client.join(crate::v1::JoinRequest::default()).await.unwrap_err();
        let failed = Unreachable::of(&status).unwrap();
        assert!(!failed.is_final());
        let text = failed.to_string();
        let needed = format!("{frozen} (no answer within 2 s), {away} (Connection refused");
        assert!(text.contains(&needed), "{text}");
        assert_eq!(status.message(), text);
    }

    #[test]
    fn the_addresses_of_a_name_are_taken_in_turn() {
        let target = |port: u16| Target { route: 0, socket: Some(([127, 0, 0, 1], port).into()) };
        let all = || (1..=4).map(target).collect::<Vec<_>>();
        assert_eq!(behind(all(), None), (all(), None));
        assert_eq!(behind(all(), Some(&target(9))), (all(), None));
        let order = |ports: [u16; 3]| ports.map(target).to_vec();
        assert_eq!(behind(all(), Some(&target(2))), (order([3, 4, 1]), Some(target(2))));
        assert_eq!(behind(all(), Some(&target(4))), (order([1, 2, 3]), Some(target(4))));
    }
}
