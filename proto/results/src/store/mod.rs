//! Storage of results: an object store given by a URL or by a plain path.
//!
//! *Invariant*: an object is visible whole or not at all, and durable once a call that wrote it has returned (on this
//! machine: file and folder are synced).

mod conditions;
mod error;
mod local;
mod location;
mod put;
#[cfg(feature = "remote")]
mod remote;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tempfile::NamedTempFile;

use crate::scan::Part;

use error::RequestFailed;
pub use error::StoreError;
pub use local::{rename, sweep_unfinished, unfinished};
pub use location::is_bucket_url;
use location::{Bucket, Location};
use put::Over;
pub use put::{Conditions, Put};
#[cfg(feature = "remote")]
pub use remote::Environment;

/// Largest object that is read into memory, where its size is not known before.
const MOST_BYTES: u64 = 1 << 30;

/// Where a store is.
#[derive(Debug, Clone)]
enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket behind a URL. Its errors repeat what a server sent.
    #[cfg_attr(not(feature = "remote"), expect(dead_code, reason = "built without buckets"))]
    Bucket,
    /// A store of another make.
    Given,
}

/// A folder of an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    folder: Key,
    place: Place,
    location: String,
    /// Folder for files on their way, where the store is elsewhere.
    scratch: PathBuf,
    /// What a probe has found.
    conditions: Arc<OnceLock<Conditions>>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key, relative to the store.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Store {
    /// Opens the store at `location`: a path (made when missing), or a URL. A URL names bucket and prefix alone; the
    /// credentials come from the environment of this process. No request is made.
    pub fn open(location: &str) -> Result<Self, StoreError> {
        match Location::parse(location)? {
            Location::Folder(path) => Self::local(&path),
            Location::Bucket(bucket) => Self::bucket(bucket),
        }
    }

    #[cfg(feature = "remote")]
    fn bucket(bucket: Bucket) -> Result<Self, StoreError> {
        Self::in_bucket(bucket, &Environment::of_process())
    }

    #[cfg(not(feature = "remote"))]
    fn bucket(bucket: Bucket) -> Result<Self, StoreError> {
        Err(StoreError::NotBuilt { location: bucket.location(), scheme: bucket.scheme.as_str() })
    }

    /// Like [`Store::open`], with the credentials in `environment`.
    #[cfg(feature = "remote")]
    pub fn open_with(location: &str, environment: &Environment) -> Result<Self, StoreError> {
        match Location::parse(location)? {
            Location::Folder(path) => Self::local(&path),
            Location::Bucket(bucket) => Self::in_bucket(bucket, environment),
        }
    }

    #[cfg(feature = "remote")]
    fn in_bucket(bucket: Bucket, environment: &Environment) -> Result<Self, StoreError> {
        let inner = remote::open(&bucket, environment)?;
        let location = bucket.location();
        Ok(Self { folder: bucket.prefix, ..Self::at(inner, Place::Bucket, location) })
    }

    fn at(inner: Arc<dyn ObjectStore>, place: Place, location: String) -> Self {
        let (folder, scratch, conditions) = (Key::default(), std::env::temp_dir(), Arc::default());
        Self { inner, folder, place, location, scratch, conditions }
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
        Ok(Self::at(Arc::new(inner), Place::Folder(root), path.display().to_string()))
    }

    /// A store of any make, such as one in memory; `location` is for people.
    pub fn over(inner: Arc<dyn ObjectStore>, location: &str) -> Self {
        Self::at(inner, Place::Given, location.to_owned())
    }

    /// The same store, with its files on their way in `scratch` where it is elsewhere.
    #[must_use]
    pub fn with_scratch(self, scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned(), ..self }
    }

    /// The folder `name` of this store.
    pub fn folder(&self, name: &str) -> Result<Self, StoreError> {
        let folder = self.key(name)?;
        let place = match &self.place {
            Place::Folder(root) => Place::Folder(root.join(name)),
            elsewhere => elsewhere.clone(),
        };
        let location = format!("{}/{name}", self.location.trim_end_matches('/'));
        Ok(Self { folder, place, location, ..self.clone() })
    }

    /// The path or URL it was opened by.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Where `key` lies on this machine; `None` when the store is elsewhere.
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(root) => Some(root.join(key)),
            Place::Bucket | Place::Given => None,
        }
    }

    /// Whether it is a folder of this machine.
    pub const fn is_local(&self) -> bool {
        matches!(self.place, Place::Folder(_))
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
        let conditional = over == Over::Keep && self.conditions.get() != Some(&Conditions::Ignored);
        let mode = if conditional { PutMode::Create } else { PutMode::Overwrite };
        match self.inner.put_opts(&own, bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(Put::Written),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::AlreadyThere)
            }
            Err(source) => Err(self.failed("write", key, source)),
        }
    }

    /// Writes `key` unless it exists, whatever was found of conditions; `None`: the store knows none.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<Option<Put>, StoreError> {
        let put = self.inner.put_opts(&self.key(key)?, bytes.into(), PutOptions::from(PutMode::Create)).await;
        match put {
            Ok(_) => Ok(Some(Put::Written)),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Some(Put::AlreadyThere))
            }
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                Ok(None)
            }
            Err(source) => Err(self.failed("write", key, source)),
        }
    }

    /// Gives a complete file its key unless that exists. On this machine the file is linked into place, so it should lie
    /// in the store's own folder ([`Store::scratch`]); elsewhere its bytes are sent, those of a large file in pieces and over
    /// what is there: its key should hold the hash of its content.
    pub async fn put_file(&self, key: &str, file: NamedTempFile) -> Result<Put, StoreError> {
        self.key(key)?;
        match self.local_path(key) {
            Some(path) => {
                let named = blocking(move || local::name(file, &path, Over::Keep)).await;
                named.map_err(|error| self.failed_io("write", key, error))
            }
            None => self.upload(key, file.path()).await,
        }
    }

    /// Sends a file, which stays, to a store elsewhere, like [`Store::put_file`].
    pub async fn send_file(&self, key: &str, path: &Path) -> Result<Put, StoreError> {
        self.upload(key, path).await
    }

    /// A folder for files that [`Store::put_file`] will take.
    pub fn scratch(&self) -> PathBuf {
        match &self.place {
            Place::Folder(root) => root.clone(),
            Place::Bucket | Place::Given => self.scratch.clone(),
        }
    }

    /// The bytes of `key`, which fit into memory.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.get_within(key, MOST_BYTES).await
    }

    /// The bytes of `key`, at most so many.
    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let failed = |source| self.failed("read", key, source);
        let found = self.inner.get(&self.key(key)?).await.map_err(failed)?;
        if found.meta.size > most {
            let (location, key, found) = (self.location.clone(), key.to_owned(), found.meta.size);
            return Err(StoreError::Size { location, key, found, expected: format!("more than {most}") });
        }
        found.bytes().await.map_err(failed)
    }

    /// The part `key`: its path on this machine, or its content from elsewhere.
    pub async fn part(&self, key: &str) -> Result<Part, StoreError> {
        if self.is_local() { self.fetch(key, 0).await } else { self.fetch(key, self.size(key).await?).await }
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

    /// Deletes all of `keys`, many in one request where the store is elsewhere; a key that does not exist is not an error.
    pub async fn delete_all(&self, keys: Vec<String>) -> Result<(), StoreError> {
        let own = keys.iter().map(|key| self.key(key)).collect::<Result<Vec<_>, _>>()?;
        let mut deleted = self.inner.delete_stream(futures::stream::iter(own.into_iter().map(Ok)).boxed());
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(self.failed("delete", "", source)),
            }
        }
        Ok(())
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
            object_store::Error::NotFound { .. } if !error::lacks_bucket(&source) => {
                StoreError::Missing { location, key }
            }
            source if matches!(self.place, Place::Bucket) => {
                StoreError::Failed { action, location, key, source: Box::new(RequestFailed::of(&source)) }
            }
            source => StoreError::Failed { action, location, key, source: Box::new(source) },
        }
    }

    fn missing(&self, key: &str) -> StoreError {
        StoreError::Missing { location: self.location.clone(), key: key.to_owned() }
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
