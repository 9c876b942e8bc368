//! Ownership lease: which of the coordinators at one PostgreSQL server is the active one.
//!
//! The lease has an epoch and a deadline on the clock of the server. The owner renews it; when its deadline has passed, a standby
//! may take over, with the next epoch.
//!
//! *Invariants*:
//! 1. An epoch has one owner, and grows with every take-over.
//! 2. A transaction that begins by the fence of an epoch ([`Session::begin`](super::Session::begin)) commits before the next
//!    epoch begins, or not at all.
//! 3. What no transaction can fence, the owner does only before its own deadline ([`OwnerDeadline`]). That lies before the one of
//!    the server: it counts from before the renewal was asked for, and on a clock that goes on while the machine is suspended.

mod claim;
mod deadline;
mod renewal;
mod shared_values;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::Layout;

pub(crate) use claim::{Candidate, Holder, acquire, owner, prepare};
pub use deadline::OwnerDeadline;
pub(crate) use renewal::OwnerLease;
pub(crate) use shared_values::shared_value;

/// Tables of the ownership.
pub(crate) const LAYOUT: Layout =
    Layout { name: "ownership", migrations: &[include_str!("migrations/0001_ownership.sql")] };

/// A period in which one coordinator is the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(super) i64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Times of the ownership lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseTimes {
    /// Time to live after a renewal.
    pub(crate) ttl: Duration,
    /// How long before its end the owner stops to act.
    pub(crate) margin: Duration,
    /// Pause between two renewals.
    pub(crate) renew: Duration,
    /// Pause between two looks of a standby.
    pub(crate) poll: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            margin: Duration::from_secs(3),
            renew: Duration::from_secs(1),
            poll: Duration::from_millis(500),
        }
    }
}
