//! A list of records under a key of an object, as scanners and APIs write it: `{"version": 1, "detections": [ … ]}`.
//!
//! Looks ahead without consuming, within the limit of one value: an object that is a record itself must still be read as one.

use std::io::Read;

use super::{REPAIR, Scan, Splitter, State};
use crate::file_error::FileError;

/// Members of records. An object that has one before any list is a record.
const OF_RECORDS: [&[u8]; 6] = [
    b"\"id\"",
    b"\"policy_id\"",
    b"\"manifest_path\"",
    b"\"manifest_yaml\"",
    b"\"violation_text\"",
    b"\"patch\"",
];

/// Keys whose list is one of records, whatever it holds.
const LISTS: [&[u8]; 2] = [b"\"detections\"", b"\"records\""];

/// A member of an object, by places from the first byte that is not consumed.
struct Member {
    /// The key with its quotes.
    key: (usize, usize),
    /// Where the value begins, and its first byte.
    value: usize,
    first: u8,
}

impl<R: Read> Splitter<R> {
    /// Moves into the first list of records of the object that begins here; `false` where there is none, or the object is a
    /// record itself.
    pub(super) fn enter_list(&mut self) -> Result<bool, FileError> {
        let mut at = 1;
        while let Some(member) = self.member(at)? {
            if OF_RECORDS.contains(&self.bytes(member.key)) {
                return Ok(false);
            }
            if self.is_list_of_records(&member)? {
                self.consume(member.value + 1);
                return Ok(true);
            }
            let Some(end) = self.end_of_value(member.value)? else { return Ok(false) };
            let Some((comma, b',')) = self.not_blank(end)? else { return Ok(false) };
            at = comma + 1;
        }
        Ok(false)
    }

    /// Behind a list, at the `,`: moves into the next one, or over a member that is none.
    pub(super) fn next_member(&mut self) -> Result<(), FileError> {
        let Some(member) = self.member(1)? else {
            return Err(self.error("expected a key and its value after ','", REPAIR));
        };
        if self.is_list_of_records(&member)? {
            self.consume(member.value + 1);
            self.state = State::First;
        } else {
            self.consume(member.value);
            self.value()?;
            self.state = State::Members;
        }
        Ok(())
    }

    fn is_list_of_records(&mut self, member: &Member) -> Result<bool, FileError> {
        if member.first != b'[' {
            return Ok(false);
        }
        if LISTS.contains(&self.bytes(member.key)) {
            return Ok(true);
        }
        let Some((first, b'{')) = self.not_blank(member.value + 1)? else { return Ok(false) };
        let mut at = first + 1;
        while let Some(found) = self.member(at)? {
            if self.bytes(found.key) == b"\"policy_id\"" {
                return Ok(true);
            }
            let Some(end) = self.end_of_value(found.value)? else { return Ok(false) };
            let Some((comma, b',')) = self.not_blank(end)? else { return Ok(false) };
            at = comma + 1;
        }
        Ok(false)
    }

    /// The member whose key comes next behind `at`.
    fn member(&mut self, at: usize) -> Result<Option<Member>, FileError> {
        let Some((key, b'"')) = self.not_blank(at)? else { return Ok(None) };
        let Some(end) = self.end_of_value(key)? else { return Ok(None) };
        let Some((colon, b':')) = self.not_blank(end)? else { return Ok(None) };
        let value = self.not_blank(colon + 1)?;
        Ok(value.map(|(value, first)| Member { key: (key, end), value, first }))
    }

    /// The next byte that is not a blank, and where it is.
    fn not_blank(&mut self, mut at: usize) -> Result<Option<(usize, u8)>, FileError> {
        loop {
            let rest = self.buffer.get(self.start + at..).unwrap_or_default();
            if let Some((blanks, byte)) = rest.iter().enumerate().find(|(_, byte)| !b" \t\r\n".contains(byte))
            {
                return Ok(Some((at + blanks, *byte)));
            }
            at += rest.len();
            if at > self.limit || !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Where the value that begins `at` ends; `None` where it does not within the limit.
    fn end_of_value(&mut self, mut at: usize) -> Result<Option<usize>, FileError> {
        let mut scan = Scan::default();
        loop {
            let rest = self.buffer.get(self.start + at..).unwrap_or_default();
            if let Some(length) = scan.feed(rest) {
                return Ok(Some(at + length));
            }
            at += rest.len();
            if at > self.limit || !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn bytes(&self, (from, to): (usize, usize)) -> &[u8] {
        self.buffer.get(self.start + from..self.start + to).unwrap_or_default()
    }
}
