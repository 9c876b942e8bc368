//! TCP proxy between a worker and the coordinator that can be slowed, held, cut, or left half open.
//!
//! *Owns* one listener thread for each link, which ends with the process, and two threads for each connection, which
//! end with the connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Longest time that a pump waits for data before it checks the state of its link again.
const TICK: Duration = Duration::from_millis(20);

/// Largest number of bytes that a pump reads and forwards at a time.
const PIECE: usize = 8 << 10;

/// Smallest read that counts as a piece of an uploaded part; a worker's other messages are smaller.
const MIN_PART_READ: usize = 1 << 10;

/// Direction in which a pump forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the worker to the coordinator.
    Up,
    /// From the coordinator to the worker.
    Down,
}

/// Token bucket that limits the bytes a second of all links together, and counts the bytes.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second; 0: no limit.
    rate: AtomicU64,
    /// Time of the last update, and the level in bytes.
    filled: Mutex<(Instant, f64)>,
    /// Bytes forwarded so far.
    carried: AtomicU64,
}

impl Bucket {
    /// A bucket without limit.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            rate: AtomicU64::new(0),
            filled: Mutex::new((Instant::now(), 0.0)),
            carried: AtomicU64::new(0),
        })
    }

    /// Sets the limit to `rate` bytes a second; 0: no limit.
    pub(super) fn limit(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Bytes forwarded so far.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Waits until `bytes` may be forwarded.
    fn take(&self, bytes: usize) {
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        loop {
            let rate = self.rate.load(Ordering::Relaxed) as f64;
            if rate == 0.0 {
                return;
            }
            {
                let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                let level = filled.1 + now.duration_since(filled.0).as_secs_f64() * rate;
                // The bucket holds the bytes of a fifth of a second. The level may go below zero, so that a piece
                // larger than the bucket passes too.
                *filled = (now, level.min(rate / 5.0));
                if filled.1 > 0.0 {
                    filled.1 -= bytes as f64;
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// State of a link, shared with its pumps.
#[derive(Debug, Default)]
struct State {
    /// Forwarding is paused; data in transit waits and is not lost.
    held: AtomicBool,
    /// The next piece of a part that the worker sends sets `held`.
    trap: AtomicBool,
    /// Each direction of a connection forwards some 5 kB a second.
    slow: AtomicBool,
    /// Connections with a number below this are closed.
    closed_below: AtomicU64,
    /// Connections with a number below this stay open, but nothing is forwarded on them any more.
    half_open_below: AtomicU64,
    /// Number of the next connection.
    next: AtomicU64,
}

/// The link between one worker and the coordinator.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    state: Arc<State>,
}

impl Link {
    /// Listens, and forwards each connection to `target`.
    pub(super) fn open(target: SocketAddr, bucket: &Arc<Bucket>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the proxy cannot listen")?;
        let address = listener.local_addr().context("the proxy has no address")?;
        let state = Arc::new(State::default());
        let (shared, bucket) = (Arc::clone(&state), Arc::clone(bucket));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                forward(client, target, &shared, &bucket);
            }
        });
        Ok(Self { address, state })
    }

    /// URL that the worker connects to in place of the coordinator's.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Pauses or resumes forwarding, and disarms the trap. Data sent during the pause waits.
    pub(super) fn hold(&self, held: bool) {
        self.state.trap.store(false, Ordering::Relaxed);
        self.state.held.store(held, Ordering::Relaxed);
    }

    /// Arms the trap: the next piece of a part that the worker sends pauses the link, and waits there itself.
    pub(super) fn trap(&self) {
        self.state.trap.store(true, Ordering::Relaxed);
    }

    /// Whether forwarding is paused.
    pub(super) fn is_held(&self) -> bool {
        self.state.held.load(Ordering::Relaxed)
    }

    /// Whether forwarding is paused, or the trap is armed.
    pub(super) fn is_trapped(&self) -> bool {
        self.is_held() || self.state.trap.load(Ordering::Relaxed)
    }

    /// Turns the low forwarding rate on or off.
    pub(super) fn slow(&self, slow: bool) {
        self.state.slow.store(slow, Ordering::Relaxed);
    }

    /// Closes all current connections; later ones work.
    pub(super) fn cut(&self) {
        self.state.closed_below.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Leaves all current connections open without forwarding anything on them any more; later ones work.
    pub(super) fn leave_half_open(&self) {
        self.state.half_open_below.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

fn forward(client: TcpStream, target: SocketAddr, state: &Arc<State>, bucket: &Arc<Bucket>) {
    let number = state.next.fetch_add(1, Ordering::Relaxed);
    // If the target refuses the connection, the return drops `client`, which closes the worker's connection.
    let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) else { return };
    let (Ok(client_clone), Ok(server_clone)) = (client.try_clone(), server.try_clone()) else { return };
    for (from, to, direction) in
        [(client, server, Direction::Up), (server_clone, client_clone, Direction::Down)]
    {
        let (state, bucket) = (Arc::clone(state), Arc::clone(bucket));
        std::thread::spawn(move || pump(&from, &to, direction, number, &state, &bucket));
    }
}

/// Whether nothing may be forwarded on a connection, although it is not to be closed.
fn is_stalled(number: u64, state: &State) -> bool {
    (state.held.load(Ordering::Relaxed) || number < state.half_open_below.load(Ordering::Relaxed))
        && number >= state.closed_below.load(Ordering::Relaxed)
}

/// Forwards from one stream to another until either ends or the connection is to be closed.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    direction: Direction,
    number: u64,
    state: &State,
    bucket: &Bucket,
) {
    let end = || {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    };
    if from.set_read_timeout(Some(TICK)).is_err() {
        return end();
    }
    let _ = to.set_nodelay(true);
    let mut piece = [0; PIECE];
    loop {
        if number < state.closed_below.load(Ordering::Relaxed) {
            return end();
        }
        if is_stalled(number, state) {
            std::thread::sleep(TICK);
            continue;
        }
        let slow = state.slow.load(Ordering::Relaxed);
        let room = if slow { 256 } else { PIECE };
        let read = match from.read(piece.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return end(),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return end(),
        };
        if slow {
            std::thread::sleep(Duration::from_millis(50));
        }
        if direction == Direction::Up && read >= MIN_PART_READ && state.trap.load(Ordering::Relaxed) {
            state.held.store(true, Ordering::Relaxed);
            state.trap.store(false, Ordering::Relaxed);
        }
        bucket.take(read);
        // A piece that was read before the link was paused waits here.
        while is_stalled(number, state) {
            std::thread::sleep(TICK);
        }
        if to.write_all(piece.get(..read).unwrap_or_default()).is_err() {
            return end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut stream, &mut back);
                });
            }
        });
        address
    }

    fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        stream.write_all(text)?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        Ok(back)
    }

    #[test]
    fn carries_holds_and_cuts() {
        let link = Link::open(echo(), &Bucket::new()).unwrap();
        let connect = || TcpStream::connect(link.address).unwrap();
        let mut first = connect();
        assert_eq!(exchange(&mut first, b"one").unwrap(), b"one");
        link.hold(true);
        assert!(exchange(&mut first, b"two").is_err());
        link.hold(false);
        let mut late = [0; 3];
        first.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"two", "what was held is not lost");
        link.leave_half_open();
        assert!(exchange(&mut first, b"three").is_err());
        assert_eq!(exchange(&mut connect(), b"four").unwrap(), b"four", "a new connection works");
        link.cut();
        first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(first.read(&mut [0; 9]).unwrap_or(0), 0);
    }

    #[test]
    fn a_trap_holds_the_first_piece_of_a_part() {
        let link = Link::open(echo(), &Bucket::new()).unwrap();
        let mut stream = TcpStream::connect(link.address).unwrap();
        link.trap();
        assert_eq!(exchange(&mut stream, b"small").unwrap(), b"small");
        assert!(!link.is_held());
        let part = [7; 2 * MIN_PART_READ];
        assert!(exchange(&mut stream, &part).is_err());
        assert!(link.is_held());
        link.hold(false);
        let mut late = [0; 2 * MIN_PART_READ];
        stream.read_exact(&mut late).unwrap();
        assert_eq!(late, part, "what was held is not lost");
    }

    #[test]
    fn a_bucket_limits_the_rate() {
        let bucket = Bucket::new();
        bucket.limit(100_000);
        let begun = Instant::now();
        for _ in 0..5 {
            bucket.take(10_000);
        }
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        assert_eq!(bucket.carried(), 50_000);
    }
}
