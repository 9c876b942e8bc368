//! Where connections come from: TCP in plain text or with TLS, Unix sockets, pipes of this process.
//!
//! Each accepted connection carries its [`Peer`]: its address, and the roles that the transport itself proves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::stream::BoxStream;
use futures::{StreamExt as _, future, stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Connected;

use proto::channel::{CoordinatorAddress, local_socket};

use super::access::AccessControl;
use super::connections::{LimitedStream, PeerConnection, Peers, limited};
use super::roles::{Peer, Roles};
use super::tls;
use crate::run::commit::Sender;

/// Time limit of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes at the same time; further connections wait to be accepted.
const HANDSHAKES: usize = 256;

/// Connections of this process that may wait to be accepted.
const PIPES: usize = 16;

/// Age from which a socket without a coordinator is deleted.
const STALE: Duration = Duration::from_secs(600);

/// A byte stream of any transport.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// An accepted connection.
pub(super) struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
}

impl Connection {
    fn new(io: impl Io + 'static, address: impl Into<Arc<str>>, roles: Roles) -> Self {
        let peer = Peer { address: address.into(), roles, sender: Sender::Peer, connection: None };
        Self { io: Box::new(io), peer }
    }

    /// One without a socket: its other end is in this process.
    fn in_process(io: impl Io + 'static) -> Self {
        let mut connection = Self::new(io, "this process", Roles::all());
        connection.peer.sender = Sender::ThisProcess;
        connection
    }

    fn limited_by(mut self, connection: PeerConnection) -> Self {
        self.peer.connection = Some(connection);
        self
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Source of connections.
#[derive(Debug)]
pub enum Listener {
    /// TCP: with TLS where the coordinator has a certificate, otherwise plain text.
    Tcp(TcpListener),
    /// A Unix socket; the file is deleted when the listener is dropped.
    Unix(UnixListener, SocketFile),
    /// Pipes within this process.
    InProcess(mpsc::Receiver<DuplexStream>),
}

/// The file of a socket, deleted when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone; a next coordinator deletes what is left.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Unix(_, SocketFile(path)) => write!(f, "unix:{}", path.display()),
            Self::InProcess(_) => f.write_str("this process"),
        }
    }
}

impl Listener {
    /// A listener that only this process can reach, and its address.
    pub fn in_process() -> (Self, CoordinatorAddress) {
        let (sender, connections) = mpsc::channel(PIPES);
        (Self::InProcess(connections), CoordinatorAddress::in_process(sender))
    }

    /// Listens on a Unix socket, in place of one that an ended process left.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another coordinator listens there"));
        }
        if is_socket(path) {
            std::fs::remove_file(path)?;
        }
        Ok(Self::Unix(UnixListener::bind(path)?, SocketFile(path.to_owned())))
    }

    /// Listens on the socket by which programs of the same user reach the coordinator at `address`: see
    /// [`local_socket`].
    pub fn of_user(address: SocketAddr) -> anyhow::Result<Self> {
        let mut reasons = Vec::new();
        for folder in local_socket::folders() {
            let path = folder.join(local_socket::name(address));
            let listening = local_socket::create_folder(&folder).and_then(|()| {
                delete_stale(&folder);
                Self::unix(&path)
            });
            match listening {
                Ok(listener) => return Ok(listener),
                Err(error) => reasons.push(format!("{}: {error}", path.display())),
            }
        }
        anyhow::bail!(
            "no private socket for programs of this user ({}): set XDG_RUNTIME_DIR to a folder of yours, or listen on \
             unix:PATH",
            if reasons.is_empty() {
                "neither XDG_RUNTIME_DIR nor HOME is set".to_owned()
            } else {
                reasons.join("; ")
            }
        )
    }

    /// The connections that arrive.
    pub(super) fn connections(
        self,
        access: Arc<AccessControl>,
        peers: Arc<Peers>,
    ) -> BoxStream<'static, io::Result<Connection>> {
        match self {
            Self::Tcp(listener) => {
                // The limits count connections before they have proved anything.
                let handshakes = limited(TcpListenerStream::new(listener), peers).map(move |tcp| {
                    let access = Arc::clone(&access);
                    async move { over_tcp(tcp?, &access).await }
                });
                handshakes.buffer_unordered(HANDSHAKES).filter_map(logged).boxed()
            }
            Self::Unix(listener, file) => limited(UnixListenerStream::new(listener), peers)
                .map(move |stream| {
                    // Owned by the stream: deleted with it.
                    let _ = &file;
                    over_unix(stream?)
                })
                .filter_map(logged)
                .boxed(),
            Self::InProcess(pipes) => ReceiverStream::new(pipes)
                .map(|pipe| Ok(Connection::in_process(pipe)))
                .chain(stream::pending())
                .boxed(),
        }
    }
}

/// A connection that failed is logged and ends alone: it must not end the server.
fn logged(connection: io::Result<Connection>) -> future::Ready<Option<io::Result<Connection>>> {
    if let Err(error) = &connection {
        tracing::debug!(%error, "a connection was not accepted");
    }
    future::ready(connection.ok().map(Ok))
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;

    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

/// Deletes old sockets whose coordinators have ended.
fn delete_stale(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let changed = path.symlink_metadata().and_then(|found| found.modified());
        let is_old =
            changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > STALE));
        let refused = || {
            let connected = std::os::unix::net::UnixStream::connect(&path);
            connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_old && is_socket(&path) && refused() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

async fn over_tcp(tcp: LimitedStream<TcpStream>, access: &AccessControl) -> io::Result<Connection> {
    tcp.get_ref().set_nodelay(true)?;
    let address = tcp.get_ref().peer_addr()?;
    let limits = tcp.connect_info();
    let Some(config) = access.tls() else {
        return Ok(Connection::new(tcp, address.to_string(), Roles::default()).limited_by(limits));
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(tcp));
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
    let secured = match handshake.await.map_err(late).flatten() {
        Ok(secured) => secured,
        Err(error) => {
            access.refused.log(&address, &format!("TLS handshake: {error}"));
            return Err(error);
        }
    };
    let certificate = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let roles = certificate.map(tls::roles).unwrap_or_default();
    Ok(Connection::new(secured, address.to_string(), roles).limited_by(limits))
}

/// The same user may do everything; others need a token.
fn over_unix(stream: LimitedStream<UnixStream>) -> io::Result<Connection> {
    let uid = stream.get_ref().peer_cred()?.uid();
    let limits = stream.connect_info();
    let roles = if uid == local_socket::own_uid() { Roles::all() } else { Roles::default() };
    Ok(Connection::new(stream, format!("a local socket, user {uid}"), roles).limited_by(limits))
}
