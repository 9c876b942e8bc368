//! Text in UTF-16 as UTF-8, as it comes.

use std::io::{self, Read};

use crate::input::encoding::TextEncoding;

/// Bytes read at a time.
const CHUNK: usize = 1 << 14;

/// Reads UTF-16 and gives UTF-8, without a byte order mark.
pub(super) struct Utf16<R> {
    inner: R,
    encoding: TextEncoding,
    /// The first half of a unit, and of a pair of units.
    byte: Option<u8>,
    high: Option<u16>,
    /// Bytes read so far.
    at: u64,
    text: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) const fn new(inner: R, encoding: TextEncoding) -> Self {
        Self { inner, encoding, byte: None, high: None, at: 0, text: Vec::new(), given: 0 }
    }

    /// Reads on; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.text.clear();
        self.given = 0;
        let mut chunk = [0; CHUNK];
        while self.text.is_empty() {
            let read = self.inner.read(&mut chunk)?;
            if read == 0 {
                return if self.byte.is_none() && self.high.is_none() {
                    Ok(false)
                } else {
                    Err(self.broken())
                };
            }
            for &byte in chunk.get(..read).unwrap_or_default() {
                self.at += 1;
                let Some(first) = self.byte.take() else {
                    self.byte = Some(byte);
                    continue;
                };
                self.take(self.encoding.unit([first, byte]))?;
            }
        }
        Ok(true)
    }

    fn take(&mut self, unit: u16) -> io::Result<()> {
        let character = match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                return Ok(());
            }
            (None, _) => char::from_u32(u32::from(unit)),
            (Some(high), _) => char::decode_utf16([high, unit]).next().and_then(Result::ok),
        };
        let character = character.ok_or_else(|| self.broken())?;
        if self.at > 2 || character != '\u{feff}' {
            self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }

    fn broken(&self) -> io::Error {
        let what = format!("broken UTF-16 at byte {}; save the file as UTF-8", self.at.saturating_sub(2));
        io::Error::new(io::ErrorKind::InvalidData, what)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() && !buffer.is_empty() && !self.fill()? {
            return Ok(0);
        }
        let rest = self.text.get(self.given..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.given += length;
        Ok(length)
    }
}
