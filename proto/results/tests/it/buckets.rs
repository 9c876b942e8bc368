//! Stores in buckets, against a server of S3.

use bytes::Bytes;
use results::scan::Part;
use results::store::{Conditions, Environment, Put, Store, StoreError};

use crate::s3_server::{S3Server, SECRET};

fn store(server: &S3Server, url: &str) -> Store {
    Store::open_with(url, &Environment::of(server.environment())).unwrap()
}

#[tokio::test]
async fn a_bucket_is_a_folder() {
    let Some(server) = S3Server::start(&[]) else { return };
    let around = store(&server, "s3://results/a/prefix");
    assert_eq!(around.probe().await.unwrap(), Conditions::Honoured);
    assert!(around.list().await.unwrap().is_empty(), "the probe leaves nothing");
    let run = around.folder("run-1").unwrap();
    assert_eq!(run.location(), "s3://results/a/prefix/run-1");
    assert_eq!(run.put_if_absent("parts/p", "one".into()).await.unwrap(), Put::Written);
    assert_eq!(run.put_if_absent("parts/p", "two".into()).await.unwrap(), Put::AlreadyThere);
    assert_eq!(run.get("parts/p").await.unwrap(), "one");
    run.put("run.json", "{}".into()).await.unwrap();
    run.put(".mark", "x".into()).await.unwrap();
    store(&server, "s3://results/a/prefix/run-10").put("x", "x".into()).await.unwrap();
    let keys: Vec<String> = run.list().await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, ["parts/p", "run.json"]);
    run.delete_all(vec!["parts/p".to_owned(), "none".to_owned(), ".mark".to_owned()]).await.unwrap();
    assert!(matches!(run.get("parts/p").await, Err(StoreError::Missing { .. })));
    assert!(matches!(run.get(".mark").await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn a_large_file_goes_and_comes_in_pieces() {
    let Some(server) = S3Server::start(&[]) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let store = store(&server, "s3://results/large").with_scratch(scratch.path());
    let content: Vec<u8> = (0..(21_u32 << 20)).map(|at| at.to_le_bytes()[1]).collect();
    let mut file = tempfile::NamedTempFile::new_in(scratch.path()).unwrap();
    std::io::Write::write_all(&mut file, &content).unwrap();
    assert_eq!(store.put_file("p", file).await.unwrap(), Put::Written);
    assert_eq!(store.size("p").await.unwrap(), content.len() as u64);
    let part = store.part("p").await.unwrap();
    let Part::Temporary { name, file } = &part else { panic!("{part:?}") };
    assert_eq!(name, "s3://results/large/p");
    assert!(file.starts_with(scratch.path()));
    assert_eq!(std::fs::read(file.as_ref()).unwrap(), content);
    drop(part);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    let wrong = store.fetch("p", 7).await.unwrap_err().to_string();
    assert!(wrong.contains("has 22020096 bytes"), "{wrong}");
    store.put("small", Bytes::from_static(b"12")).await.unwrap();
    assert!(matches!(store.part("small").await.unwrap(), Part::Bytes { bytes, .. } if bytes == "12"));
    assert!(matches!(store.fetch("small", 3).await, Err(StoreError::Size { .. })));
    assert!(matches!(store.part("none").await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn a_server_without_conditions_is_told() {
    let Some(server) = S3Server::start(&["--forgets-conditions"]) else { return };
    let store = store(&server, "s3://results/x");
    assert_eq!(store.probe().await.unwrap(), Conditions::Ignored);
    assert_eq!(store.put_if_absent("p", "one".into()).await.unwrap(), Put::Written);
    assert_eq!(store.put_if_absent("p", "one".into()).await.unwrap(), Put::Written);
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn requests_that_fail_are_repeated() {
    let Some(server) = S3Server::start(&["--fail-every", "4", "--slow-every", "5", "--slow-ms", "50"]) else {
        return;
    };
    let store = store(&server, "s3://results/x");
    assert_eq!(store.probe().await.unwrap(), Conditions::Honoured);
    for number in 0..20 {
        let (key, content) = (format!("p{number}"), format!("content {number}"));
        store.put_if_absent(&key, content.clone().into()).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), content.as_bytes());
    }
    assert_eq!(store.list().await.unwrap().len(), 20);
}

#[tokio::test]
async fn what_is_wrong_is_said_without_secrets() {
    let Some(server) = S3Server::start(&[]) else { return };
    let failed = store(&server, "s3://none/x").probe().await.unwrap_err();
    let said = format!("{failed} {failed:?}");
    assert!(said.contains("there is no such bucket") && said.contains("HTTP 404"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    let mut gone = server.environment();
    gone[0].1 = "http://127.0.0.1:1".to_owned();
    let failed = Store::open_with("s3://results/x", &Environment::of(gone)).unwrap().get("p").await;
    let said = failed.unwrap_err().to_string();
    assert!(said.contains("Connection refused"), "{said}");
}
