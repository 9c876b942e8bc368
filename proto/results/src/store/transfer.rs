//! Large objects to and from a bucket, piece by piece: memory holds a few pieces, whatever the size.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, WriteMultipart};
use tempfile::NamedTempFile;

use super::{Put, Store, StoreError, blocking, unfinished};
use crate::scan::Part;

/// Largest object that is sent in one request.
const WHOLE: u64 = 8 << 20;

/// Largest part that is read into memory: several are fetched at a time.
const WHOLE_PART: u64 = 1 << 20;

/// Bytes of a piece.
const PIECE: u64 = 8 << 20;

/// Most pieces of an upload; S3 takes 10,000.
const PIECES: u64 = 9_000;

/// Pieces under way at a time.
const UNDER_WAY: usize = 4;

impl Store {
    /// Sends a file to `key`. A large one goes in pieces and takes the place of what is there; a small one does not.
    pub(super) async fn upload(&self, key: &str, path: &Path) -> Result<Put, StoreError> {
        let io = |error| self.failed_io("write", key, error);
        let owned = path.to_owned();
        let opened = blocking(move || {
            let file = File::open(owned)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        });
        let (mut file, bytes) = opened.await.map_err(io)?;
        if bytes <= WHOLE {
            let read = blocking(move || {
                let mut whole = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
                file.read_to_end(&mut whole).map(|_| whole)
            });
            return self.put_if_absent(key, read.await.map_err(io)?.into()).await;
        }
        let own = self.key(key)?;
        let piece = usize::try_from(PIECE.max(bytes.div_ceil(PIECES))).unwrap_or(usize::MAX);
        let upload =
            self.inner.put_multipart(&own).await.map_err(|error| self.failed("write", key, error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, piece);
        if let Err(error) = self.send_pieces(key, file, piece, &mut upload).await {
            // What it has of the upload is not visible; a lifecycle rule of the bucket deletes it where this fails.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.finish().await.map(|_| Put::Written).map_err(|error| self.failed("write", key, error))
    }

    async fn send_pieces(
        &self,
        key: &str,
        file: File,
        piece: usize,
        upload: &mut WriteMultipart,
    ) -> Result<(), StoreError> {
        let file = Arc::new(file);
        loop {
            let reading = Arc::clone(&file);
            let read = blocking(move || read_piece(&reading, piece)).await;
            let bytes = read.map_err(|error| self.failed_io("write", key, error))?;
            if bytes.is_empty() {
                return Ok(());
            }
            let room = upload.wait_for_capacity(UNDER_WAY).await;
            room.map_err(|error| self.failed("write", key, error))?;
            upload.put(bytes);
        }
    }

    /// Reads `key`, of `bytes` bytes, into a new file in `folder`, range by range; `each` sees every range.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Size`] where it has other bytes, or what failed.
    pub async fn download(&self, key: &str, bytes: u64, folder: &Path) -> Result<NamedTempFile, StoreError> {
        let io = |error| self.failed_io("read", key, error);
        let own = self.key(key)?;
        self.has_size(key, bytes).await?;
        let folder = folder.to_owned();
        let mut file = blocking(move || {
            std::fs::create_dir_all(&folder)?;
            unfinished(&folder)
        })
        .await
        .map_err(io)?;
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + PIECE);
            let range =
                self.inner.get_range(&own, at..end).await.map_err(|error| self.failed("read", key, error))?;
            if range.len() as u64 != end - at {
                return Err(self.wrong_size(key, at + range.len() as u64, bytes));
            }
            file = blocking(move || file.write_all(&range).map(|()| file)).await.map_err(io)?;
            at = end;
        }
        Ok(file)
    }

    /// The size of `key`.
    pub async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let found = self.inner.head(&self.key(key)?).await;
        found.map(|meta| meta.size).map_err(|error| self.failed("read", key, error))
    }

    /// The part `key` of `bytes` bytes: its path on this machine; from elsewhere a small one in memory, a large one in a
    /// temporary file.
    pub async fn fetch(&self, key: &str, bytes: u64) -> Result<Part, StoreError> {
        if let Some(path) = self.local_path(key) {
            return if path.is_file() { Ok(Part::File(path)) } else { Err(self.missing(key)) };
        }
        let name = format!("{}/{key}", self.location);
        if bytes > WHOLE_PART {
            let file = self.download(key, bytes, &self.scratch()).await?;
            return Ok(Part::temporary(name, file.into_temp_path()));
        }
        let whole = self.get_within(key, bytes).await?;
        if whole.len() as u64 == bytes {
            Ok(Part::Bytes { name, bytes: whole })
        } else {
            Err(self.wrong_size(key, whole.len() as u64, bytes))
        }
    }

    async fn has_size(&self, key: &str, bytes: u64) -> Result<(), StoreError> {
        let found = self.size(key).await?;
        if found == bytes { Ok(()) } else { Err(self.wrong_size(key, found, bytes)) }
    }

    fn wrong_size(&self, key: &str, found: u64, expected: u64) -> StoreError {
        let (location, key) = (self.location.clone(), key.to_owned());
        StoreError::Size { location, key, found, expected: format!("not {expected}") }
    }
}

fn read_piece(file: &File, piece: usize) -> std::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(piece);
    file.take(piece as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
