//! Redirects: followed on the origin of the provider with method, body and key, and nowhere else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use llm::error::{Failure, Refusal};

use crate::support::{Script, Server, http, long_timeouts};

const GOOD: &str =
    r#"{"choices":[{"message":{"content":"[]"},"finish_reason":"stop"}],"usage":{"total_tokens":4}}"#;

const STATUSES: [&str; 5] = [
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
];

/// A provider that redirects its usual path to `location`, and answers every other path.
async fn redirecting(status: &str, location: &str) -> Server {
    let (status, location) = (status.to_owned(), location.to_owned());
    Server::start(Script::Reply(Arc::new(move |request: &str| {
        if request.starts_with("POST /v1/chat/completions HTTP") {
            http(&status, &format!("location: {location}\r\n"), "").into_bytes()
        } else {
            http("200 OK", "", GOOD).into_bytes()
        }
    })))
    .await
}

fn number(status: &str) -> u16 {
    status.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn on_the_same_origin_307_and_308_are_followed_and_the_others_named() {
    for status in STATUSES {
        for location in ["/v1/chat/completions/", "completions/", "/moved?to=here"] {
            let server = redirecting(status, location).await;
            let reply = server.client(long_timeouts()).ask(&server.question()).await;
            let seen = server.seen.lock().unwrap().clone();
            if number(status) < 307 {
                let Err(Failure::Redirected { status: shown, location }) = &reply.result else {
                    panic!("{status} {location}: {reply:?}")
                };
                assert_eq!(*shown, number(status));
                assert!(location.starts_with("http://127.0.0.1:") && !location.contains('?'), "{location}");
                assert_eq!(seen.len(), 1, "{status} {location}");
                continue;
            }
            assert_eq!(reply.result.unwrap().content, "[]", "{status} {location}");
            let [first, second] = &seen[..] else { panic!("{status} {location}: {seen:?}") };
            let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
            assert!(
                second.starts_with("POST /") && !body(first).is_empty() && body(first) == body(second),
                "{second}"
            );
            let second = second.to_ascii_lowercase();
            assert!(second.contains("authorization: bearer top-secret-key\r\n"), "{second}");
            assert!(!second.contains("referer"), "{second}");
        }
    }
}

#[tokio::test]
async fn no_redirect_leads_to_another_origin() {
    for status in STATUSES {
        let away = Server::start(Script::Send(http("200 OK", "", GOOD))).await;
        let port = away.endpoint.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
        for (location, shown) in [
            (away.endpoint.clone(), away.endpoint.clone()),
            (format!("http://localhost:{port}/v1"), format!("http://localhost:{port}/v1")),
            (format!("https://127.0.0.1:{port}/v1"), format!("https://127.0.0.1:{port}/v1")),
            (format!("//127.0.0.1:{port}/v1"), format!("http://127.0.0.1:{port}/v1")),
            (
                format!("http://user:hunter2@127.0.0.1:{port}/v1?key=hunter2"),
                format!("http://127.0.0.1:{port}/v1"),
            ),
            ("ftp://127.0.0.1/v1".to_owned(), "ftp://127.0.0.1/v1".to_owned()),
        ] {
            let server = redirecting(status, &location).await;
            let reply = server.client(long_timeouts()).ask(&server.question()).await;
            let expected = Failure::Redirected { status: number(status), location: shown.clone() };
            assert_eq!(reply.result, Err(expected), "{status} {location}");
            let said = reply.result.unwrap_err().to_string();
            assert!(said.contains(&shown) && said.contains("set it as the endpoint"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert_eq!(away.connections.load(Ordering::SeqCst), 0, "{status}: nothing was sent away");
    }
}

#[tokio::test]
async fn the_same_host_with_another_scheme_or_port_is_another_origin() {
    for status in STATUSES {
        let server = Server::start(Script::Reply(Arc::new(move |request: &str| {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().trim();
            http(status, &format!("location: https://{host}/v1/chat/completions\r\n"), "").into_bytes()
        })))
        .await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        assert!(
            matches!(&reply.result, Err(Failure::Redirected { location, .. }) if location.starts_with("https://127.0.0.1:")),
            "{status}: {reply:?}"
        );
        assert_eq!(server.seen.lock().unwrap().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    for status in STATUSES {
        let server = redirecting(status, "/v1/chat/completions").await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        let failure = reply.result.unwrap_err();
        assert!(
            matches!(failure, Failure::RedirectLoop { status: shown, .. } if shown == number(status)),
            "{status}: {failure:?}"
        );
        let said = failure.to_string();
        assert!(said.contains("without an end") && !said.contains("another address"), "{said}");
        let calls = server.seen.lock().unwrap().len();
        assert_eq!(calls, if number(status) < 307 { 1 } else { 6 }, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_without_an_address_is_a_refusal() {
    for status in STATUSES {
        let server = Server::start(Script::Send(http(status, "", ""))).await;
        let reply = server.client(long_timeouts()).ask(&server.question()).await;
        let expected = Refusal { status: Some(number(status)), ..Refusal::default() };
        assert_eq!(reply.result, Err(Failure::Refused(expected)), "{status}");
    }
}
