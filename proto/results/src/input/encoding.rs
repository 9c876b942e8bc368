//! Encodings of text files, told by their first bytes: Windows writes UTF-16, which YAML and JSON allow.

/// An encoding of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8, or anything else that is not known.
    Utf8,
    /// UTF-16 with the low byte of a unit first.
    Utf16Le,
    /// UTF-16 with the high byte of a unit first.
    Utf16Be,
    /// UTF-32, which is not read.
    Utf32,
}

/// Bytes that are not text in their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {encoding} at byte {byte}")]
pub struct NotText {
    /// The encoding that they begin like.
    pub encoding: &'static str,
    /// Where they are broken.
    pub byte: usize,
}

impl TextEncoding {
    /// By a byte order mark, or by the zeros between the first characters of ASCII.
    pub const fn of(head: &[u8]) -> Self {
        match head {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Self::Utf32,
            [0xff, 0xfe, ..] | [1..=0x7f, 0, 1..=0x7f, 0, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] | [0, 1..=0x7f, 0, 1..=0x7f, ..] => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    /// The unit of UTF-16 that two bytes are.
    pub(crate) const fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Utf16Be => u16::from_be_bytes(bytes),
            Self::Utf8 | Self::Utf16Le | Self::Utf32 => u16::from_le_bytes(bytes),
        }
    }

    /// The text that `bytes` are, a byte order mark included.
    ///
    /// # Errors
    /// When they are not in this encoding.
    pub fn decode(self, bytes: Vec<u8>) -> Result<String, NotText> {
        match self {
            Self::Utf8 => String::from_utf8(bytes)
                .map_err(|error| NotText { encoding: "UTF-8", byte: error.utf8_error().valid_up_to() }),
            Self::Utf16Le | Self::Utf16Be => {
                let broken = |units: usize| NotText { encoding: "UTF-16", byte: units * 2 };
                let (pairs, rest) = bytes.as_chunks::<2>();
                let mut text = String::with_capacity(bytes.len() / 2);
                let mut units = 0;
                for found in char::decode_utf16(pairs.iter().map(|pair| self.unit(*pair))) {
                    let character = found.map_err(|_| broken(units))?;
                    units += character.len_utf16();
                    text.push(character);
                }
                if rest.is_empty() { Ok(text) } else { Err(broken(units)) }
            }
            Self::Utf32 => Err(NotText { encoding: "UTF-8 but UTF-32", byte: 0 }),
        }
    }

    /// The bytes of `text` in this encoding.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 | Self::Utf32 => text.as_bytes().to_vec(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_in_each_encoding() {
        for encoding in [TextEncoding::Utf8, TextEncoding::Utf16Le, TextEncoding::Utf16Be] {
            for text in ["kind: Pod\n", "\u{feff}a: \u{e4}\u{1f600}\r\n", "[1]", ""] {
                let bytes = encoding.encode(text);
                if text.len() > 3 {
                    assert_eq!(TextEncoding::of(&bytes), encoding, "{text:?}");
                }
                assert_eq!(encoding.decode(bytes).as_deref(), Ok(text), "{encoding:?}");
            }
        }
    }

    #[test]
    fn what_is_broken_is_named_with_its_byte() {
        for (bytes, encoding, byte) in [
            (b"ok\xff".to_vec(), "UTF-8", 2),
            (b"\xff\xfea\0b".to_vec(), "UTF-16", 4),
            (b"\xff\xfea\0\0\xd8b\0".to_vec(), "UTF-16", 4),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-8 but UTF-32", 0),
        ] {
            assert_eq!(TextEncoding::of(&bytes).decode(bytes), Err(NotText { encoding, byte }));
        }
        // A name in Latin-1, and a file of zeros, are no UTF-16.
        assert_eq!(TextEncoding::of(b"\xe4: 1"), TextEncoding::Utf8);
        assert_eq!(TextEncoding::of(&[0; 8]), TextEncoding::Utf8);
    }
}
