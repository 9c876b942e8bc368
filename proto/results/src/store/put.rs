//! How an object is written, and what became of that.

/// What a put-if-absent found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Nothing: the object was written.
    Written,
    /// An object of that key, which was left as it is.
    AlreadyThere,
}

/// Whether an object may replace another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It takes the place of what is there.
    Replace,
    /// What is there stays.
    Keep,
}

/// How a store treats a write whose condition is that the key is absent (`If-None-Match: *`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// Of several writers exactly one wins.
    Honoured,
    /// A later writer wins, or several do.
    Ignored,
}
