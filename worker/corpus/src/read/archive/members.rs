//! The members of a tar archive, one after the other, each with a name of bounded length.
//!
//! Our own loop over the headers that the `tar` crate decodes: its reader keeps names and extended headers in memory
//! whatever their length, and a name may be as long as the archive.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header, PaxExtensions};

use super::super::names::NAME_BYTES;

/// A header, and what every member is rounded up to.
const BLOCK: u64 = 512;

/// An extended header may hold the attributes of a file beside its name; beyond this it is not read.
const EXTENDED_BYTES: u64 = 1 << 20;

/// A member of the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Where its content begins.
    pub(super) at: u64,
    /// Its name, cut behind [`NAME_BYTES`] bytes, and the name's length.
    pub(super) name: Vec<u8>,
    pub(super) name_bytes: u64,
    /// Bytes of its content.
    pub(super) size: u64,
    /// Whether it is a regular file.
    pub(super) regular: bool,
}

/// Reads an archive member by member.
#[derive(Debug)]
pub(super) struct Members<R> {
    input: R,
    at: u64,
    /// Bytes of the member's content that were not read.
    left: u64,
    /// Where the next header is.
    next: u64,
}

/// What extended headers say of the member after them.
#[derive(Debug, Default)]
struct Extended {
    /// Name and length of the name.
    long: Option<(Vec<u8>, u64)>,
    pax: Option<(Vec<u8>, u64)>,
    size: Option<u64>,
    /// Bytes of a pax header that is too long to look for the name in.
    unread: Option<u64>,
    any: bool,
}

impl<R: Read> Members<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, at: 0, left: 0, next: 0 }
    }

    /// Bytes read so far.
    pub(super) const fn position(&self) -> u64 {
        self.at
    }

    /// The next member; what was not read of the one before is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else {
                return if extended.any {
                    Err(damaged("it ends behind an extended header"))
                } else {
                    Ok(None)
                };
            };
            let known = header.as_gnu().is_some() || header.as_ustar().is_some();
            let mut size = header.entry_size()?;
            match header.entry_type() {
                EntryType::GNULongName if known => {
                    if extended.long.is_some() {
                        return Err(damaged("two long names describe one member"));
                    }
                    self.begin(size)?;
                    let name = self.content(NAME_BYTES as u64 + 1)?;
                    let whole = name.strip_suffix(b"\0").unwrap_or(&name);
                    // A name that was not read to its end has a zero there, too.
                    let bytes = if name.len() as u64 == size { whole.len() as u64 } else { size - 1 };
                    extended.long = Some((whole.to_vec(), bytes));
                }
                EntryType::XHeader if known => {
                    self.begin(size)?;
                    let records = self.content(EXTENDED_BYTES)?;
                    extended.read(&records, size);
                }
                EntryType::GNULongLink | EntryType::XGlobalHeader if known => self.begin(size)?,
                kind => {
                    size = extended.size.unwrap_or(size);
                    self.sparse(&header)?;
                    self.begin(size)?;
                    let short = header.path_bytes();
                    let short = (short.to_vec(), extended.unread.unwrap_or(short.len() as u64));
                    let (mut name, name_bytes) = extended.long.or(extended.pax).unwrap_or(short);
                    name.truncate(NAME_BYTES);
                    return Ok(Some(Member { at: self.at, name, name_bytes, size, regular: kind.is_file() }));
                }
            }
            extended.any = true;
        }
    }

    /// The content of the member, `most` bytes of it at most.
    pub(super) fn content(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let wanted = most.min(self.left);
        let read = (&mut self.input).take(wanted).read_to_end(&mut bytes)? as u64;
        self.at += read;
        self.left -= read;
        if read < wanted { Err(damaged("it ends within a member")) } else { Ok(bytes) }
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let gap = self.next - self.at;
        let skipped = io::copy(&mut (&mut self.input).take(gap), &mut io::sink())?;
        self.at += skipped;
        if skipped < gap {
            return Err(damaged("it ends within a member"));
        }
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes().iter().enumerate();
        // The field of the sum counts as blanks.
        let sum: u32 =
            bytes.map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
        if sum != header.cksum()? {
            return Err(damaged("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    /// Reads one block; `false` when there is not one more byte.
    fn block(&mut self, block: &mut [u8]) -> io::Result<bool> {
        let mut bytes = Vec::with_capacity(block.len());
        (&mut self.input).take(block.len() as u64).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        self.next = self.at;
        if bytes.is_empty() {
            return Ok(false);
        }
        if bytes.len() < block.len() {
            return Err(damaged("it ends within a header"));
        }
        block.copy_from_slice(&bytes);
        Ok(true)
    }

    /// Passes over the further headers of a sparse file, which lie before its content.
    fn sparse(&mut self, header: &Header) -> io::Result<()> {
        let mut more = header
            .as_gnu()
            .is_some_and(|gnu| header.entry_type() == EntryType::GNUSparse && gnu.is_extended());
        while more {
            let mut block = GnuExtSparseHeader::new();
            if !self.block(block.as_mut_bytes())? {
                return Err(damaged("it ends within a header"));
            }
            more = block.is_extended();
        }
        Ok(())
    }

    /// Content of `size` bytes begins here.
    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.left = size;
        let rounded = size.checked_next_multiple_of(BLOCK);
        self.next = rounded
            .and_then(|size| self.at.checked_add(size))
            .ok_or_else(|| damaged("a size is too large"))?;
        Ok(())
    }
}

impl Extended {
    /// Takes what a pax header of `size` bytes says, of which `records` were read.
    fn read(&mut self, records: &[u8], size: u64) {
        for record in PaxExtensions::new(records).filter_map(Result::ok) {
            match record.key_bytes() {
                b"path" => {
                    let name = record.value_bytes();
                    self.pax = Some((name.get(..NAME_BYTES + 1).unwrap_or(name).to_vec(), name.len() as u64));
                }
                b"size" => self.size = record.value().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
        // The name may be what is so long.
        self.unread = (size > EXTENDED_BYTES).then_some(size);
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
