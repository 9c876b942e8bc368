//! A file or standard input as a stream of plain bytes: gz is detected by its first two bytes and decompressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::file_error::FileError;

/// Unpacked bytes from which on the ratio is watched.
const WATCH_FROM: u64 = 16 << 20;

/// Unpacked over packed bytes at most. Published files reach 50; deflate ends at 1032.
const MAX_RATIO: u64 = 300;

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
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &str) -> Result<Self, FileError> {
        if path == "-" {
            return Self::from_reader("standard input", io::stdin());
        }
        let file = File::open(Path::new(path)).map_err(|error| FileError::open(path, error))?;
        let metadata = file.metadata().map_err(|error| FileError::open(path, error))?;
        if metadata.is_dir() {
            return Err(FileError::new(path, None, "is a folder", "name a file"));
        }
        Self::from_reader(path, file)
    }

    /// Takes any reader; `name` stands for it in errors.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> Result<Self, FileError> {
        let mut packed = BufReader::with_capacity(1 << 16, Counted { inner: reader, bytes: 0 });
        let head = packed.fill_buf().map_err(|error| FileError::read(name, None, error))?;
        let bytes: Box<dyn Read + Send> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(Unpacked { decoder: MultiGzDecoder::new(packed), bytes: 0 })
        } else {
            Box::new(packed)
        };
        Ok(Self { name: name.to_owned(), bytes })
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

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

struct Unpacked<R> {
    decoder: MultiGzDecoder<BufReader<Counted<R>>>,
    bytes: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("damaged gz after {} unpacked bytes: {error}", self.bytes))
        })?;
        self.bytes += read as u64;
        let packed = self.decoder.get_ref().get_ref().bytes.max(1);
        if self.bytes > WATCH_FROM && self.bytes / packed > MAX_RATIO {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("gz unpacks to more than {MAX_RATIO} times its size, which no corpus does"),
            ));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        let mut out = Vec::new();
        Input::from_reader("test", io::Cursor::new(bytes)).unwrap().read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn gz_is_told_by_its_bytes_and_may_have_members() {
        assert_eq!(read(b"[1]".to_vec()).unwrap(), b"[1]");
        assert_eq!(read([gz(b"[1,"), gz(b"2]")].concat()).unwrap(), b"[1,2]");
        assert_eq!(read(vec![]).unwrap(), b"");
    }

    #[test]
    fn a_cut_gz_is_an_error() {
        let packed = gz(&b"some text ".repeat(1000));
        let error = read(packed[..packed.len() - 6].to_vec()).unwrap_err();
        assert!(error.to_string().contains("damaged gz after"), "{error}");
    }

    #[test]
    fn a_bomb_ends_early() {
        let bomb = gz(&vec![b' '; 20 << 20]);
        let error = read(bomb).unwrap_err();
        assert!(error.to_string().contains("300 times"), "{error}");
    }
}
