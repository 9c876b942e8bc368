//! One attempt is one call, for any behaviour of the server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use llm::client::{REPLY_BYTES, Timeouts};
use llm::error::{Failure, Phase};

use crate::support::{Script, Server, http, long_timeouts};

const GOOD: &str = r#"{"model":"m","choices":[{"message":{"content":"[]"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;

#[tokio::test]
async fn a_response_has_its_usage_and_the_connection_is_reused() {
    let headers = "x-ratelimit-limit-requests: 480\r\nx-ratelimit-remaining-requests: 479\r\n";
    let server = Server::start(Script::Send(http("200 OK", headers, GOOD))).await;
    let client = server.client(long_timeouts());
    for _ in 0..5 {
        let reply = client.ask(&server.question()).await;
        assert_eq!(reply.result.unwrap().content, "[]");
        assert_eq!(reply.usage.total, 4);
        assert_eq!(reply.headers.requests.limit, Some(480));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 5, "one attempt, one call");
    assert!(seen[0].to_ascii_lowercase().contains("authorization: bearer top-secret-key\r\n"), "{}", seen[0]);
}

#[tokio::test]
async fn a_refusal_keeps_its_status_and_wait() {
    let body = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let server = Server::start(Script::Send(http("429 Too Many Requests", "retry-after: 2\r\n", body))).await;
    let reply = server.client(long_timeouts()).ask(&server.question()).await;
    assert_eq!(reply.headers.retry_after, Some(Duration::from_secs(2)));
    assert_eq!(reply.result.unwrap_err().to_string(), "the provider answered 429: slow down");
}

#[tokio::test]
async fn each_timeout_is_distinguished() {
    let short = Duration::from_millis(150);
    let silent = Server::start(Script::SendAndHang(String::new())).await;
    let reply =
        silent.client(Timeouts { first_byte: short, ..long_timeouts() }).ask(&silent.question()).await;
    assert_eq!(reply.result, Err(Failure::Timeout(Phase::FirstByte)));
    let halting = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_owned();
    let slow = Server::start(Script::SendAndHang(halting)).await;
    let reply = slow.client(Timeouts { total: short, ..long_timeouts() }).ask(&slow.question()).await;
    assert_eq!(reply.result, Err(Failure::Timeout(Phase::Total)));
    assert!(reply.took >= short && reply.took < Duration::from_secs(10), "{:?}", reply.took);
}

#[tokio::test]
async fn a_broken_connection_is_a_failure() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"", "nonsense\r\n\r\n"] {
        let server = Server::start(Script::SendAndClose(bytes.to_owned())).await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        assert!(matches!(reply.result, Err(Failure::Reset(_))), "{bytes:?}: {reply:?}");
    }
    let server = Server::start(Script::Send(String::new())).await;
    let (client, question) = (server.client(long_timeouts()), server.question());
    server.stop().await;
    assert!(
        matches!(client.ask(&question).await.result, Err(Failure::Connect { host, proxy: None, .. }) if host == "127.0.0.1")
    );
}

#[tokio::test]
async fn the_length_of_a_body_is_bounded() {
    let body = format!("{{\"choices\": \"{}\"}}", "x".repeat(REPLY_BYTES + (1 << 20)));
    let server = Server::start(Script::Send(http("200 OK", "", &body))).await;
    let reply = server.client(long_timeouts()).ask(&server.question()).await;
    assert_eq!(reply.result, Err(Failure::TooLarge { limit: REPLY_BYTES }));
}

#[tokio::test]
async fn the_key_is_in_no_debug_output_or_error() {
    let server = Server::start(Script::SendAndClose(String::new())).await;
    let client = server.client(long_timeouts());
    let reply = client.ask(&server.question()).await;
    let shown = format!("{client:?} {reply:?} {}", reply.result.clone().unwrap_err());
    assert!(!shown.contains("top-secret"), "{shown}");
}

#[tokio::test]
async fn a_question_of_another_address_is_sent_to_the_own_provider() {
    let (own, other) = (
        Server::start(Script::Send(http("200 OK", "", GOOD))).await,
        Server::start(Script::Send(String::new())).await,
    );
    let reply = own.client(long_timeouts()).ask(&other.question()).await;
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(other.connections.load(Ordering::SeqCst), 0, "the key belongs to its own provider");
}

#[tokio::test]
async fn a_key_that_is_repeated_reaches_no_caller() {
    let body = r#"{"model":"top-secret-key","choices":[{"message":{"content":"with top-secret-key"},"finish_reason":"top-secret-key"}]}"#;
    for (status, body) in [
        ("200 OK", body),
        ("418 I am a teapot", r#"{"error":{"message":"top-secret-key","code":"top-secret-key"}}"#),
    ] {
        let server = Server::start(Script::Send(http(status, "", body))).await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        assert!(!format!("{reply:?}").contains("top-secret"), "{reply:?}");
        assert!(server.seen.lock().unwrap()[0].contains("top-secret-key"), "the provider has its key");
    }
}

/// Bytes of a body, packed or not, and what is said of them.
#[tokio::test]
async fn a_body_that_is_packed_is_read() {
    use std::io::Write;

    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let bomb = gzip(&" ".repeat(REPLY_BYTES + 1));
    let refused = r#"{"error":{"message":"slow down"}}"#;
    for (status, encoding, body, expected) in [
        ("200 OK", "content-encoding: gzip\r\n", gzip(GOOD), Ok("[]")),
        ("200 OK", "", gzip(GOOD), Ok("[]")),
        ("200 OK", "content-encoding: identity\r\n", GOOD.into(), Ok("[]")),
        (
            "200 OK",
            "content-encoding: br\r\n",
            b"\x0b\x02".to_vec(),
            Err("it is packed (br), which was not asked for"),
        ),
        ("200 OK", "content-encoding: gzip\r\n", bomb, Err("longer than")),
        ("200 OK", "content-encoding: gzip\r\n", gzip(GOOD)[..20].to_vec(), Err("does not unpack")),
        ("503 Unavailable", "content-encoding: gzip\r\n", gzip(refused), Err("answered 503: slow down")),
        ("503 Unavailable", "content-encoding: gzip\r\n", gzip(refused)[..20].to_vec(), Err("answered 503")),
        ("503 Unavailable", "content-encoding: br\r\n", b"\x0b\x02".to_vec(), Err("answered 503")),
    ] {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{encoding}\r\n", body.len());
        let bytes = [head.as_bytes(), &body].concat();
        let server = Server::start(Script::Reply(std::sync::Arc::new(move |_: &str| bytes.clone()))).await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        match (reply.result, expected) {
            (Ok(answer), Ok(content)) => assert_eq!(answer.content, content),
            (Err(failure), Err(said)) => assert!(failure.to_string().contains(said), "{encoding}: {failure}"),
            (result, expected) => panic!("{status} {encoding}: {result:?}, not {expected:?}"),
        }
        assert!(!server.seen.lock().unwrap()[0].to_ascii_lowercase().contains("accept-encoding"));
    }
}

#[tokio::test]
async fn a_wait_in_the_body_of_a_refusal_is_kept() {
    let body = r#"[{"error":{"code":429,"message":"Quota exceeded. Please retry in 2.5s.","status":"RESOURCE_EXHAUSTED"}}]"#;
    for status in ["429 Too Many Requests", "200 OK"] {
        let server = Server::start(Script::Send(http(status, "", body))).await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        assert_eq!(reply.headers.retry_after, Some(Duration::from_millis(2500)), "{status}");
        assert!(llm::retry::is_throttled(&reply.result.unwrap_err()), "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated() {
    let body = r#"{"choices":[{"message":{"content":"[]"},"finish_reason":"stop"}]}"#;
    let server = Server::start(Script::Send(http("200 OK", "", body))).await;
    let reply = server.client(long_timeouts()).ask(&server.question()).await;
    // "hello" is a token, a message four, "[]" one.
    assert_eq!(
        (reply.usage.prompt, reply.usage.completion, reply.usage.total, reply.usage.estimated),
        (5, 1, 6, 6)
    );
    assert_eq!(reply.result.unwrap().usage, reply.usage);
}
