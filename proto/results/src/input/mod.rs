//! A file or standard input as a stream of plain bytes. Compression and encoding are told by the first bytes, not by the name.

pub mod encoding;
pub mod json;
mod packed;
#[cfg(test)]
mod tests;
mod utf16;
mod xz;
pub mod zip;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use crate::file_error::FileError;
use crate::input::encoding::TextEncoding;
use packed::{Packing, Unpacked, foreign};
use utf16::Utf16;

pub use packed::Budget;

/// Bytes by which a form is told.
const HEAD_BYTES: u64 = 8;

/// A named stream of unpacked bytes.
pub struct Input {
    name: String,
    bytes: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens a file, or standard input for `-`. A zip with one file in it stands for that file.
    pub fn open(path: &str) -> Result<Self, FileError> {
        if path == "-" {
            return Self::from_reader("standard input", io::stdin());
        }
        let file = File::open(Path::new(path)).map_err(|error| FileError::open(path, error))?;
        Self::from_file(path, file)
    }

    /// Takes a file that is open; `path` stands for it in errors. A zip with one file in it stands for that file.
    pub fn from_file(path: &str, file: File) -> Result<Self, FileError> {
        let metadata = file.metadata().map_err(|error| FileError::open(path, error))?;
        if metadata.is_dir() {
            return Err(FileError::new(path, None, "is a folder", "name a file"));
        }
        match zip::Zip::of(path, &file)? {
            Some(zip) => Self::from_reader(path, zip.only_file()?),
            None => Self::from_reader(path, file),
        }
    }

    /// Takes any reader; `name` stands for it in errors.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Result<Self, FileError> {
        let failed = |error| FileError::read(name, None, error);
        let (head, packed) = peek(reader).map_err(failed)?;
        let bytes: Box<dyn Read + Send> = match Packing::of(&head) {
            Some(packing) => Box::new(Unpacked::new(packing, packed).map_err(failed)?),
            None => match foreign(&head) {
                Some((form, remedy)) => {
                    return Err(FileError::new(
                        name,
                        None,
                        format!("is {form}, which is not read here"),
                        remedy,
                    ));
                }
                None => Box::new(packed),
            },
        };
        Ok(Self { name: name.to_owned(), bytes })
    }

    /// The same stream as UTF-8, where it is text in UTF-16 (Windows writes it): by its byte order mark, or by the zeros
    /// between its first characters.
    pub fn text(self) -> Result<Self, FileError> {
        let (head, bytes) = peek(self.bytes).map_err(|error| FileError::read(&self.name, None, error))?;
        let bytes: Box<dyn Read + Send> = match TextEncoding::of(&head) {
            TextEncoding::Utf8 => Box::new(bytes),
            encoding @ (TextEncoding::Utf16Le | TextEncoding::Utf16Be) => {
                Box::new(Utf16::new(bytes, encoding))
            }
            TextEncoding::Utf32 => {
                return Err(FileError::new(&self.name, None, "is text in UTF-32", "save it as UTF-8"));
            }
        };
        Ok(Self { name: self.name, bytes })
    }

    /// What it is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

/// The first bytes of a stream, and the whole stream.
fn peek<R: Read + Send + 'static>(mut reader: R) -> io::Result<(Vec<u8>, impl Read + Send + 'static)> {
    let mut head = Vec::new();
    (&mut reader).take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}
