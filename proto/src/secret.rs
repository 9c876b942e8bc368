//! Secrets of the wire: of a worker's session and of a lease.

use std::fmt;

/// 128 bits that only the two ends of a relation know, such as a worker's session or a lease: whoever sends them is the
/// other end. They are compared in constant time.
#[derive(Clone, Copy)]
pub struct SharedSecret([u8; Self::BYTES]);

impl SharedSecret {
    /// Length in bytes.
    pub const BYTES: usize = 16;

    /// Takes bytes that were drawn at random, or derived from such.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes as received; `None`: another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes. Every use of this word is a place where a secret may leak.
    pub const fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Its hash, whose comparison takes the same time wherever two hashes differ.
    fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.0)
    }
}

/// Not the secret of anything: stands where a key is used within the coordinator.
impl Default for SharedSecret {
    fn default() -> Self {
        Self([0; Self::BYTES])
    }
}

impl PartialEq for SharedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for SharedSecret {}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_secrets_are_equal_where_all_bytes_are_and_do_not_print() {
        let secret = SharedSecret::new([7; 16]);
        let mut other = [7; 16];
        assert_eq!(SharedSecret::from_slice(&other), Some(secret));
        assert_eq!(SharedSecret::from_slice(&other[1..]), None);
        other[15] = 8;
        assert_ne!(SharedSecret::new(other), secret);
        assert_eq!(format!("{secret:?}"), "***");
    }
}
