//! Connections within limits, on transports in memory and in paused time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout};
use tonic::transport::server::Connected as _;

use super::incoming::{FromPeer, LimitedStream};
use super::peers::{PeerConnection, PeerKey, Peers};
use super::{ConnectionLimits, Limits, limited};

/// A transport of a peer.
struct From(DuplexStream, PeerKey);

impl FromPeer for From {
    fn peer(&self) -> PeerKey {
        self.1
    }
}

impl tokio::io::AsyncRead for From {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for From {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

const A: PeerKey = PeerKey::User(1);
const B: PeerKey = PeerKey::User(2);

/// Accepts transports of `keys`; returns those that are admitted, and the other ends of all.
async fn accept(peers: &Arc<Peers>, keys: &[PeerKey]) -> (Vec<LimitedStream<From>>, Vec<DuplexStream>) {
    let (ours, theirs): (Vec<_>, Vec<_>) = keys
        .iter()
        .map(|key| {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            (Ok(From(ours, *key)), theirs)
        })
        .unzip();
    let admitted = limited(stream::iter(ours), Arc::clone(peers));
    (admitted.map(Result::unwrap).collect().await, theirs)
}

async fn one(peers: &Arc<Peers>) -> (LimitedStream<From>, DuplexStream, PeerConnection) {
    let (mut streams, mut ends) = accept(peers, &[A]).await;
    let stream = streams.remove(0);
    let connection = stream.connect_info();
    (stream, ends.remove(0), connection)
}

#[tokio::test(start_paused = true)]
async fn connections_are_limited_for_each_peer_and_in_all() {
    let peers =
        Peers::new(ConnectionLimits { connections: 4, peer_connections: 2, ..ConnectionLimits::default() });
    let (mut admitted, mut ends) = accept(&peers, &[A, A, A, B, B, PeerKey::Unknown]).await;
    assert_eq!((admitted.len(), peers.connections()), (4, 4));
    let mut byte = [0];
    assert_eq!(ends[2].read(&mut byte).await.unwrap(), 0, "the third of a peer is closed");
    assert_eq!(ends[5].read(&mut byte).await.unwrap(), 0, "the fifth in all is closed");
    admitted.remove(0);
    assert_eq!(accept(&peers, &[A]).await.0.len(), 1, "a place is free again");
    drop(admitted);
    assert_eq!(peers.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_accept_does_not_end_the_stream() {
    let failures = (0..3).map(|_| Err(io::Error::from_raw_os_error(24)));
    let ok = (0..1).map(|_| Ok(From(tokio::io::duplex(1).0, A)));
    let accepted = limited(stream::iter(failures.chain(ok)), Peers::new(ConnectionLimits::default()));
    assert_eq!(accepted.filter(|item| std::future::ready(item.is_ok())).count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_whatever_it_sends() {
    let peers = Peers::new(ConnectionLimits::default());
    let (mut stream, mut end, _connection) = one(&peers).await;
    let begun = Instant::now();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if end.write_all(b"P").await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap_err()
    };
    tokio::select! {
        error = read => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        () = drip => panic!("closed by the other end"),
    }
    let limit = ConnectionLimits::default().first_request;
    assert!((limit..limit + Duration::from_secs(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_only_without_an_open_request() {
    let peers = Peers::new(ConnectionLimits::default());
    let (mut stream, _end, connection) = one(&peers).await;
    let request = connection.0.begin_request().unwrap();
    let mut byte = [0];
    let day = Duration::from_secs(86_400);
    assert!(timeout(day, stream.read(&mut byte)).await.is_err(), "an open request keeps it open");
    drop(request);
    let begun = Instant::now();
    assert_eq!(stream.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let limit = ConnectionLimits::default().idle;
    assert!((limit..limit + Duration::from_secs(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_unread_response_closes_the_connection() {
    let peers = Peers::new(ConnectionLimits::default());
    let (mut stream, _end, connection) = one(&peers).await;
    let (read, unread) = (connection.0.begin_request().unwrap(), connection.0.begin_request().unwrap());
    for request in [&read, &unread] {
        request.unread();
    }
    read.read();
    let begun = Instant::now();
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let limit = ConnectionLimits::default().unread_response;
    assert!((limit..limit + Duration::from_secs(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// Bytes that are read in a minute from a peer that sends as fast as it can.
async fn read_in_a_minute(limits: ConnectionLimits, is_message: bool) -> usize {
    let (mut stream, mut end, connection) = one(&Peers::new(limits)).await;
    let _request = connection.0.begin_request().unwrap();
    let flood = async { while end.write_all(&[0; 1 << 14]).await.is_ok() {} };
    let mut bytes = 0;
    let read = async {
        let mut buffer = vec![0; 1 << 14];
        // Bounded, because time stands still while bytes arrive.
        while bytes < 64 << 20 {
            let read = stream.read(&mut buffer).await.unwrap();
            bytes += read;
            if is_message {
                connection.0.delivered(Instant::now(), read);
            }
        }
    };
    let _ = timeout(Duration::from_secs(60), async {
        tokio::select! { () = flood => {}, () = read => {} }
    })
    .await;
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_overhead_is_read_slowly_and_messages_are_not() {
    let limits = ConnectionLimits { peer_overhead: 10_000, ..ConnectionLimits::default() };
    let overhead = read_in_a_minute(limits, false).await;
    // Its rate for a minute, four seconds of it at once, the connection's own share, and a buffer.
    assert!((300_000..1_000_000).contains(&overhead), "{overhead}");
    assert_eq!(read_in_a_minute(limits, true).await, 64 << 20);
}

#[tokio::test(start_paused = true)]
async fn one_flooding_connection_does_not_slow_down_another_of_the_same_peer() {
    let peers = Peers::new(ConnectionLimits { peer_overhead: 1000, ..ConnectionLimits::default() });
    let (mut streams, mut ends) = accept(&peers, &[A, A]).await;
    let (mut quiet, mut floods) = (streams.pop().unwrap(), streams.pop().unwrap());
    let _requests = [&quiet, &floods].map(|stream| stream.connect_info().0.begin_request().unwrap());
    let (mut quiet_end, mut flood_end) = (ends.pop().unwrap(), ends.pop().unwrap());
    let flood = async { while flood_end.write_all(&[0; 4096]).await.is_ok() {} };
    let sink = async {
        let mut buffer = vec![0; 4096];
        while floods.read(&mut buffer).await.is_ok() {}
    };
    let beats = async {
        let mut byte = [0; 17];
        for _ in 0..60 {
            let sent = Instant::now();
            quiet_end.write_all(&byte).await.unwrap();
            quiet.read_exact(&mut byte).await.unwrap();
            assert!(sent.elapsed() < Duration::from_millis(50));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = flood => panic!("the flood ended"),
        () = sink => panic!("the flood ended"),
        () = beats => {}
    }
}

#[tokio::test(start_paused = true)]
async fn who_repeats_calls_without_a_right_is_read_later() {
    let peers = Peers::new(ConnectionLimits { peer_overhead: 1 << 20, ..ConnectionLimits::default() });
    let (_stream, _end, repeating) = one(&peers).await;
    let (_other, _other_end, other) = one(&peers).await;
    let now = Instant::now();
    repeating.permitted();
    for call in 0..300 {
        assert!(call <= 256 || repeating.0.pause(now).is_some(), "call {call}");
        repeating.0.refused(now);
    }
    assert!(other.0.pause(now).is_none(), "another connection of the same address has done nothing");
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(repeating.0.pause(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_of_an_unknown_peer_count_before_they_are_answered() {
    let peers = Peers::new(ConnectionLimits { peer_overhead: 1000, ..ConnectionLimits::default() });
    let (_stream, _end, unknown) = one(&peers).await;
    let now = Instant::now();
    let begin = || drop(unknown.0.begin_request().unwrap());
    (0..4).for_each(|_| begin());
    assert!(unknown.0.pause(now).is_none(), "what a connection may always send");
    (0..4).for_each(|_| begin());
    assert!(unknown.0.pause(now).is_some());
    unknown.permitted();
    assert!(unknown.0.pause(now).is_none(), "it had the right all along");
    (0..100).for_each(|_| begin());
    assert!(unknown.0.pause(now).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_peer_is_read_in_pieces_that_are_looked_at() {
    let peers = Peers::new(ConnectionLimits::default());
    let (mut streams, mut ends) = accept(&peers, &[A]).await;
    let (mut stream, mut end) = (streams.pop().unwrap(), ends.pop().unwrap());
    let connection = stream.connect_info();
    end.write_all(&[7; 4000]).await.unwrap();
    let mut buffer = [0; 8192];
    let mut read = async |at: usize| stream.read(&mut buffer[at..]).await.unwrap();
    assert_eq!([read(0).await, read(1024).await, read(2048).await], [1024; 3]);
    connection.permitted();
    assert_eq!(read(3072).await, 928);
    end.write_all(&[7; 4000]).await.unwrap();
    assert_eq!(read(0).await, 4000);
    assert!(buffer[..4000].iter().all(|byte| *byte == 7));
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_memory_of_their_peer_and_of_all() {
    let limits = ConnectionLimits {
        message_memory: 100 << 10,
        peer_message_memory: 60 << 10,
        peer_waiting_messages: 2,
        ..ConnectionLimits::default()
    };
    let peers = Peers::new(limits);
    let (streams, _ends) = accept(&peers, &[A, B]).await;
    let [a, b] = [0, 1].map(|at: usize| streams[at].connect_info().0);
    let reserve = |connection: &Arc<super::peers::Connection>, kib: usize| {
        timeout(Duration::from_secs(1), Arc::clone(connection).reserve(kib << 10))
    };
    let first = reserve(&a, 50).await.unwrap().unwrap();
    assert!(reserve(&a, 50).await.is_err(), "waits for the first message of the peer");
    let second = reserve(&b, 50).await.unwrap().unwrap();
    assert!(reserve(&b, 1).await.is_err(), "waits for memory of all");
    drop(first);
    assert!(reserve(&b, 1).await.unwrap().is_ok());
    assert!(reserve(&a, 1 << 20).await.is_err(), "a message larger than the memory waits for all of it");
    drop(second);
    let all = reserve(&a, 1 << 20).await.unwrap().unwrap();
    let waits = || tokio::spawn(Arc::clone(&a).reserve(50 << 10));
    let (one, two) = (waits(), waits());
    tokio::task::yield_now().await;
    let refused = Arc::clone(&a).reserve(50 << 10).await.unwrap_err();
    assert!(refused.message.contains("repeat the call"), "{refused}");
    drop(all);
    assert!(one.await.unwrap().is_ok() && two.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn messages_have_a_rate() {
    let peers = Peers::new(ConnectionLimits { peer_messages: 100, ..ConnectionLimits::default() });
    let (_stream, _end, connection) = one(&peers).await;
    let wait = |count| connection.0.messages(Instant::now(), count);
    assert_eq!(wait(400), Duration::ZERO, "four seconds of it at once");
    assert_eq!(wait(100), Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(wait(1), Duration::ZERO);
}

#[test]
fn a_network_of_ipv6_is_one_peer() {
    let key = |text: &str| PeerKey::of_address(text.parse().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    assert_ne!(key("10.0.0.2"), key("10.0.0.1"));
}

/// The row of a limit in the README.
fn row(name: &str, value: &str) -> String {
    format!("| `{name}` | {value} |")
}

#[test]
fn the_readme_lists_the_limits() {
    let readme = include_str!("../../../README.md");
    let ConnectionLimits {
        connections,
        peer_connections,
        first_request,
        idle,
        unread_response,
        connection_requests,
        peer_requests,
        header_bytes,
        message,
        message_memory,
        peer_message_memory,
        peer_waiting_messages,
        peer_messages,
        peer_overhead,
    } = Limits::default().connections;
    let time = |limit| humantime::format_duration(limit).to_string();
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let rows = [
        row("connections", &connections.to_string()),
        row("peer_connections", &peer_connections.to_string()),
        row("first_request", &time(first_request)),
        row("idle", &time(idle)),
        row("unread_response", &time(unread_response)),
        row("connection_requests", &connection_requests.to_string()),
        row("peer_requests", &peer_requests.to_string()),
        row("header_bytes", &format!("{} KiB", header_bytes >> 10)),
        row("message", &time(message)),
        row("message_memory", &mib(message_memory)),
        row("peer_message_memory", &mib(peer_message_memory)),
        row("peer_waiting_messages", &peer_waiting_messages.to_string()),
        row("peer_messages", &peer_messages.to_string()),
        row("peer_overhead", &format!("{} MiB", peer_overhead >> 20)),
        row("workers", &crate::scheduler::worker_registry::MAX_WORKERS.to_string()),
        row("peer_joins", &crate::scheduler::worker_registry::MAX_RESERVED_BY_PEER.to_string()),
    ];
    for row in rows {
        assert!(readme.contains(&row), "{row}");
    }
    for (method, limit) in [
        ("Runs/Submit", "32 MiB"),
        ("Fleet/LlmCalls", "8 MiB"),
        ("Fleet/CommitShard", "2 MiB"),
        ("Fleet/Work", "2 MiB"),
        ("Runs/List", "64 KiB"),
    ] {
        let bytes = super::limits::largest_message(&format!("/k8s_auto_fix.v1.{method}"));
        let text = if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { mib(bytes) };
        assert_eq!(text, limit, "{method}");
    }
    assert!(readme.contains("| 32 MiB for `Submit`, 8 MiB for `LlmCalls`, 2 MiB for `CommitShard` and `Work`, 64 KiB for all others |"));
}
