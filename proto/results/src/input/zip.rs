//! Zip archives of strangers: members one after the other, each within a limit, none written under a name of its own.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};

use crate::file_error::{FileError, Place};
use crate::input::Budget;

/// What a zip begins with: a member, or the end of an empty archive.
const BEGINNINGS: [[u8; 4]; 2] = [*b"PK\x03\x04", *b"PK\x05\x06"];

/// Members that are counted before a member is read.
const FEW: usize = 1000;

/// An archive.
#[derive(Debug)]
pub struct Zip {
    path: String,
    archive: ZipArchive<FileReader>,
    /// Bytes of the archive.
    bytes: u64,
}

/// A member of an archive.
#[derive(Debug)]
pub struct Member<'a> {
    /// Its path as it is stored.
    pub name: &'a [u8],
    /// Where it stands in the archive.
    pub at: u64,
    /// Whether it is a regular file.
    pub is_regular: bool,
    /// Bytes of its content, as the archive says.
    pub size: u64,
    zip: &'a Zip,
    place: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    is_encrypted: bool,
}

impl Zip {
    /// The archive in `file`; `None` when it does not begin like one.
    pub fn of(path: &str, file: &File) -> Result<Option<Self>, FileError> {
        let mut head = [0; 4];
        if file.read_exact_at(&mut head, 0).is_err() || !BEGINNINGS.contains(&head) {
            return Ok(None);
        }
        let file = file.try_clone().map_err(|error| FileError::open(path, error))?;
        let bytes = file.metadata().map_err(|error| FileError::open(path, error))?.len();
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive =
            ZipArchive::from_file(file, &mut buffer).map_err(|error| damaged(path, None, &error))?;
        Ok(Some(Self { path: path.to_owned(), archive, bytes }))
    }

    /// Passes every member to `each`, in the order of the archive's own list.
    pub fn members(
        &self,
        mut each: impl FnMut(Member<'_>) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let mut entries = self.archive.entries(&mut buffer);
        let mut at = 0;
        while let Some(entry) = entries.next_entry().map_err(|error| damaged(&self.path, Some(at), &error))? {
            at = entry.local_header_offset();
            let path = entry.file_path();
            each(Member {
                name: path.as_ref(),
                at,
                is_regular: !entry.is_dir() && !entry.mode().is_symlink(),
                size: entry.uncompressed_size_hint(),
                zip: self,
                place: entry.wayfinder(),
                method: entry.compression_method(),
                is_encrypted: entry.flags().is_encrypted(),
            })?;
        }
        Ok(())
    }

    /// How many members are files that are not hidden, of the first thousand, and the name of the last of them.
    pub fn visible_files(&self) -> Result<(usize, Vec<u8>), FileError> {
        let (mut count, mut last) = (0, Vec::new());
        self.members(|member| {
            if member.is_visible_file() && count < FEW {
                count += 1;
                last = member.name.to_vec();
            }
            Ok(())
        })?;
        Ok((count, last))
    }

    /// The content of the only file that is not hidden, unpacked into a temporary file.
    pub fn only_file(&self) -> Result<File, FileError> {
        let (count, _) = self.visible_files()?;
        if count != 1 {
            let what = format!("is a zip archive of {count} files");
            return Err(FileError::new(&self.path, None, what, "name an archive of one file, or unpack it"));
        }
        let failed = |error| FileError::write("temporary file for the archive", error);
        let mut spool = tempfile::tempfile().map_err(failed)?;
        let mut budget = Budget::of_zip();
        self.members(|member| {
            if !member.is_visible_file() {
                return Ok(());
            }
            let unread = |error: io::Error| {
                let what = format!("holds a file that cannot be unpacked: {error}");
                let remedy = "pack it again, or name the file itself";
                FileError::new(&self.path, Some(Place::byte(member.at)), what, remedy).with_source(error)
            };
            let mut content = member.open().map_err(unread)?;
            let mut chunk = vec![0; 1 << 16];
            loop {
                let read = content.read(&mut chunk).map_err(unread)?;
                if read == 0 {
                    return Ok(());
                }
                budget.spend(read as u64, self.bytes).map_err(unread)?;
                spool.write_all(chunk.get(..read).unwrap_or_default()).map_err(failed)?;
            }
        })?;
        spool.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(spool)
    }

    /// Bytes of the archive.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Member<'_> {
    /// Whether it is a regular file, neither hidden nor in a hidden folder, nor what macOS adds.
    pub fn is_visible_file(&self) -> bool {
        let mut parts = self.name.split(|byte| *byte == b'/');
        self.is_regular && parts.all(|part| !part.starts_with(b".") && part != b"__MACOSX")
    }

    /// Its content, `most` bytes of it at most: more than a limit, so that what goes beyond it is seen.
    pub fn content(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Its content, unpacked as it is read; at its end length and checksum are compared.
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let unread = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
        if self.is_encrypted {
            return Err(unread("it is encrypted"));
        }
        let entry = self.zip.archive.get_entry(self.place).map_err(io::Error::other)?;
        let packed = entry.reader();
        Ok(match self.method {
            CompressionMethod::STORE => Box::new(entry.verifying_reader(packed)),
            CompressionMethod::DEFLATE => Box::new(entry.verifying_reader(DeflateDecoder::new(packed))),
            CompressionMethod::ZSTD => {
                Box::new(entry.verifying_reader(zstd::stream::read::Decoder::new(packed)?))
            }
            other => {
                let method = format!("{other:?}").replace("CompressionMethod::", "");
                let what = format!("it is packed as {method}, and only stored, deflate and zstd are read");
                return Err(unread(&what));
            }
        })
    }
}

fn damaged(path: &str, at: Option<u64>, error: &rawzip::Error) -> FileError {
    let what = format!("is a damaged zip archive: {error}");
    FileError::new(path, at.map(Place::byte), what, "fetch the archive again")
}
