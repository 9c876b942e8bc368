//! The body of an upload: a form of several parts around a file that is read while it is sent.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Pieces that are read ahead.
const AHEAD: usize = 4;

/// The body of an upload of so many bytes.
pub(super) struct Form {
    before: Option<Bytes>,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes of the file that are not yet sent.
    left: u64,
    after: Option<Bytes>,
}

/// What stands between the parts of a form with this name. A line of JSON holds no such line.
pub(super) fn boundary(name: &str) -> String {
    format!("k8s-auto-fix-{name}")
}

impl Form {
    /// A form with the first `bytes` bytes of a file of questions, which a thread reads until the form is dropped.
    pub(super) fn new(file: File, bytes: u64, name: &str) -> Self {
        let boundary = boundary(name);
        let before = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{name}.jsonl\"\r\nContent-Type: \
             application/jsonl\r\n\r\n"
        );
        let after = format!("\r\n--{boundary}--\r\n");
        let (send, pieces) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || read(file, bytes, &send));
        Self { before: Some(before.into()), pieces, left: bytes, after: Some(after.into()) }
    }
}

/// Reads a file piece by piece.
fn read(mut file: File, bytes: u64, send: &mpsc::Sender<io::Result<Bytes>>) {
    let mut left = bytes;
    while left > 0 {
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        let read = match file.read(&mut piece) {
            Ok(0) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent"))
            }
            Ok(count) => {
                piece.truncate(count);
                left -= count as u64;
                Ok(piece.into())
            }
            Err(error) => Err(error),
        };
        let is_end = read.is_err();
        // Whoever reads has given up.
        if send.blocking_send(read).is_err() || is_end {
            return;
        }
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        if self.left == 0 {
            return Poll::Ready(self.after.take().map(|after| Ok(Frame::data(after))));
        }
        let piece = match ready!(self.pieces.poll_recv(context)) {
            Some(piece) => piece,
            None => Err(io::Error::other("the thread that reads the file has ended")),
        };
        if let Ok(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, |part| part.len() as u64);
        SizeHint::with_exact(length(&self.before) + self.left + length(&self.after))
    }

    fn is_end_stream(&self) -> bool {
        self.after.is_none()
    }
}
