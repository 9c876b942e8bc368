//! Counts of what each peer has open, and what a connection has to answer for.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::channel::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use proto::status::{ApiError, ErrorReason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::ConnectionLimits;

/// A peer as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKey {
    /// An IPv4 address, or the first 64 bits of an IPv6 address: one host may have all addresses of such a network.
    Address(IpAddr),
    /// A user of this machine, by its number.
    User(u32),
    /// A peer without an address.
    Unknown,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl PeerKey {
    /// The key of an address.
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Self::Address(IpAddr::V6(network.into()))
            }
        }
    }
}

/// Bytes that a connection may exceed its own share of overhead by before it can be slowed down.
const OWN_OVERHEAD: f64 = 65_536.0;

/// Bytes a second of overhead that each connection may always send: heartbeats, acknowledgements, window updates.
const OWN_OVERHEAD_RATE: f64 = 4096.0;

/// Shortest and longest pause of a connection whose peer sends too much overhead; then it is looked at again. A thousand of
/// them that are looked at every few milliseconds cost more than what they send.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a call counts as that is refused for want of a right: it costs about as much as reading so many bytes of overhead.
const REFUSED_CALL: f64 = 16_384.0;

/// Seconds of a rate that a peer may use at once.
const BURST_SECONDS: f64 = 4.0;

/// A level that grows with use and drains with time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { level: 0.0, at: now }
    }

    /// Adds `amount` after draining at `rate` a second; returns the level. `amount` may be negative.
    fn add(&mut self, now: Instant, rate: f64, amount: f64) -> f64 {
        let drained = rate * now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.level = ((self.level - drained).max(0.0) + amount).max(0.0);
        self.level
    }
}

/// What one peer has open.
#[derive(Debug)]
pub(super) struct Peer {
    key: PeerKey,
    requests: AtomicUsize,
    memory: Arc<Semaphore>,
    waiting: AtomicUsize,
    messages: Mutex<Bucket>,
    overhead: Mutex<Bucket>,
}

/// All peers, with their connections.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(super) limits: ConnectionLimits,
    /// Memory of messages that have arrived in part, in KiB.
    memory: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    peers: HashMap<PeerKey, (usize, Arc<Peer>)>,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are too many in all.
    All,
    /// There are too many of this peer.
    Peer,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts stay valid when a thread panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

impl Peers {
    /// No peers yet.
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let memory = Arc::new(Semaphore::new(kib(limits.message_memory)));
        Arc::new(Self { limits, memory, open: Mutex::new(Open::default()) })
    }

    /// Counts a connection of `key` until the seat is dropped.
    pub(super) fn admit(self: &Arc<Self>, key: PeerKey) -> Result<Seat, Refused> {
        let now = Instant::now();
        let mut open = lock(&self.open);
        if open.connections >= self.limits.connections {
            return Err(Refused::All);
        }
        let (count, peer) = open.peers.entry(key).or_insert_with(|| {
            let memory = Arc::new(Semaphore::new(kib(self.limits.peer_message_memory)));
            let (requests, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let (messages, overhead) = (Mutex::new(Bucket::new(now)), Mutex::new(Bucket::new(now)));
            (0, Arc::new(Peer { key, requests, memory, waiting, messages, overhead }))
        });
        if *count >= self.limits.peer_connections {
            return Err(Refused::Peer);
        }
        *count += 1;
        let peer = Arc::clone(peer);
        open.connections += 1;
        drop(open);
        let connection = Arc::new(Connection {
            peers: Arc::clone(self),
            peer,
            state: Mutex::new(State {
                requests: 0,
                had_request: false,
                since: now,
                unread: HashMap::new(),
                unpolled: 0,
                next: 0,
                overhead: Bucket::new(now),
                permitted: false,
                charged: 0,
            }),
        });
        Ok(Seat { connection })
    }

    /// Number of open connections.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        lock(&self.open).connections
    }
}

/// An open connection's place in the counts.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) connection: Arc<Connection>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let key = self.connection.peer.key;
        let mut open = lock(&self.connection.peers.open);
        open.connections = open.connections.saturating_sub(1);
        if let Some((count, _)) = open.peers.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.peers.remove(&key);
            }
        }
    }
}

/// A connection: the requests that are open on it, and since when it is idle.
#[derive(Debug)]
pub(crate) struct Connection {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: usize,
    had_request: bool,
    /// Since when no request is open.
    since: Instant,
    /// Responses of which the peer leaves bytes unread, each since when.
    unread: HashMap<u64, Instant>,
    /// Request bodies that are not being read: their bytes may lie in the window of their stream.
    unpolled: u32,
    /// Number of the next request.
    next: u64,
    /// Bytes received that were no messages.
    overhead: Bucket,
    /// Whether a call was permitted to its sender: until then nothing is known of the peer.
    permitted: bool,
    /// Calls that were counted as refused before that.
    charged: u32,
}

/// The connect info of a connection, found in the extensions of its requests.
#[derive(Debug, Clone)]
pub(crate) struct PeerConnection(pub(super) Arc<Connection>);

impl PeerConnection {
    /// The peer at the other end.
    pub(crate) fn key(&self) -> PeerKey {
        self.0.peer.key
    }

    /// Notes that a call of the connection was permitted to its sender.
    pub(crate) fn permitted(&self) {
        self.0.permitted(Instant::now());
    }
}

impl Connection {
    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.peers.limits
    }

    /// Why the connection has to be closed, if it has to.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        let limits = self.limits();
        let state = lock(&self.state);
        let passed = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if state.requests == 0 && !state.had_request && passed(state.since, limits.first_request) {
            Some("no request arrived in time")
        } else if state.requests == 0 && passed(state.since, limits.idle) {
            Some("the connection was idle")
        } else if state.unread.values().any(|since| passed(*since, limits.unread_response)) {
            Some("the peer does not read its responses")
        } else {
            None
        }
    }

    /// Notes bytes from the peer. How long reading has to pause, because more of them than allowed were no messages.
    ///
    /// Bytes count as overhead until they are delivered as part of a message; those that may wait in a stream's window for
    /// a service that reads slowly do not make a connection pause.
    pub(super) fn received(&self, now: Instant, bytes: usize) -> Option<Duration> {
        let beyond = {
            let mut state = lock(&self.state);
            let windows = f64::from(state.unpolled) * f64::from(STREAM_WINDOW_BYTES);
            let own = state.overhead.add(now, OWN_OVERHEAD_RATE, bytes as f64);
            own - OWN_OVERHEAD - windows.min(f64::from(CONNECTION_WINDOW_BYTES))
        };
        let pauses = self.add_peer_overhead(now, bytes as f64) && beyond > 0.0;
        pauses
            .then(|| Duration::from_secs_f64(beyond / OWN_OVERHEAD_RATE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    /// Notes a call that was refused for want of a right: who repeats it is slowed down. Before the first permitted call
    /// each was counted when it began.
    pub(super) fn refused(&self, now: Instant) {
        let state = lock(&self.state);
        if state.permitted {
            self.add_overhead(state, now, REFUSED_CALL);
        }
    }

    /// Notes that a call was permitted: what was counted before is taken back.
    pub(super) fn permitted(&self, now: Instant) {
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.permitted, true) {
            let credit = -REFUSED_CALL * f64::from(std::mem::take(&mut state.charged));
            self.add_overhead(state, now, credit);
        }
    }

    /// Whether no call was permitted yet.
    pub(super) fn is_unknown(&self) -> bool {
        !lock(&self.state).permitted
    }

    /// Notes whether a request body is being read.
    pub(super) fn polled(&self, is_polled: bool) {
        let mut state = lock(&self.state);
        state.unpolled =
            if is_polled { state.unpolled.saturating_sub(1) } else { state.unpolled.saturating_add(1) };
    }

    /// How long reading still has to pause.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.received(now, 0)
    }

    /// Notes bytes of messages: as many bytes more are expected around them.
    pub(super) fn delivered(&self, now: Instant, bytes: usize) {
        self.add_overhead(lock(&self.state), now, -2.0 * bytes as f64);
    }

    /// Adds overhead of the connection, which is that of its peer too. The two are never locked at the same time.
    fn add_overhead(&self, mut state: MutexGuard<'_, State>, now: Instant, bytes: f64) {
        state.overhead.add(now, OWN_OVERHEAD_RATE, bytes);
        drop(state);
        self.add_peer_overhead(now, bytes);
    }

    /// Whether the peer as a whole has sent too much overhead.
    fn add_peer_overhead(&self, now: Instant, bytes: f64) -> bool {
        let rate = f64::from(self.limits().peer_overhead);
        lock(&self.peer.overhead).add(now, rate, bytes) > rate * BURST_SECONDS
    }

    /// Counts messages; returns how long they have to wait.
    pub(super) fn messages(&self, now: Instant, count: u32) -> Duration {
        let rate = f64::from(self.limits().peer_messages);
        let level = lock(&self.peer.messages).add(now, rate, f64::from(count));
        Duration::from_secs_f64((level / rate - BURST_SECONDS).clamp(0.0, 60.0))
    }

    /// Counts a request until it is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> Result<OpenRequest, ApiError> {
        let limit = self.limits().peer_requests;
        let begun = self
            .peer
            .requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < limit).then_some(open + 1));
        if begun.is_err() {
            return Err(ApiError::new(
                ErrorReason::TooMany,
                format!("this address has {limit} calls open: repeat the call when others have ended"),
            ));
        }
        let mut state = lock(&self.state);
        state.requests += 1;
        state.had_request = true;
        state.next += 1;
        let number = state.next;
        if !state.permitted {
            // Counted before it is answered: a peer without a right could send thousands before the first refusal.
            state.charged = state.charged.saturating_add(1);
            self.add_overhead(state, Instant::now(), REFUSED_CALL);
        }
        Ok(OpenRequest { connection: Arc::clone(self), number })
    }

    /// Memory for a message of `bytes`: waits while it is taken, refuses where many wait already.
    pub(super) async fn reserve(self: Arc<Self>, bytes: usize) -> Result<Reservation, ApiError> {
        let limits = *self.limits();
        let waiting = Waiting::begin(&self.peer);
        let busy = || {
            ApiError::new(
                ErrorReason::TooMany,
                "too many large messages of this address arrive at the same time: repeat the call a little later",
            )
        };
        let permits = |most: usize| u32::try_from(kib(bytes).min(kib(most))).unwrap_or(u32::MAX);
        let (own, all) = (permits(limits.peer_message_memory), permits(limits.message_memory));
        if let Ok(peer) = Arc::clone(&self.peer.memory).try_acquire_many_owned(own)
            && let Ok(total) = Arc::clone(&self.peers.memory).try_acquire_many_owned(all)
        {
            return Ok(Reservation { _peer: peer, _total: total });
        }
        if waiting.number > limits.peer_waiting_messages {
            return Err(busy());
        }
        let both = async {
            let peer = Arc::clone(&self.peer.memory).acquire_many_owned(own).await;
            let total = Arc::clone(&self.peers.memory).acquire_many_owned(all).await;
            Some(Reservation { _peer: peer.ok()?, _total: total.ok()? })
        };
        let reserved = tokio::time::timeout(limits.message, both).await;
        reserved.ok().flatten().ok_or_else(busy)
    }
}

/// A message that waits for memory.
struct Waiting<'p> {
    peer: &'p Peer,
    number: usize,
}

impl<'p> Waiting<'p> {
    fn begin(peer: &'p Peer) -> Self {
        Self { peer, number: peer.waiting.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.peer.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory of a message that arrives; free when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _peer: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// A request that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenRequest {
    connection: Arc<Connection>,
    number: u64,
}

impl OpenRequest {
    /// The peer has bytes of the response to read, from now on.
    pub(super) fn unread(&self) {
        lock(&self.connection.state).unread.insert(self.number, Instant::now());
    }

    /// The peer has read them.
    pub(super) fn read(&self) {
        lock(&self.connection.state).unread.remove(&self.number);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.connection.peer.requests.fetch_sub(1, Ordering::Relaxed);
        let mut state = lock(&self.connection.state);
        state.unread.remove(&self.number);
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.since = Instant::now();
        }
    }
}
