//! Headers of Parquet pages, read by hand because the crate `parquet` keeps them to itself: Thrift's compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>), `PageHeader` of
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

/// Most structures inside each other in a page header.
const DEPTH: u32 = 8;

/// The same in a footer: a page's encoding in the metadata of a column of a row group is the deepest.
const FOOTER_DEPTH: u32 = 16;

/// What a page header says.
#[derive(Debug, Default)]
pub(super) struct PageHeader {
    /// `PageType`: data 0, index 1, dictionary 2, data of version 2 3.
    pub(super) kind: i64,
    pub(super) decompressed: u64,
    pub(super) compressed: usize,
    pub(super) values: u64,
    pub(super) encoding: i64,
    /// Bytes of the levels before the values, which version 2 does not compress.
    pub(super) levels: u64,
    /// Whether the values of version 2 are not compressed, whatever the column says.
    pub(super) is_plain: bool,
}

/// Reads Thrift's compact protocol. `None`: it ends early, or is not valid.
pub(super) struct Compact<'a> {
    pub(super) rest: &'a [u8],
}

impl Compact<'_> {
    pub(super) fn page_header(&mut self) -> Option<PageHeader> {
        let (mut page, mut id) = (PageHeader { kind: -1, ..PageHeader::default() }, 0);
        while let kind @ 1.. = self.field(&mut id)? {
            match (id, kind) {
                (1, 5) => page.kind = self.integer()?,
                (2, 5) => page.decompressed = u64::try_from(self.integer()?).ok()?,
                (3, 5) => page.compressed = usize::try_from(self.integer()?).ok()?,
                // Data page, dictionary page: values, encoding. Data page of version 2: values, nulls, rows, encoding, bytes
                // of the levels, whether it is compressed.
                (5 | 7, 12) => self.content(&mut page, 2)?,
                (8, 12) => self.content(&mut page, 4)?,
                _ => self.skip(kind, DEPTH)?,
            }
        }
        (page.kind >= 0).then_some(page)
    }

    /// The header of the page's own kind, whose encoding stands in the field `encoding`.
    fn content(&mut self, page: &mut PageHeader, encoding: i64) -> Option<()> {
        let (mut values, mut encoded, mut id) = (None, None, 0);
        while let kind @ 1.. = self.field(&mut id)? {
            match (id, kind) {
                (1, 5) => values = Some(u64::try_from(self.integer()?).ok()?),
                (field, 5) if field == encoding => encoded = Some(self.integer()?),
                (5 | 6, 5) if encoding == 4 => {
                    page.levels = page.levels.checked_add(u64::try_from(self.integer()?).ok()?)?;
                }
                (7, 1 | 2) if encoding == 4 => page.is_plain = kind == 2,
                _ => self.skip(kind, DEPTH)?,
            }
        }
        (page.values, page.encoding) = (values?, encoded?);
        Some(())
    }

    /// Reads any structure, as that of a footer.
    pub(super) fn structure(&mut self) -> Option<()> {
        self.skip(12, FOOTER_DEPTH)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed integer of any width.
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The type of the next field, and its id in `id`; 0 at the end of the structure.
    fn field(&mut self, id: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        if head == 0 {
            return Some(0);
        }
        *id = match head >> 4 {
            0 => self.integer()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(head & 0x0f).filter(|kind| *kind != 0)
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // True and false have no more bytes.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.rest = self.rest.get(8..)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.rest = self.rest.get(length..)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    self.skip_element(head & 0x0f, depth)?;
                }
            }
            12 => {
                let mut id = 0;
                while let kind @ 1.. = self.field(&mut id)? {
                    self.skip(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Skips an element of a list, where a truth value has a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Option<()> {
        if matches!(kind, 1 | 2) { self.byte().map(drop) } else { self.skip(kind, depth) }
    }
}
