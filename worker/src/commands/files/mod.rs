//! Arguments of the commands that read files: which are left out, and which may be unreadable.

pub(crate) mod exclude;
pub(crate) mod unreadable;
