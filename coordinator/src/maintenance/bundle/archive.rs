//! Writes an archive: a gzip-packed tar of plain files below one folder, the same bytes for the same members.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use domain::ids::RunId;
use flate2::Compression;
use flate2::write::GzEncoder;
use results::store::unfinished;
use tar::{Builder, EntryType, Header};

use super::manifest::Listed;

/// A file of a bundle.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    content: Content,
}

/// Content of a file of a bundle.
#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Member {
    pub(crate) fn bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: Content::Bytes(bytes.into()) }
    }

    pub(crate) fn file(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), content: Content::File(path) }
    }

    /// Its size; 0 where it cannot be read.
    pub(crate) fn size(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => path.metadata().map_or(0, |meta| meta.len()),
        }
    }

    /// Its entry in the manifest.
    pub(super) fn listed(&self) -> io::Result<Listed> {
        let mut hasher = blake3::Hasher::new();
        let bytes = match &self.content {
            Content::Bytes(bytes) => hasher.update(bytes).count(),
            Content::File(path) => hasher.update_reader(File::open(path)?)?.count(),
        };
        Ok(Listed { name: self.name.clone(), bytes, blake3: hasher.finalize().to_hex().to_string() })
    }
}

/// Writes the archive to `path`, which must not exist; it appears under its name when it is complete. Returns its size.
pub(crate) fn write(path: &Path, run_id: &RunId, members: &[Member]) -> io::Result<u64> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = unfinished(folder)?;
    let mut archive = Builder::new(GzEncoder::new(BufWriter::new(&file), Compression::default()));
    for member in members {
        let name = format!("{run_id}/{}", member.name);
        match &member.content {
            Content::Bytes(bytes) => append(&mut archive, &name, bytes.len() as u64, bytes.as_slice())?,
            Content::File(path) => {
                let content = File::open(path)?;
                let bytes = content.metadata()?.len();
                append(&mut archive, &name, bytes, content.take(bytes))?;
            }
        }
    }
    archive.into_inner()?.finish()?.flush()?;
    let bytes = file.as_file().metadata()?.len();
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(bytes)
}

/// Appends a file without owner, time and rights of its own.
fn append(
    archive: &mut Builder<impl io::Write>,
    name: &str,
    bytes: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    archive.append(&header, content)
}
