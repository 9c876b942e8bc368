//! One attempt is one call, for any behaviour of the server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use llm::client::{REPLY_BYTES, Timeouts};
use llm::error::{Failure, Phase, Refusal};

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
async fn a_redirect_is_not_followed() {
    let away = Server::start(Script::Send(http("200 OK", "", GOOD))).await;
    let location = format!("location: {}\r\n", away.endpoint);
    let server = Server::start(Script::Send(http("307 Temporary Redirect", &location, ""))).await;
    let reply = server.client(long_timeouts()).ask(&server.question()).await;
    assert!(matches!(reply.result, Err(Failure::Refused(Refusal { status: Some(307), .. }))), "{reply:?}");
    assert_eq!(away.connections.load(Ordering::SeqCst), 0);
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
        matches!(client.ask(&question).await.result, Err(Failure::Connect { host, .. }) if host == "127.0.0.1")
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
