//! Compressed streams, each with a limit on what it unpacks to.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::xz::Xz;

/// Unpacked bytes from which on the ratio is watched.
const WATCH_FROM: u64 = 16 << 20;

/// Largest window of zstd, as a power of two: what its decoder keeps in memory (and its own default).
const ZSTD_WINDOW: u32 = 27;

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gz,
    Zstd,
    Xz,
}

impl Packing {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gz),
            // A frame, or one that is skipped, as parallel compressors write first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gz => "gz",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    /// Unpacked over packed bytes at most. Published files reach 50 as gz and 160 as xz; deflate ends at 1032, and the others,
    /// which find repeats over megabytes, nowhere.
    const fn max_ratio(self) -> u64 {
        match self {
            Self::Gz => 300,
            Self::Zstd | Self::Xz => 2000,
        }
    }
}

/// The name of a form that is known and not read from a stream, and what to do about it.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const PACK: &str = "unpack it first, or pack it as gz, zst, xz or zip";
    Some(match head {
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("a bzip2 file", PACK),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("an lz4 file", PACK),
        [b'7', b'z', 0xbc, 0xaf, ..] => ("a 7z archive", PACK),
        [b'R', b'a', b'r', b'!', ..] => ("a rar archive", PACK),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => {
            ("a zip archive inside another stream", "name the zip itself: its list of files is at its end")
        }
        [b'P', b'A', b'R', b'1', ..] => {
            ("a Parquet file", "name it as the corpus, not packed and not on standard input")
        }
        _ => return None,
    })
}

/// How much may still come out of packed bytes.
#[derive(Debug)]
pub struct Budget {
    name: &'static str,
    max_ratio: u64,
    bytes: u64,
}

impl Budget {
    /// That of a deflated member of an archive.
    pub const fn of_zip() -> Self {
        Self { name: "zip", max_ratio: Packing::Gz.max_ratio(), bytes: 0 }
    }

    /// Counts `read` unpacked bytes, of `packed` in all.
    ///
    /// # Errors
    /// When that is more than any corpus unpacks to.
    pub fn spend(&mut self, read: u64, packed: u64) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(read);
        if self.bytes > WATCH_FROM && self.bytes / packed.max(1) > self.max_ratio {
            let (name, ratio) = (self.name, self.max_ratio);
            let what = format!("{name} unpacks to more than {ratio} times its size, which no corpus does");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
    }
}

/// Unpacks a stream. After an error it ends.
pub(super) struct Unpacked {
    decoder: Box<dyn Read + Send>,
    packed: Arc<AtomicU64>,
    budget: Budget,
    is_failed: bool,
}

impl Unpacked {
    pub(super) fn new(packing: Packing, reader: impl Read + Send + 'static) -> io::Result<Self> {
        let packed = Arc::new(AtomicU64::new(0));
        let counted =
            BufReader::with_capacity(1 << 16, Counted { inner: reader, bytes: Arc::clone(&packed) });
        let decoder: Box<dyn Read + Send> = match packing {
            Packing::Gz => Box::new(MultiGzDecoder::new(counted)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
            Packing::Xz => Box::new(Xz::new(counted)),
        };
        let budget = Budget { name: packing.name(), max_ratio: packing.max_ratio(), bytes: 0 };
        Ok(Self { decoder, packed, budget, is_failed: false })
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_failed {
            return Ok(0);
        }
        let (name, before) = (self.budget.name, self.budget.bytes);
        let read = self.decoder.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("damaged {name} after {before} unpacked bytes: {error}"))
        });
        let read = read.and_then(|read| {
            self.budget.spend(read as u64, self.packed.load(Ordering::Relaxed)).map(|()| read)
        });
        self.is_failed = read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}

struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
