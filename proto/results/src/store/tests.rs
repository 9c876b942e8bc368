//! Tests of stores on this machine.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(&folder.path().join("results")).unwrap();
    (folder, store)
}

#[test]
fn a_folder_that_cannot_be_is_refused_with_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (path, expected) in [
        (file.clone(), "a file of that name is in its place; name a folder"),
        (file.join("below"), "a part of the path is a file; name a folder"),
        (PathBuf::from("/proc/none"), "cannot open the folder /proc/none: No such file"),
        (PathBuf::new(), "the folder has no name"),
    ] {
        let error = Store::open(&path.display().to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn exactly_one_writer_wins() {
    let (_folder, store) = store();
    let puts: Vec<_> = (0..8_u8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move { store.put_if_absent("r/p", vec![writer; 100].into()).await.unwrap() })
        })
        .collect();
    let mut written = 0;
    for put in puts {
        written += usize::from(put.await.unwrap() == Put::Written);
    }
    assert_eq!(written, 1);
    let bytes = store.get("r/p").await.unwrap();
    assert!(bytes.len() == 100 && bytes.iter().all(|byte| *byte == bytes[0]));
}

#[tokio::test]
async fn lists_sorted_and_relative_to_the_folder() {
    let (_folder, store) = store();
    let run = store.folder("run-1").unwrap();
    for key in ["b", "a", "sub/c"] {
        run.put(key, Bytes::from_static(b"12")).await.unwrap();
    }
    store.put("run-10", Bytes::new()).await.unwrap();
    let keys: Vec<String> = run.list().await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, ["a", "b", "sub/c"]);
    run.delete("a").await.unwrap();
    run.delete("a").await.unwrap();
    assert_eq!(run.list().await.unwrap().len(), 2);
    assert!(matches!(run.get("a").await, Err(StoreError::Missing { .. })));
    assert!(matches!(run.part("a").await, Err(StoreError::Missing { .. })));
    assert!(matches!(run.part("b").await, Ok(Part::File(path)) if path.ends_with("run-1/b")));
}

#[tokio::test]
async fn an_overwrite_leaves_nothing_beside_the_object() {
    let (folder, store) = store();
    store.put("run.json", Bytes::from_static(b"old")).await.unwrap();
    store.put("run.json", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(store.get("run.json").await.unwrap(), "new");
    assert_eq!(std::fs::read_dir(folder.path().join("results")).unwrap().count(), 1);
}

#[tokio::test]
async fn takes_a_finished_file_once() {
    let (_folder, store) = store();
    let file = |text: &str| {
        let mut file = NamedTempFile::new_in(store.scratch()).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file
    };
    let (first, second) = (file("first"), file("second"));
    assert!(store.list().await.unwrap().is_empty(), "files in the making are not listed");
    assert_eq!(store.put_file("p", first).await.unwrap(), Put::Written);
    assert_eq!(store.put_file("p", second).await.unwrap(), Put::AlreadyThere);
    assert_eq!(store.get("p").await.unwrap(), "first");
    assert_eq!(std::fs::read_dir(store.scratch()).unwrap().count(), 1);
}

#[test]
fn keys_stay_inside_the_store() {
    let (_folder, store) = store();
    for bad in ["", "../x", "a/../../x", "/x", "a//b", "a/./b", "a/"] {
        assert!(store.key(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn says_what_a_url_lacks() {
    #[cfg(not(feature = "remote"))]
    for url in ["s3://b/k", "gs://b", "az://c"] {
        let message = Store::open(url).unwrap_err().to_string();
        assert!(message.contains(url) && message.contains("has no"), "{message}");
    }
    assert!(matches!(Store::open("ftp://x"), Err(StoreError::UnknownScheme { .. })));
    assert!(matches!(Store::open("file://host/x"), Err(StoreError::BadFileUrl(_))));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/with%20blank", folder.path().display());
    let store = Store::open(&url).unwrap();
    assert!(store.local_path("x").unwrap().parent().unwrap().ends_with("with blank"));
}
