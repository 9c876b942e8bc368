//! The coordinator.

pub mod leases;
pub mod ledger;
