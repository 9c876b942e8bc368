//! Follows the frames of gRPC in the bytes of a request: where messages begin, and how much of one is missing.

/// Bytes before each message: a flag and the length.
const PREFIX: usize = 5;

/// Position in the frames of a request's body.
#[derive(Debug, Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have arrived.
    prefixed: usize,
    /// Bytes of the message that are missing.
    missing: usize,
}

/// What a piece of the body contained.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Messages that began in it.
    pub(super) begun: u32,
    /// The message that began in it and is not complete at its end.
    pub(super) open: Option<OpenMessage>,
}

/// A message that has begun and is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenMessage {
    /// Its length in bytes.
    pub(super) length: usize,
    /// Where its prefix begins in the piece; 0 where it began in an earlier one.
    pub(super) at: usize,
}

/// A message is longer than its method allows: its length in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) usize);

impl Framing {
    /// Whether a message, or its prefix, has begun and is not complete.
    pub(super) const fn is_inside(&self) -> bool {
        self.missing > 0 || self.prefixed > 0
    }

    /// Whether bytes of a message are missing whose length is known.
    pub(super) const fn has_open_message(&self) -> bool {
        self.missing > 0
    }

    /// Goes on over the next bytes of the body.
    pub(super) fn advance(&mut self, mut bytes: &[u8], largest: usize) -> Result<Seen, TooLong> {
        let mut seen = Seen::default();
        let whole = bytes.len();
        let mut begins = 0;
        while !bytes.is_empty() {
            if self.missing > 0 {
                let taken = self.missing.min(bytes.len());
                self.missing -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                if self.missing == 0 {
                    seen.open = None;
                }
                continue;
            }
            if self.prefixed == 0 {
                begins = whole - bytes.len();
            }
            let taken = (PREFIX - self.prefixed).min(bytes.len());
            if let (Some(into), Some(from)) =
                (self.prefix.get_mut(self.prefixed..self.prefixed + taken), bytes.get(..taken))
            {
                into.copy_from_slice(from);
            }
            self.prefixed += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.prefixed == PREFIX {
                let [_, a, b, c, d] = self.prefix;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > largest {
                    return Err(TooLong(length));
                }
                self.prefixed = 0;
                self.missing = length;
                seen.begun += 1;
                seen.open = (length > 0).then_some(OpenMessage { length, at: begins });
            }
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, length));
        bytes
    }

    #[test]
    fn any_division_of_the_bytes_shows_the_same_messages() {
        let body = [message(3), message(0), message(300), message(1)].concat();
        for size in 1..body.len() {
            let mut framing = Framing::default();
            let mut begun = 0;
            for piece in body.chunks(size) {
                let seen = framing.advance(piece, 300).unwrap();
                begun += seen.begun;
                assert!(seen.open.is_none() || framing.is_inside());
            }
            assert_eq!((begun, framing.is_inside()), (4, false), "pieces of {size}");
        }
    }

    #[test]
    fn an_open_message_is_told_with_its_length_once() {
        let mut framing = Framing::default();
        let body = [message(2), message(100)].concat();
        assert_eq!(
            framing.advance(&body[..20], 100),
            Ok(Seen { begun: 2, open: Some(OpenMessage { length: 100, at: 7 }) })
        );
        assert!(framing.is_inside());
        assert_eq!(framing.advance(&body[20..30], 100), Ok(Seen::default()));
        assert_eq!(framing.advance(&body[30..], 100), Ok(Seen::default()));
        assert!(!framing.is_inside());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_prefix() {
        let mut framing = Framing::default();
        assert_eq!(framing.advance(&message(101)[..5], 100), Err(TooLong(101)));
    }
}
