//! The first bytes of a connection: a coordinator that accepts and is frozen is not connected.
//!
//! hyper counts a connection as open once it has sent the beginning of HTTP/2, whether or not the server answers. Here the
//! fixed first bytes are sent and the header of the server's first frame is awaited, before hyper has the connection;
//! afterwards the same bytes of hyper are dropped. A server may wait for the client's bytes with its own (RFC 9113, 3.4), so
//! to wait without sending is not enough.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::unreachable::Cause;

/// The beginning of HTTP/2 of a client.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of the header of a frame: its length, type, flags and stream.
const FRAME_HEADER: usize = 9;

/// Type of a SETTINGS frame, which comes first.
const SETTINGS: u8 = 4;

/// Beginning of a TLS record that holds an alert.
const TLS_ALERT: [u8; 2] = [0x15, 3];

/// A connection on which the server has begun HTTP/2.
#[derive(Debug)]
pub(super) struct Greeted<S> {
    stream: S,
    /// What was read already.
    read: [u8; FRAME_HEADER],
    /// How much of `read` has been handed on.
    handed_on: usize,
    /// How much was sent already of what is written first.
    sent: usize,
}

/// Begins HTTP/2 on `stream`, and waits until the server does.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<Greeted<S>, Cause> {
    let written = async {
        stream.write_all(PREFACE).await?;
        stream.flush().await
    };
    let written: io::Result<()> = written.await;
    // A TLS server sends the reason of a refusal before it closes: it is read also where nothing can be written any more.
    let mut read = [0; FRAME_HEADER];
    let mut length = 0;
    while let Some(rest) = read.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) => return Err(Cause::of(&error)),
        }
    }
    if length == 0 {
        return Err(written.map_or_else(|error| Cause::of(&error), |()| Cause::Closed));
    }
    let [.., kind, _, _, _, _, _] = read;
    if length == FRAME_HEADER && kind == SETTINGS {
        return Ok(Greeted { stream, read, handed_on: 0, sent: PREFACE.len() });
    }
    Err(if read.starts_with(&TLS_ALERT) { Cause::SpeaksTls } else { Cause::NotACoordinator })
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.read.get(self.handed_on..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        self.handed_on += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.sent > 0 && !bytes.is_empty() {
            let count = self.sent.min(bytes.len());
            self.sent -= count;
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.sent > 0 {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map(|slice| &**slice).unwrap_or_default());
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty SETTINGS frame.
    const ANSWER: [u8; FRAME_HEADER] = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn the_server_receives_and_the_client_reads_each_byte_once() {
        let (near, mut far) = tokio::io::duplex(1024);
        let server = tokio::spawn(async move {
            let mut begun = [0; PREFACE.len()];
            far.read_exact(&mut begun).await.unwrap();
            far.write_all(&ANSWER).await.unwrap();
            far.write_all(b"more").await.unwrap();
            let mut rest = [0; 4];
            far.read_exact(&mut rest).await.unwrap();
            (begun, rest)
        });
        let mut greeted = greet(near).await.unwrap();
        greeted.write_all(PREFACE).await.unwrap();
        greeted.write_all(b"next").await.unwrap();
        let mut read = [0; FRAME_HEADER + 4];
        greeted.read_exact(&mut read).await.unwrap();
        assert_eq!((&read[..FRAME_HEADER], &read[FRAME_HEADER..]), (&ANSWER[..], &b"more"[..]));
        let (begun, rest) = server.await.unwrap();
        assert_eq!((&begun[..], &rest), (PREFACE, b"next"));
    }

    #[tokio::test]
    async fn what_does_not_begin_http_2_is_not_connected() {
        for (answer, expected) in [
            (&[0x15, 3, 3, 0, 2, 2, 10][..], Cause::SpeaksTls),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause::NotACoordinator),
            (b"SSH-2.0", Cause::NotACoordinator),
            (b"", Cause::Closed),
        ] {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(answer).await.unwrap();
            // The end of a pipe that still takes what is written.
            far.shutdown().await.unwrap();
            assert_eq!(greet(near).await.unwrap_err(), expected);
        }
    }
}
