//! Limits of requests: a layer around all services.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proto::status::{ApiError, ErrorReason};
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::{Code, Status};
use tower::Layer;

use super::framing::{Framing, TooLong};
use super::limits::{SMALL_MESSAGE, largest_message};
use super::peers::{OpenRequest, PeerConnection, Reservation};
use crate::server::roles;

/// The layer. Requests without a [`PeerConnection`] pass as they are: their transport is not limited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitRequests;

impl<S> Layer<S> for LimitRequests {
    type Service = LimitedService<S>;

    fn layer(&self, inner: S) -> LimitedService<S> {
        LimitedService { inner }
    }
}

/// A service whose requests are limited.
#[derive(Debug, Clone)]
pub(crate) struct LimitedService<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for LimitedService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(connection) = roles::connection(request.extensions()).cloned() else {
            return Box::pin(self.inner.call(request));
        };
        let open = match connection.0.begin_request() {
            Ok(open) => open,
            Err(refusal) => return Box::pin(std::future::ready(Ok(Status::from(refusal).into_http()))),
        };
        let largest = largest_message(request.uri().path());
        let caller = Arc::clone(&connection.0);
        let request = request.map(|body| Body::new(RequestBody::new(body, connection, largest)));
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            if lacks_a_right(&response) {
                caller.refused(Instant::now());
            }
            Ok(response.map(|body| Body::new(ResponseBody::new(body, open))))
        })
    }
}

/// Whether a call was refused because of who made it.
fn lacks_a_right(response: &http::Response<Body>) -> bool {
    let status = Status::from_header_map(response.headers());
    status.is_some_and(|status| matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied))
}

/// What stands between a piece of a message and its receiver: a wait for memory, or for the rate of messages.
type Admission = Pin<Box<dyn Future<Output = Result<Option<Reservation>, ApiError>> + Send>>;

/// The body of a request. Its messages arrive within the limits of their size, time, memory and rate.
struct RequestBody {
    inner: Body,
    connection: PeerConnection,
    /// Bytes of the largest message.
    largest: usize,
    framing: Framing,
    /// Memory of the message that is arriving.
    memory: Option<Reservation>,
    admission: Option<(Admission, Bytes)>,
    patience: Patience,
    /// Whether its bytes are being waited for.
    is_polled: bool,
}

impl RequestBody {
    fn new(inner: Body, connection: PeerConnection, largest: usize) -> Self {
        let patience = Patience::new(connection.0.limits().message);
        let framing = Framing::default();
        connection.0.polled(false);
        Self {
            inner,
            connection,
            largest,
            framing,
            memory: None,
            admission: None,
            patience,
            is_polled: false,
        }
    }

    fn note_polled(&mut self, is_polled: bool) {
        if self.is_polled != is_polled {
            self.is_polled = is_polled;
            self.connection.0.polled(is_polled);
        }
    }

    /// Follows the messages in `data`; returns what the bytes from a position on have to wait for.
    fn advance(&mut self, data: &Bytes) -> Result<Option<(Admission, usize)>, ApiError> {
        let (connection, now) = (&self.connection.0, Instant::now());
        connection.delivered(now, data.len());
        let seen = self.framing.advance(data, self.largest).map_err(|TooLong(bytes)| {
            let message =
                format!("a message of {bytes} bytes, this call accepts {}: send smaller ones", self.largest);
            ApiError::new(ErrorReason::TooLarge, message)
        })?;
        if seen.begun > 0 {
            self.patience = Patience::new(connection.limits().message);
        }
        if seen.begun > 0 || !self.framing.has_open_message() {
            // The message before is complete, and the receiver has it with this piece.
            self.memory = None;
        }
        let delay = if seen.begun > 0 { connection.messages(now, seen.begun) } else { Duration::ZERO };
        let large = seen.open.filter(|open| open.length > SMALL_MESSAGE);
        if delay.is_zero() && large.is_none() {
            return Ok(None);
        }
        let connection = std::sync::Arc::clone(connection);
        let admission = async move {
            tokio::time::sleep(delay).await;
            match large {
                Some(open) => connection.reserve(open.length).await.map(Some),
                None => Ok(None),
            }
        };
        Ok(Some((Box::pin(admission), large.map_or(0, |open| open.at))))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.note_polled(true);
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.note_polled(false);
        loop {
            if let Some((admission, _)) = &mut this.admission {
                let admitted = ready!(admission.as_mut().poll(cx));
                let held = this.admission.take().map(|(_, held)| held);
                match admitted {
                    Ok(reserved) => this.memory = reserved,
                    Err(refusal) => return Poll::Ready(Some(Err(refusal.into()))),
                }
                return Poll::Ready(held.map(|held| Ok(Frame::data(held))));
            }
            let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(cx) else {
                if this.framing.is_inside() && this.patience.poll_ended(cx).is_ready() {
                    let limit = humantime::format_duration(this.connection.0.limits().message);
                    let message = format!("the rest of a message did not arrive within {limit}");
                    return Poll::Ready(Some(Err(ApiError::new(ErrorReason::TimedOut, message).into())));
                }
                this.note_polled(true);
                return Poll::Pending;
            };
            this.patience.pause();
            let frame = match next {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
            match this.advance(data) {
                Ok(None) => return Poll::Ready(Some(Ok(frame))),
                // What belongs to complete messages is handed over first: their receiver may take long, and holds no
                // memory for the next message meanwhile.
                Ok(Some((admission, from))) => {
                    let Ok(mut held) = frame.into_data() else { return Poll::Ready(None) };
                    let complete = held.split_to(from.min(held.len()));
                    this.admission = Some((admission, held));
                    if !complete.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(complete))));
                    }
                }
                Err(refusal) => return Poll::Ready(Some(Err(refusal.into()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.admission.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Time that a peer may take for the rest of a message. Only the time in which its bytes are waited for counts.
struct Patience {
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    fn new(left: Duration) -> Self {
        Self { left, waiting: None }
    }

    /// Waits until the time is over.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, sleep) =
            self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        sleep.as_mut().poll(cx)
    }

    /// Bytes have arrived.
    fn pause(&mut self) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }
}

/// The body of a response: tells the connection for how long its peer leaves it unread. HTTP/2 asks for the next piece only
/// when the peer accepts more bytes.
struct ResponseBody {
    inner: Body,
    request: OpenRequest,
}

impl ResponseBody {
    fn new(inner: Body, request: OpenRequest) -> Self {
        request.unread();
        Self { inner, request }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.request.read();
        let next = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if matches!(next, Some(Ok(_))) {
            this.request.unread();
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
