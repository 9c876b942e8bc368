//! What is no API server, or a hostile one: an error, never a verdict, in bounded time and memory.

use std::time::{Duration, Instant};

use api_server::{ApiServer, ConnectError, Limits, Source, Unreachable};
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use domain::api_server::ServerClass;
use futures::StreamExt as _;
use serde_json::json;

use crate::fake::{Fake, answer, limits, pod, status};

/// What a fake gives that answers questions with `body`.
async fn judged(code: u16, body: fn() -> Body) -> Result<ServerClass, Unreachable> {
    let fake = Fake::start(move |seen| (seen.method == "POST").then(|| answer(code, body()))).await;
    let server = fake.connect(limits()).await.unwrap();
    server.judge(&pod("a")).await.map(|verdict| verdict.class)
}

#[tokio::test]
async fn a_page_is_no_verdict() {
    let page = || Body::from("<html>signed in</html>");
    for code in [200, 201, 204, 300, 301, 400, 403, 404, 418, 422] {
        let error = judged(code, page).await.unwrap_err();
        assert!(matches!(error, Unreachable::NotAnApiServer { .. }), "{code}: {error}");
    }
    assert!(judged(201, Body::empty).await.is_err());
    assert!(judged(201, || Body::from(r#"{"kind": "Other"}"#)).await.is_err());
    assert!(judged(422, || Body::from(r#"{"kind": "Status", "message": 5}"#)).await.is_err());
    assert!(judged(302, || Body::from(r#"{"kind": "Status"}"#)).await.is_err());
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let endless = || {
        let piece = Bytes::from(vec![b' '; 64 << 10]);
        Body::from_stream(futures::stream::repeat(piece).take(100_000).map(Ok::<_, std::convert::Infallible>))
    };
    let error = judged(201, endless).await.unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn deep_and_long_answers_are_bounded() {
    let deep = || Body::from(format!(r#"{{"kind": "Status", "message": {}"#, "[".repeat(500_000)));
    assert!(judged(422, deep).await.is_err());
    let many = || {
        let cause = json!({"field": "a".repeat(2_000), "reason": "r", "message": "m"});
        let details = json!({"causes": vec![cause; 400]});
        Body::from(json!({"kind": "Status", "message": "x", "details": details}).to_string())
    };
    assert_eq!(judged(422, many).await, Ok(ServerClass::Invalid));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Fake::start(|_| None).await;
    let location = format!("http://{}/api/v1/namespaces/default/pods", other.address);
    let fake = Fake::start(move |seen| {
        (seen.method == "POST").then(|| {
            let mut response = status(307, "Moved", "elsewhere", &json!({}));
            response.headers_mut().insert("location", HeaderValue::from_str(&location).unwrap());
            response
        })
    })
    .await;
    let server = fake.connect(limits()).await.unwrap();
    let error = server.judge(&pod("a")).await.unwrap_err();
    assert!(matches!(error, Unreachable::NotAnApiServer { .. }), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let fake = Fake::slow(Duration::from_millis(400), |_| None).await;
    let mut bounds = limits();
    bounds.timeout = Duration::from_millis(100);
    let start = Instant::now();
    let error = fake.connect(bounds).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(Unreachable::Timeout { attempts: 3, .. })), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn where_nothing_listens_there_is_no_verdict() {
    let fake = Fake::start(|_| None).await;
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = std::fs::read_to_string(fake.kubeconfig()).unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.replace(&fake.address.to_string(), &format!("127.0.0.1:{port}"))).unwrap();
    let error = ApiServer::connect(&Source::Kubeconfig(path), limits()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable(Unreachable::Connection { attempts: 3, .. })),
        "{error}"
    );
}

#[tokio::test]
async fn refused_credentials_are_said_once_and_not_shown() {
    let fake = Fake::start(|seen| {
        (seen.path == "/version").then(|| status(401, "Unauthorized", "Unauthorized", &json!({})))
    })
    .await;
    let error = fake.connect(limits()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(Unreachable::Credentials { .. })), "{error}");
    assert_eq!(fake.seen().len(), 1, "asking again does not help");
    assert!(!format!("{error} {error:?}").contains("secret-token"));
}

#[tokio::test]
async fn discovery_that_is_none_is_refused() {
    for body in ["[]", "{\"kind\": \"APIVersions\"}", "{\"kind\": \"APIGroupDiscoveryList\", \"items\": 5}"] {
        let fake = Fake::start(move |seen| (seen.path == "/api").then(|| answer(200, body))).await;
        let error = fake.connect(limits()).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable(Unreachable::NotAnApiServer { .. })),
            "{body}: {error}"
        );
    }
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "{", "apiVersion: v1\nkind: Config\n", "\0"] {
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        let error =
            ApiServer::connect(&Source::Kubeconfig(path.clone()), Limits::default()).await.unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{text:?}: {error}");
    }
}
