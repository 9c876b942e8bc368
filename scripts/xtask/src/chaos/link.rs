//! TCP proxy between a worker and the coordinator that can be slowed, held, cut, or left half open.
//!
//! *Owns* one listener, and two threads for each connection; they end with it, and at the latest with the process.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often a pump looks up from an idle connection.
const TICK: Duration = Duration::from_millis(20);

/// Bytes that are carried at a time.
const PIECE: usize = 8 << 10;

/// What a worker sends at a time is smaller, unless it is a part.
const PART: usize = 1 << 10;

/// Which way a pump carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the coordinator.
    Up,
    /// To the worker.
    Down,
}

/// Room for all links together: what is taken out of it has to be there before.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second; 0: no limit.
    rate: AtomicU64,
    filled: Mutex<(Instant, f64)>,
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

    /// From now on `rate` bytes a second; 0: no limit.
    pub(super) fn limit(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Bytes carried so far.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Waits until `bytes` may be carried.
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
                // A fifth of a second may be saved up. What is taken may go below zero, so that no piece is too large.
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

/// What the pumps of a link look at.
#[derive(Debug, Default)]
struct State {
    /// Nothing is carried; nothing is lost.
    held: AtomicBool,
    /// The next part on its way up holds the link.
    trap: AtomicBool,
    /// A few kilobytes a second.
    slow: AtomicBool,
    /// Connections with a number below this are cut.
    cut: AtomicU64,
    /// Connections with a number below this carry nothing any more.
    dead: AtomicU64,
    /// Number of the next connection.
    next: AtomicU64,
}

/// A worker's link.
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
                carry(client, target, &shared, &bucket);
            }
        });
        Ok(Self { address, state })
    }

    /// Where the worker has to go.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Carries nothing until told otherwise; what was sent waits.
    pub(super) fn hold(&self, held: bool) {
        self.state.trap.store(false, Ordering::Relaxed);
        self.state.held.store(held, Ordering::Relaxed);
    }

    /// Holds the link as soon as a part is on its way up; with the first piece of it.
    pub(super) fn trap(&self) {
        self.state.trap.store(true, Ordering::Relaxed);
    }

    /// Whether nothing is carried.
    pub(super) fn is_held(&self) -> bool {
        self.state.held.load(Ordering::Relaxed)
    }

    /// Whether it is held, or will be.
    pub(super) fn is_trapped(&self) -> bool {
        self.is_held() || self.state.trap.load(Ordering::Relaxed)
    }

    pub(super) fn slow(&self, slow: bool) {
        self.state.slow.store(slow, Ordering::Relaxed);
    }

    pub(super) fn cut(&self) {
        self.state.cut.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Lets every connection stand without carrying anything ever again.
    pub(super) fn leave_half_open(&self) {
        self.state.dead.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

fn carry(client: TcpStream, target: SocketAddr, state: &Arc<State>, bucket: &Arc<Bucket>) {
    let number = state.next.fetch_add(1, Ordering::Relaxed);
    // Nobody there: the client finds its connection closed.
    let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) else { return };
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    for (from, to, way) in [(client, server, Way::Up), (server_too, client_too, Way::Down)] {
        let (state, bucket) = (Arc::clone(state), Arc::clone(bucket));
        std::thread::spawn(move || pump(&from, &to, way, number, &state, &bucket));
    }
}

/// Whether a connection carries nothing, and is not cut either.
fn stands(number: u64, state: &State) -> bool {
    (state.held.load(Ordering::Relaxed) || number < state.dead.load(Ordering::Relaxed))
        && number >= state.cut.load(Ordering::Relaxed)
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, way: Way, number: u64, state: &State, bucket: &Bucket) {
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
        if number < state.cut.load(Ordering::Relaxed) {
            return end();
        }
        if stands(number, state) {
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
        if way == Way::Up && read >= PART && state.trap.load(Ordering::Relaxed) {
            state.held.store(true, Ordering::Relaxed);
            state.trap.store(false, Ordering::Relaxed);
        }
        bucket.take(read);
        // What was taken in before the link was held waits here.
        while stands(number, state) {
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

    fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
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
        assert_eq!(ask(&mut first, b"one").unwrap(), b"one");
        link.hold(true);
        assert!(ask(&mut first, b"two").is_err());
        link.hold(false);
        let mut late = [0; 3];
        first.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"two", "what was held is not lost");
        link.leave_half_open();
        assert!(ask(&mut first, b"three").is_err());
        assert_eq!(ask(&mut connect(), b"four").unwrap(), b"four", "a new connection lives");
        link.cut();
        first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(first.read(&mut [0; 9]).unwrap_or(0), 0);
    }

    #[test]
    fn a_trap_holds_what_is_as_large_as_a_part() {
        let link = Link::open(echo(), &Bucket::new()).unwrap();
        let mut stream = TcpStream::connect(link.address).unwrap();
        link.trap();
        assert_eq!(ask(&mut stream, b"small").unwrap(), b"small");
        assert!(!link.is_held());
        let part = [7; 2 * PART];
        assert!(ask(&mut stream, &part).is_err());
        assert!(link.is_held());
        link.hold(false);
        let mut late = [0; 2 * PART];
        stream.read_exact(&mut late).unwrap();
        assert_eq!(late, part, "what was held is not lost");
    }

    #[test]
    fn a_bucket_takes_its_time() {
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
