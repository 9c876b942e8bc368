//! A client that stalls: it proves the role of a worker, opens an upload of a part, sends half of a message, and keeps the
//! stream open. It has no lease, so it gets no further; a stalled upload under a lease is a worker on a held link.
//!
//! *Owns* one thread for each stalled upload. HTTP/2 by hand, as little of it as one call needs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The version of the protocol that it claims.
const PROTOCOL: &str = "5";

/// Length that the first message announces, within what a coordinator accepts.
const ANNOUNCED: u32 = 32 << 20;

/// What is sent of it.
const SENT: usize = 1000;

/// How often the thread looks whether it has to stop.
const TICK: Duration = Duration::from_millis(50);

/// Between two tries. A refused upload is tried again, with the lease as it is by then.
const PAUSE: Duration = Duration::from_millis(200);

/// An upload that stalls; opened again whenever it ends, until this is dropped.
#[derive(Debug)]
pub(super) struct StalledUpload {
    stop: Arc<AtomicBool>,
    /// Gives how long the upload that was kept open longest has lasted.
    thread: Option<JoinHandle<Duration>>,
}

impl StalledUpload {
    /// Begins an upload to the coordinator at `address` with the `token` of a worker.
    pub(super) fn begin(address: SocketAddr, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let request = request(address, token);
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                // A coordinator that is away: tried again.
                let _ = stall(address, &request, &stopped);
                longest = longest.max(begun.elapsed());
                std::thread::sleep(PAUSE);
            }
            longest
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it; gives how long the coordinator kept it open at most.
    pub(super) fn end(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.thread.take().map(JoinHandle::join);
        longest.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for StalledUpload {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends the request and keeps its stream open until the coordinator ends it or `stop` is set.
fn stall(address: SocketAddr, request: &[u8], stop: &AtomicBool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(TICK))?;
    stream.write_all(request)?;
    let mut unread = Vec::new();
    let mut piece = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => unread.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        }
        while let Some(frame) = Frame::take(&mut unread) {
            match frame.kind {
                SETTINGS | PING if frame.flags & ACK == 0 => {
                    let payload = if frame.kind == PING { frame.payload } else { Vec::new() };
                    stream.write_all(&Frame { kind: frame.kind, flags: ACK, stream: 0, payload }.bytes())?;
                }
                RESET | GO_AWAY => return Ok(()),
                HEADERS if frame.flags & END_STREAM != 0 => return Ok(()),
                _ => {}
            }
        }
    }
    Ok(())
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = (u32::try_from(self.payload.len()).unwrap_or(0) << 8).to_be_bytes().to_vec();
        bytes.pop();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Takes the first whole frame out of `unread`.
    fn take(unread: &mut Vec<u8>) -> Option<Self> {
        let (head, rest) = unread.split_first_chunk::<9>()?;
        let [long, longer, len, kind, flags, stream @ ..] = *head;
        let len = u32::from_be_bytes([0, long, longer, len]) as usize;
        let payload = rest.get(..len)?.to_vec();
        unread.drain(..9 + len);
        Some(Self { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

/// The connection's beginning and what there is of the call: headers, then the beginning of a message.
fn request(address: SocketAddr, token: &str) -> Vec<u8> {
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // HPACK: `:method: POST` and `:scheme: http` by their number, the others as literals.
    let mut headers = vec![0x83, 0x86];
    let authority = address.to_string();
    let literals: [(&[u8], &str); 3] = [
        (&[0x04], "/k8s_auto_fix.v1.Fleet/CommitShard"),
        (&[0x01], &authority),
        (&[0x0f, 0x10], "application/grpc"),
    ];
    for (name, value) in literals {
        headers.extend(name);
        literal(&mut headers, value);
    }
    for (name, value) in [
        ("te", "trailers"),
        ("k8s-auto-fix-protocol", PROTOCOL),
        ("authorization", format!("Bearer {token}").as_str()),
    ] {
        headers.push(0);
        literal(&mut headers, name);
        literal(&mut headers, value);
    }
    // gRPC: not compressed, the length, the message.
    let mut data = vec![0];
    data.extend(ANNOUNCED.to_be_bytes());
    data.extend([7; SENT]);
    for frame in [
        Frame { kind: SETTINGS, flags: 0, stream: 0, payload: Vec::new() },
        Frame { kind: HEADERS, flags: END_HEADERS, stream: 1, payload: headers },
        Frame { kind: DATA, flags: 0, stream: 1, payload: data },
    ] {
        request.extend(frame.bytes());
    }
    request
}

/// A string of HPACK shorter than 127 bytes.
fn literal(headers: &mut Vec<u8>, text: &str) {
    headers.push(u8::try_from(text.len()).unwrap_or(0));
    headers.extend(text.bytes());
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_frame_survives_and_half_of_one_waits() {
        let frame = Frame { kind: PING, flags: 0, stream: 0, payload: vec![1; 8] };
        let mut unread = frame.bytes();
        let last = unread.pop().unwrap();
        assert_eq!(Frame::take(&mut unread), None);
        unread.extend([last, 9]);
        assert_eq!(Frame::take(&mut unread), Some(frame));
        assert_eq!(unread, [9]);
    }

    #[test]
    fn an_upload_stays_open_until_the_other_end_or_its_owner_ends_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let upload = StalledUpload::begin(listener.local_addr().unwrap(), "0123456789abcdef");
        let reset = Frame { kind: RESET, flags: 0, stream: 1, payload: vec![0; 4] };
        for _ in 0..2 {
            // The second one is opened because the first was ended.
            let (mut server, _) = listener.accept().unwrap();
            let mut begin = [0; 24 + 9];
            server.read_exact(&mut begin).unwrap();
            assert!(begin.starts_with(b"PRI * HTTP/2.0"));
            let ping = Frame { kind: PING, flags: 0, stream: 0, payload: vec![5; 8] };
            server.write_all(&ping.bytes()).unwrap();
            let mut seen = Vec::new();
            let answer = Frame { flags: ACK, ..ping }.bytes();
            while !seen.ends_with(&answer) {
                let mut byte = [0];
                server.read_exact(&mut byte).unwrap();
                seen.extend(byte);
            }
            server.write_all(&reset.bytes()).unwrap();
        }
        let (mut server, _) = listener.accept().unwrap();
        assert!(upload.end() < Duration::from_secs(60));
        assert!(server.read_to_end(&mut Vec::new()).unwrap() > SENT, "it was closed");
    }
}
