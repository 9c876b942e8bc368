//! What is asked of a cluster, and what its answers mean.

use std::time::{Duration, Instant};

use api_server::{ConnectError, Unreachable};
use axum::http::HeaderValue;
use domain::api_server::ServerClass;
use serde_json::json;

use crate::fake::{Fake, answer, limits, pod, status};

#[tokio::test]
async fn the_text_is_sent_as_it_stands_to_where_its_kind_is_served() {
    let fake = Fake::start(|_| None).await;
    let server = fake.connect(limits()).await.unwrap();
    assert_eq!(server.version(), "v1.37.2");
    let text = "# a comment\nkind: Pod\napiVersion: v1\nmetadata: {name: a, name: a, namespace: 'b c'}\n";
    assert_eq!(server.judge(text).await.unwrap().class, ServerClass::Accepted);
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    assert_eq!(server.judge(deployment).await.unwrap().class, ServerClass::Accepted);
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    assert_eq!(server.judge(namespace).await.unwrap().class, ServerClass::Accepted);
    let sent: Vec<String> = fake.sent().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    let expected = [
        "POST /api/v1/namespaces/b%20c/pods?dryRun=All&fieldValidation=Strict",
        "POST /apis/apps/v1/namespaces/default/deployments?dryRun=All&fieldValidation=Strict",
        "POST /api/v1/namespaces?dryRun=All&fieldValidation=Strict",
    ];
    assert_eq!(sent, expected);
    let first = &fake.sent()[0];
    assert_eq!((first.body.as_str(), first.content_type.as_str()), (text, "application/yaml"));
}

#[tokio::test]
async fn refusals_are_verdicts_with_causes_and_warnings() {
    let fake = Fake::start(|seen| {
        seen.body.contains("name: bad").then(|| {
            let causes = json!({"causes": [{"field": "spec.a", "reason": "FieldValueRequired", "message": "Required value"}]});
            let mut response = status(422, "Invalid", "Pod \"bad\" is invalid: spec.a: Required value", &causes);
            let warning = HeaderValue::from_static("299 - \"old \\\"thing\\\"\"");
            response.headers_mut().insert("warning", warning);
            response
        })
    })
    .await;
    let server = fake.connect(limits()).await.unwrap();
    let found = server.judge(&pod("bad")).await.unwrap();
    assert_eq!((found.class, found.code), (ServerClass::Invalid, 422));
    assert_eq!(found.errors(), ["spec.a: Required value"]);
    assert_eq!(found.warnings, ["old \"thing\""]);
    assert_eq!(server.judge(&pod("good")).await.unwrap().class, ServerClass::Accepted);
}

#[tokio::test]
async fn what_needs_no_server_is_not_sent() {
    let fake = Fake::start(|_| None).await;
    let server = fake.connect(limits()).await.unwrap();
    let cases = [
        ("apiVersion: a/v1\nkind: B\n", ServerClass::UnknownKind, 0),
        ("kind: Pod\n", ServerClass::Decode, 0),
        ("a: [", ServerClass::Unparsable, 0),
        ("apiVersion: v1\nkind: Pod\nmetadata: {namespace: a/../b}\n", ServerClass::Namespace, 404),
        ("apiVersion: v1\nkind: Pod\nmetadata: {namespace: '..'}\n", ServerClass::Namespace, 404),
    ];
    for (text, class, code) in cases {
        let found = server.judge(text).await.unwrap();
        assert_eq!((found.class, found.code), (class, code), "{text}");
    }
    assert!(fake.sent().is_empty(), "{:?}", fake.sent());
}

#[tokio::test]
async fn the_worst_entry_of_a_list_counts() {
    let fake = Fake::start(|seen| {
        seen.body.contains("\"name\":\"bad\"").then(|| {
            status(400, "BadRequest", "Pod in version \"v1\" cannot be handled as a Pod: x", &json!({}))
        })
    })
    .await;
    let server = fake.connect(limits()).await.unwrap();
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nitems: [{items}]\n");
    let entry = |name: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}}}");
    let class = async |text: String| server.judge(&text).await.unwrap().class;
    assert_eq!(class(list(&format!("{}, {}", entry("a"), entry("bad")))).await, ServerClass::Decode);
    assert_eq!(class(list(&entry("a"))).await, ServerClass::Accepted);
    assert_eq!(class(list(&format!("{}, {{}}", entry("a")))).await, ServerClass::Decode);
    let twice = "{apiVersion: v1, kind: Pod, metadata: {name: a, name: b}}";
    assert_eq!(class(list(twice)).await, ServerClass::StrictDecoding);
    assert_eq!(class(list("")).await, ServerClass::Accepted);
}

#[tokio::test]
async fn an_object_that_exists_is_asked_about_as_an_update() {
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "POST" => Some(status(409, "AlreadyExists", "pods \"a\" already exists", &json!({}))),
        "PATCH" if seen.path.contains("/bad?") => {
            let causes =
                json!({"causes": [{"field": "spec", "reason": "FieldValueForbidden", "message": "Forbidden: immutable"}]});
            Some(status(422, "Invalid", "x", &causes))
        }
        _ => None,
    })
    .await;
    let server = fake.connect(limits()).await.unwrap();
    assert_eq!(server.judge(&pod("a")).await.unwrap().class, ServerClass::Conflict);
    assert_eq!(server.judge(&pod("bad")).await.unwrap().errors(), ["spec: Forbidden: immutable"]);
    let sent = fake.sent();
    let applied = &sent[1];
    assert_eq!(applied.content_type, "application/apply-patch+yaml");
    let path = "/api/v1/namespaces/default/pods/a?dryRun=All&fieldValidation=Strict&fieldManager=k8s-auto-fix&force=true";
    assert_eq!(applied.path, path);
}

#[tokio::test]
async fn nothing_is_ever_written_to_a_cluster() {
    let definition =
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.io}\n";
    let fake = Fake::start(|_| None).await;
    let mut server = fake.connect(limits()).await.unwrap();
    let flags = server.flags().to_owned();
    let prepared = server.prepare([definition, &pod("a")]).await.unwrap();
    assert_eq!((prepared.fixtures, prepared.definitions, server.flags()), (0, 0, flags.as_str()));
    assert!(fake.sent().is_empty(), "{:?}", fake.sent());
    for text in [definition, &pod("a"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n"] {
        server.judge(text).await.unwrap();
    }
    assert!(fake.sent().iter().all(|seen| seen.path.contains("?dryRun=All&")), "{:?}", fake.sent());
    server.stop().await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says() {
    let fake = Fake::start(|seen| {
        (seen.method == "POST" && seen.before < 2).then(|| {
            let mut response = status(429, "TooManyRequests", "slow down", &json!({}));
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
            response
        })
    })
    .await;
    let mut bounds = limits();
    bounds.longest_wait = Duration::from_millis(150);
    let server = fake.connect(bounds).await.unwrap();
    let start = Instant::now();
    assert_eq!(server.judge(&pod("a")).await.unwrap().class, ServerClass::Accepted);
    assert_eq!(fake.sent().len(), 3);
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "as long as the limit lets it wait: {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_stays_busy_gives_no_verdict() {
    for code in [429, 502, 503, 504] {
        let fake = Fake::start(move |seen| {
            (seen.method == "POST").then(|| status(code, "ServiceUnavailable", "later", &json!({})))
        })
        .await;
        let server = fake.connect(limits()).await.unwrap();
        let error = server.judge(&pod("a")).await.unwrap_err();
        assert!(matches!(error, Unreachable::Busy { attempts: 3, .. }), "{error}");
        assert_eq!(fake.sent().len(), 3);
    }
}

#[tokio::test]
async fn a_server_that_fails_at_one_document_has_answered() {
    let fake = Fake::start(|seen| {
        (seen.method == "POST")
            .then(|| status(500, "InternalError", "Internal error occurred: x", &json!({})))
    })
    .await;
    let server = fake.connect(limits()).await.unwrap();
    let found = server.judge(&pod("a")).await.unwrap();
    assert_eq!((found.class, found.code), (ServerClass::Other, 500));
    assert_eq!(fake.sent().len(), 3, "it is asked again before");
}

#[tokio::test]
async fn an_old_server_is_refused_before_it_is_asked() {
    let fake = Fake::start(|seen| {
        (seen.path == "/version").then(|| answer(200, json!({"gitVersion": "v1.26.4"}).to_string()))
    })
    .await;
    let error = fake.connect(limits()).await.unwrap_err();
    assert!(matches!(&error, ConnectError::TooOld { version, .. } if version == "v1.26.4"), "{error}");
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let fake = Fake::slow(Duration::from_millis(20), |_| None).await;
    let mut bounds = limits();
    bounds.in_flight = 3;
    let server = fake.connect(bounds).await.unwrap();
    let texts: Vec<String> = (0..30).map(|number| pod(&format!("p{number}"))).collect();
    let found = futures::future::join_all(texts.iter().map(|text| server.judge(text))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!((fake.sent().len(), fake.most_at_once()), (30, 3));
}

#[tokio::test]
async fn another_cluster_has_other_flags() {
    let (one, two) = (Fake::start(|_| None).await, Fake::start(|_| None).await);
    let flags = async |fake: &Fake| fake.connect(limits()).await.unwrap().flags().to_owned();
    assert_eq!(flags(&one).await, flags(&one).await);
    assert_ne!(flags(&one).await, flags(&two).await);
}
