//! Connects to a coordinator over the route of its address.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::address::{CoordinatorAddress, Route};
use super::local_socket;
use super::settings::{
    CLIENT_CONNECTION_WINDOW_BYTES, CLIENT_STREAM_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    PIPE_BYTES,
};
use super::stamp::Stamp;

/// Time limit of connecting, the TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A byte stream of any transport.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A channel to a coordinator that adds protocol version and token to each call; cheap to clone.
pub type Connection = InterceptedService<Channel, Stamp>;

/// A connection to the coordinator at `address`; it connects at the first call, and again after it broke.
pub fn connect(address: &CoordinatorAddress) -> Connection {
    let endpoint = Endpoint::from(address.uri.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES);
    let route = address.route.clone();
    let connector = tower::service_fn(move |_| {
        let route = route.clone();
        async move { open(&route).await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector_lazy(connector);
    InterceptedService::new(channel, Stamp { bearer: address.bearer.clone() })
}

async fn open(route: &Route) -> io::Result<Box<dyn Io>> {
    Ok(match route {
        Route::Tcp { host, port } => Box::new(tcp(host, *port).await?),
        Route::Tls { host, port, name, config } => {
            let connector = TlsConnector::from(config.clone());
            Box::new(connector.connect(name.clone(), tcp(host, *port).await?).await?)
        }
        Route::Unix { sockets, private } => Box::new(unix(sockets, *private).await?),
        Route::InProcess(connections) => {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let ended = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the coordinator has ended");
            connections.send(far).await.map_err(ended)?;
            Box::new(near)
        }
    })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
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
    use super::*;
    use crate::channel::Access;

    #[tokio::test]
    async fn a_loopback_address_sends_nothing_to_its_port() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = CoordinatorAddress::parse(&url, &Access::default()).unwrap();
        let mut client = crate::channel::fleet_client(connect(&address));
        let refused = client.join(crate::v1::JoinRequest::default()).await.unwrap_err();
        assert!(refused.message().contains("no coordinator of this user"), "{refused}");
        let nobody = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(nobody.is_err(), "the port was connected to");
    }
}
