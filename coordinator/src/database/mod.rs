//! Databases: opened, checked and migrated, with their errors by what can be done about them. What is in them belongs to the
//! ledger, the response cache and the rooms that use them.

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// Why a database cannot be used, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Try again: locked, busy or out of space for now.
    Unavailable(String),
    /// Needs repair: damaged, not one of this program, or not writable.
    Unusable(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unavailable(reason) | Self::Unusable(reason)) = self;
        f.write_str(reason)
    }
}
