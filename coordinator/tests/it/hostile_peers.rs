//! Clients that open connections, requests and messages and do not go on: each kind is bounded, and others are served.

use std::time::Duration;

use bytes::Bytes;
use coordinator::server::connections::ConnectionLimits;
use h2::client::SendRequest;
use proto::channel::{PROTOCOL_KEY, fleet_client, runs_client};
use proto::status::ErrorReason;
use proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::codegen::http::{Request, Response};

use crate::support::{Served, connection};

/// A limit that is soon passed.
const SOON: Duration = Duration::from_millis(300);

/// Longer than any step here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client of HTTP/2 sends first: the preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct Server {
    served: Served,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(limits: ConnectionLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let served = Served::start_with(folder.path(), "r", limits).await;
        Self { served, _folder: folder }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.served.url.strip_prefix("unix:").unwrap()).await.unwrap()
    }

    /// A raw client; its windows are empty when it does not want to read.
    async fn client(&self, reads: bool) -> SendRequest<Bytes> {
        let mut builder = h2::client::Builder::new();
        if !reads {
            builder.initial_window_size(0);
        }
        let (client, connection) = builder.handshake(self.connect().await).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Whether an honest client is served.
    async fn serves(&self) -> bool {
        let mut runs = runs_client(connection(&self.served.url));
        tokio::time::timeout(PATIENCE, runs.list(v1::ListRequest {})).await.is_ok_and(|listed| listed.is_ok())
    }

    async fn stop(self) {
        self.served.stop().await;
    }
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut UnixStream) {
    let mut bytes = [0; 1024];
    let end = async { while matches!(stream.read(&mut bytes).await, Ok(read) if read > 0) {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the connection is closed");
}

/// Opens a call and leaves its body open.
async fn open(
    client: &SendRequest<Bytes>,
    path: &str,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let request = Request::post(format!("http://c/k8s_auto_fix.v1.{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(PROTOCOL_KEY, proto::PROTOCOL_VERSION)
        .body(())
        .unwrap();
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request, false).unwrap()
}

/// The beginning of a message of `length` bytes of which `sent` are sent.
fn half_message(length: u32, sent: usize) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(std::iter::repeat_n(0, sent));
    bytes.into()
}

/// The reason in the head or the trailers of a response.
async fn reason(response: h2::client::ResponseFuture) -> Option<ErrorReason> {
    let response = tokio::time::timeout(PATIENCE, response).await.expect("the call ends").ok()?;
    let (head, mut body): (_, h2::RecvStream) = Response::into_parts(response);
    let trailers = tokio::time::timeout(PATIENCE, body.trailers()).await.expect("the call ends");
    let word = head.headers.get("k8s-auto-fix-reason").cloned();
    let word = word.or_else(|| trailers.ok()??.get("k8s-auto-fix-reason").cloned())?;
    ErrorReason::ALL.iter().copied().find(|reason| reason.as_str() == word)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_end_and_others_are_served() {
    let limits = ConnectionLimits { peer_connections: 9, first_request: SOON, ..ConnectionLimits::default() };
    let server = Server::start(limits).await;
    // One connection for all its calls: the server frees the place of a closed one a little later.
    let mut honest = runs_client(connection(&server.served.url));
    assert!(honest.list(v1::ListRequest {}).await.is_ok());
    let half_header = [PREFACE, b"\0\0\x20\x01\x00\0\0\0\x01"].concat();
    for beginning in [b"".as_slice(), b"PRI * HT", PREFACE, &half_header, b"GET / HTTP/1.1\r\nhost: c\r\n"] {
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = server.connect().await;
            stream.write_all(beginning).await.unwrap();
            streams.push(stream);
        }
        let mut beyond = server.connect().await;
        closed(&mut beyond).await;
        for stream in &mut streams {
            closed(stream).await;
        }
        let listed = tokio::time::timeout(PATIENCE, honest.list(v1::ListRequest {})).await;
        assert!(listed.is_ok_and(|listed| listed.is_ok()), "{beginning:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_ends_and_a_client_connects_again() {
    let limits = ConnectionLimits { idle: SOON, ..ConnectionLimits::default() };
    let server = Server::start(limits).await;
    let mut runs = runs_client(connection(&server.served.url));
    for _ in 0..2 {
        runs.list(v1::ListRequest {}).await.unwrap();
        tokio::time::sleep(3 * SOON).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_messages_are_bounded_and_end() {
    let limits = ConnectionLimits {
        message: 2 * SOON,
        message_memory: 256 << 10,
        peer_message_memory: 200 << 10,
        peer_waiting_messages: 2,
        ..ConnectionLimits::default()
    };
    let server = Server::start(limits).await;
    let client = server.client(true).await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        let (response, mut body) = open(&client, "Runs/Submit").await;
        body.send_data(half_message(150 << 10, 30 << 10), false).unwrap();
        calls.push((response, body));
    }
    assert!(server.serves().await, "small messages pass");
    let mut reasons = Vec::new();
    for (response, _body) in calls {
        reasons.push(reason(response).await);
    }
    let refused = reasons.iter().filter(|reason| **reason == Some(ErrorReason::TooMany)).count();
    let late = reasons.iter().filter(|reason| **reason == Some(ErrorReason::TimedOut)).count();
    assert!(refused >= 5 && late >= 1 && refused + late == 8, "{reasons:?}");
    assert!(server.serves().await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_refused_by_its_length() {
    let server = Server::start(ConnectionLimits::default()).await;
    let client = server.client(true).await;
    for (path, largest) in [
        ("Runs/Submit", 32 << 20),
        ("Fleet/CommitShard", 2 << 20),
        ("Fleet/Join", 64 << 10),
        ("Runs/Get", 64 << 10),
    ] {
        let (response, mut body) = open(&client, path).await;
        body.send_data(half_message(largest + 1, 0), false).unwrap();
        assert_eq!(reason(response).await, Some(ErrorReason::TooLarge), "{path}");
    }
    let name = "x".repeat(60 << 10);
    let mut fleet = fleet_client(connection(&server.served.url));
    let join = v1::JoinRequest {
        protocol_version: proto::PROTOCOL_VERSION,
        version: String::new(),
        worker: name.clone(),
        slots: 1,
    };
    let refused = fleet.join(join).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::BadMessage));
    assert!(refused.message().len() < 5000, "it is not repeated in full");
    let mut runs = runs_client(connection(&server.served.url));
    let refused = runs.get(v1::GetRequest { run_id: name }).await.unwrap_err();
    assert!(refused.message().len() < 5000, "{}", refused.message().len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_calls_of_a_peer_are_limited() {
    let limits = ConnectionLimits { peer_requests: 5, ..ConnectionLimits::default() };
    let server = Server::start(limits).await;
    let (one, two) = (server.client(true).await, server.client(true).await);
    let mut calls = Vec::new();
    for client in [&one, &two, &one, &two, &one] {
        calls.push(open(client, "Fleet/LlmCalls").await);
        // Its head shows that the call has begun.
        (&mut calls.last_mut().unwrap().0).await.unwrap();
    }
    assert_eq!(reason(open(&two, "Fleet/LlmCalls").await.0).await, Some(ErrorReason::TooMany));
    calls.clear();
    for _ in 0..100 {
        if server.serves().await {
            return server.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("calls that have ended still count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_disconnected() {
    let limits = ConnectionLimits { unread_response: SOON, ..ConnectionLimits::default() };
    let server = Server::start(limits).await;
    let client = server.client(false).await;
    let (response, mut body) = open(&client, "Runs/List").await;
    body.send_data(half_message(0, 0), true).unwrap();
    let (_, mut body) = response.await.unwrap().into_parts();
    let end = tokio::time::timeout(PATIENCE, body.data()).await.expect("the connection is closed");
    assert!(end.is_none_or(|end| end.is_err()));
    assert!(server.serves().await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_stops_no_other_client() {
    let limits = ConnectionLimits { peer_overhead: 1000, ..ConnectionLimits::default() };
    let server = Server::start(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let sink = tokio::spawn(async move {
        let mut bytes = vec![0; 1 << 16];
        while matches!(from.read(&mut bytes).await, Ok(read) if read > 0) {}
    });
    let ping = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let pings = ping.repeat(1000);
    // More than the buffers of the sockets hold: the coordinator does not read on.
    let flood = async {
        let mut sent = 0_usize;
        while sent < 64 << 20 && to.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), flood).await.is_err(), "the flood is slowed down");
    assert!(server.serves().await);
    sink.abort();
    server.stop().await;
}
