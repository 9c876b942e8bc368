//! The connections that a listener accepts, within limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tonic::transport::server::Connected;

use super::peers::{PeerConnection, PeerKey, Peers, Refused, Seat};

/// Pause after a failure to accept, such as a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that are read at once from a peer of which nothing is known: room for a handshake or a few calls.
const UNKNOWN_READ: usize = 1024;

/// Shortest time between two warnings about refused connections.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// A transport that tells its peer.
pub(crate) trait FromPeer {
    /// The peer at the other end.
    fn peer(&self) -> PeerKey;
}

impl FromPeer for TcpStream {
    fn peer(&self) -> PeerKey {
        self.peer_addr().map_or(PeerKey::Unknown, |address| PeerKey::of_address(address.ip()))
    }
}

impl FromPeer for UnixStream {
    fn peer(&self) -> PeerKey {
        self.peer_cred().map_or(PeerKey::Unknown, |credentials| PeerKey::User(credentials.uid()))
    }
}

/// The connections of `incoming` within the limits of `peers`. Those beyond a limit are closed, and one that passes a time
/// limit fails when it is read or written. Failures to accept are logged and do not end the stream.
pub(crate) fn limited<S>(
    incoming: impl Stream<Item = io::Result<S>> + Send,
    peers: Arc<Peers>,
) -> impl Stream<Item = io::Result<LimitedStream<S>>> + Send
where
    S: AsyncRead + AsyncWrite + FromPeer + Unpin + Send,
{
    let mut log = RefusalLog::default();
    incoming
        .then(async |accepted| {
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            accepted
        })
        .filter_map(move |accepted| {
            let admitted = match accepted {
                Ok(stream) => match peers.admit(stream.peer()) {
                    Ok(seat) => Some(Ok(LimitedStream::new(stream, seat))),
                    Err(refused) => {
                        log.refused(stream.peer(), refused);
                        None
                    }
                },
                Err(error) => {
                    log.failed(&error);
                    None
                }
            };
            std::future::ready(admitted)
        })
}

/// Warns of refused connections, now and then.
#[derive(Debug, Default)]
struct RefusalLog {
    refused: u64,
    warned: Option<Instant>,
}

impl RefusalLog {
    /// Whether it is time for a warning again.
    fn is_due(&mut self) -> bool {
        let due = self.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL);
        if due {
            self.warned = Some(Instant::now());
        }
        due
    }

    fn refused(&mut self, peer: PeerKey, why: Refused) {
        self.refused += 1;
        if self.is_due() {
            let limit = match why {
                Refused::All => "connections",
                Refused::Peer => "peer_connections",
            };
            tracing::warn!(%peer, limit, refused = self.refused, "closed connections beyond a limit");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if self.is_due() {
            tracing::warn!(%error, "cannot accept a connection");
        }
    }
}

/// A connection within limits.
#[derive(Debug)]
pub(crate) struct LimitedStream<S> {
    // Dropped first: a peer that sees the connection end finds its place free.
    seat: Seat,
    stream: S,
    check: Interval,
    pause: Option<Pin<Box<Sleep>>>,
    /// What was read last is to be looked at before more is read.
    yields: bool,
}

impl<S> LimitedStream<S> {
    fn new(stream: S, seat: Seat) -> Self {
        let limits = seat.connection.limits();
        let shortest = limits.first_request.min(limits.idle).min(limits.unread_response);
        let period = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut check = tokio::time::interval_at(Instant::now() + period, period);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { stream, seat, check, pause: None, yields: false }
    }

    /// The stream itself.
    pub(crate) const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Fails when the connection has passed a time limit; otherwise the task is woken for the next check.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Poll::Ready(now) = self.check.poll_tick(cx) {
            if let Some(why) = self.seat.connection.overdue(now) {
                tracing::debug!(why, "closing a connection");
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        Ok(())
    }

    /// Waits while the peer sends too much overhead.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            let now = Instant::now();
            match self.seat.connection.pause(now) {
                Some(longer) => pause.as_mut().reset(now + longer),
                None => self.pause = None,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> LimitedStream<S> {
    /// Reads a little, and lets HTTP/2 hand over the calls in it before it reads on: it would read all that has arrived
    /// first, and a thousand peers without a right had tens of thousands of calls open before one of them was refused.
    fn poll_read_little(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.pause.is_none()
            && let Some(pause) = self.seat.connection.pause(now)
        {
            self.pause = Some(Box::pin(tokio::time::sleep_until(now + pause)));
        }
        ready!(self.poll_pause(cx));
        let mut bytes = [0; UNKNOWN_READ];
        let mut little =
            ReadBuf::new(bytes.get_mut(..buffer.remaining().min(UNKNOWN_READ)).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut little))?;
        buffer.put_slice(little.filled());
        self.seat.connection.received(now, little.filled().len());
        // A shorter piece was all that had arrived.
        self.yields = little.filled().len() == UNKNOWN_READ;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        if this.seat.connection.is_unknown() {
            return this.poll_read_little(cx, buffer);
        }
        ready!(this.poll_pause(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let now = Instant::now();
        if let Some(pause) = this.seat.connection.received(now, buffer.filled().len() - before) {
            this.pause = Some(Box::pin(tokio::time::sleep_until(now + pause)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.in_time(cx)?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S> Connected for LimitedStream<S> {
    type ConnectInfo = PeerConnection;

    fn connect_info(&self) -> PeerConnection {
        PeerConnection(Arc::clone(&self.seat.connection))
    }
}
