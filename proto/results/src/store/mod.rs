//! Storage of results: an object store given by a URL or by a plain path.
//!
//! *Invariant*: an object is visible whole or not at all, and durable once a call that wrote it has returned (on this
//! machine: file and folder are synced).

mod local;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tempfile::NamedTempFile;

use crate::scan::Part;

use local::Over;
pub use local::{Put, rename, sweep_unfinished, unfinished};

/// A folder of an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    folder: Key,
    /// The folder on this machine, when the store is local.
    root: Option<PathBuf>,
    location: String,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key, relative to the store.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum StoreError {
    /// A kind of store this build does not have.
    #[error(
        "{location}: this build has no '{scheme}' stores; build the `results` crate with `object_store/{feature}`, or \
         name a folder"
    )]
    NotBuilt { location: String, scheme: String, feature: &'static str },
    /// An unknown URL scheme.
    #[error("{location}: unknown scheme '{scheme}'; use a path or file://, s3://, gs:// or az://")]
    UnknownScheme { location: String, scheme: String },
    /// A `file://` URL that names no absolute path on this machine.
    #[error("{0}: a file URL has the form file:///absolute/path")]
    BadFileUrl(String),
    /// The folder cannot be made or opened.
    #[error("cannot open the folder {}: {}; name a folder that can be written to", path.display(), why(error))]
    Folder { path: PathBuf, error: std::io::Error },
    /// An empty text.
    #[error("the folder has no name; . is the current one")]
    NoName,
    /// A key that the store cannot hold.
    #[error("{0:?} is not a legal key")]
    BadKey(String),
    /// There is no such object.
    #[error("{location}/{key} does not exist")]
    Missing { location: String, key: String },
    /// An operation of the store failed.
    #[error("cannot {action} {location}/{key}: {source}")]
    Failed {
        action: &'static str,
        location: String,
        key: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is in the way of a folder.
fn why(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => "a file of that name is in its place".to_owned(),
        std::io::ErrorKind::NotADirectory => "a part of the path is a file".to_owned(),
        _ => error.to_string(),
    }
}

impl Store {
    /// Opens the store at `location`: a path (made when missing), or a URL.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        match split_scheme(location) {
            None => Self::local(Path::new(location)),
            Some("file") => {
                let path =
                    file_url_path(location).ok_or_else(|| StoreError::BadFileUrl(location.to_owned()))?;
                Self::local(&path)
            }
            Some(scheme) => {
                let (location, scheme) = (location.to_owned(), scheme.to_owned());
                match scheme.as_str() {
                    "s3" | "s3a" => Err(StoreError::NotBuilt { location, scheme, feature: "aws" }),
                    "gs" => Err(StoreError::NotBuilt { location, scheme, feature: "gcp" }),
                    "az" | "azure" | "abfs" | "abfss" | "adl" => {
                        Err(StoreError::NotBuilt { location, scheme, feature: "azure" })
                    }
                    _ => Err(StoreError::UnknownScheme { location, scheme }),
                }
            }
        }
    }

    /// Opens a folder of this machine, made when missing.
    pub fn local(path: &Path) -> Result<Self, StoreError> {
        if path.as_os_str().is_empty() {
            return Err(StoreError::NoName);
        }
        let folder = |source| StoreError::Folder { path: path.to_owned(), error: source };
        std::fs::create_dir_all(path).map_err(folder)?;
        let root = path.canonicalize().map_err(folder)?;
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| folder(std::io::Error::other(source)))?
            .with_fsync(true);
        let location = path.display().to_string();
        Ok(Self { inner: Arc::new(inner), folder: Key::default(), root: Some(root), location })
    }

    /// A store of any make, such as one in memory; `location` is for people.
    pub fn over(inner: Arc<dyn ObjectStore>, location: &str) -> Self {
        Self { inner, folder: Key::default(), root: None, location: location.to_owned() }
    }

    /// The folder `name` of this store.
    pub fn folder(&self, name: &str) -> Result<Self, StoreError> {
        let folder = self.key(name)?;
        let root = self.root.as_ref().map(|root| root.join(name));
        let location = format!("{}/{name}", self.location.trim_end_matches('/'));
        Ok(Self { inner: Arc::clone(&self.inner), folder, root, location })
    }

    /// The path or URL it was opened by.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Where `key` lies on this machine; `None` when the store is elsewhere.
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(key))
    }

    /// Writes `key` unless it exists; of several writers exactly one gets [`Put::Written`].
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put, StoreError> {
        self.write(key, bytes, Over::Keep).await
    }

    /// Writes `key`, over what is there.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(key, bytes, Over::Replace).await.map(drop)
    }

    async fn write(&self, key: &str, bytes: Bytes, over: Over) -> Result<Put, StoreError> {
        let own = self.key(key)?;
        if let Some(path) = self.local_path(key) {
            let written = blocking(move || local::write(&path, &bytes, over)).await;
            return written.map_err(|error| self.failed_io("write", key, error));
        }
        let mode = if over == Over::Keep { PutMode::Create } else { PutMode::Overwrite };
        match self.inner.put_opts(&own, bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(Put::Written),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::AlreadyThere),
            Err(source) => Err(self.failed("write", key, source)),
        }
    }

    /// Gives a complete file its key unless that exists. On this machine the file is linked into place, so it should lie
    /// in the store's own folder ([`Store::scratch`]); elsewhere its bytes are sent.
    pub async fn put_file(&self, key: &str, file: NamedTempFile) -> Result<Put, StoreError> {
        self.key(key)?;
        let failed = |error| self.failed_io("write", key, error);
        let Some(path) = self.local_path(key) else {
            let bytes = blocking(move || std::fs::read(file.path())).await.map_err(failed)?;
            return self.put_if_absent(key, bytes.into()).await;
        };
        blocking(move || local::name(file, &path, Over::Keep)).await.map_err(failed)
    }

    /// A folder for files that [`Store::put_file`] will take.
    pub fn scratch(&self) -> PathBuf {
        self.root.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The bytes of `key`.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let read = async { self.inner.get(&self.key(key)?).await?.bytes().await.map_err(GetError::from) };
        read.await.map_err(|error| match error {
            GetError::Key(error) => error,
            GetError::Store(source) => self.failed("read", key, source),
        })
    }

    /// The part `key`: its path on this machine, or its bytes from elsewhere.
    pub async fn part(&self, key: &str) -> Result<Part, StoreError> {
        match self.local_path(key) {
            Some(path) if path.is_file() => Ok(Part::File(path)),
            Some(_) => Err(StoreError::Missing { location: self.location.clone(), key: key.to_owned() }),
            None => {
                let name = format!("{}/{key}", self.location);
                Ok(Part::Bytes { name, bytes: self.get(key).await? })
            }
        }
    }

    /// Every object, sorted by key; hidden ones, such as files that are still being written, are left out.
    pub async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let found: Vec<_> = self
            .inner
            .list(Some(&self.folder))
            .try_collect()
            .await
            .map_err(|source| self.failed("list", "", source))?;
        let mut listed: Vec<Listed> = found
            .into_iter()
            .filter_map(|object| {
                let parts: Vec<_> = object.location.prefix_match(&self.folder)?.collect();
                if parts.iter().any(|part| part.as_ref().starts_with('.')) {
                    return None;
                }
                let key = parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
                Some(Listed { key, bytes: object.size })
            })
            .collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    /// Deletes `key`; a key that does not exist is not an error.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.inner.delete(&self.key(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("delete", key, source)),
        }
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        let bad = || StoreError::BadKey(key.to_owned());
        let below = Key::parse(key).map_err(|_| bad())?;
        if below.as_ref().is_empty() || below.as_ref() != key {
            return Err(bad());
        }
        Ok(self.folder.parts().chain(below.parts()).collect())
    }

    fn failed(&self, action: &'static str, key: &str, source: object_store::Error) -> StoreError {
        let (location, key) = (self.location.clone(), key.to_owned());
        match source {
            object_store::Error::NotFound { .. } => StoreError::Missing { location, key },
            source => StoreError::Failed { action, location, key, source: Box::new(source) },
        }
    }

    fn failed_io(&self, action: &'static str, key: &str, source: std::io::Error) -> StoreError {
        let (location, key) = (self.location.clone(), key.to_owned());
        StoreError::Failed { action, location, key, source: Box::new(source) }
    }
}

/// Runs blocking disk I/O on the blocking threads of the runtime, if there is a runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(std::io::Error::other)?,
        Err(_) => work(),
    }
}

enum GetError {
    Key(StoreError),
    Store(object_store::Error),
}

impl From<StoreError> for GetError {
    fn from(error: StoreError) -> Self {
        Self::Key(error)
    }
}

impl From<object_store::Error> for GetError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

/// The scheme of a URL, in its own spelling; `None` for a path.
fn split_scheme(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once("://")?;
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    legal.then_some(scheme)
}

/// The absolute path of a `file://` URL, percent-decoded (RFC 3986 §2.1).
fn file_url_path(url: &str) -> Option<PathBuf> {
    let encoded = url.strip_prefix("file://")?;
    let encoded = encoded.strip_prefix("localhost").unwrap_or(encoded);
    if !encoded.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, left) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = left;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
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
                tokio::spawn(
                    async move { store.put_if_absent("r/p", vec![writer; 100].into()).await.unwrap() },
                )
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
        for (url, feature) in
            [("s3://b/k", "object_store/aws"), ("gs://b", "object_store/gcp"), ("az://c", "azure")]
        {
            let message = Store::open(url).unwrap_err().to_string();
            assert!(message.contains(feature), "{message}");
        }
        assert!(matches!(Store::open("ftp://x"), Err(StoreError::UnknownScheme { .. })));
        assert!(matches!(Store::open("file://host/x"), Err(StoreError::BadFileUrl(_))));
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/with%20blank", folder.path().display());
        let store = Store::open(&url).unwrap();
        assert!(store.local_path("x").unwrap().parent().unwrap().ends_with("with blank"));
    }
}
