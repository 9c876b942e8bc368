//! Rate limiter: how fast calls may start, learnt from their results.
//!
//! *Owns* the pace of one (account, model). *Never* waits, reads a clock or makes a call: time is an argument.
//!
//! Limits of providers are rates, so a rate is learnt: [`learner`]. Besides, [`in_flight`] bounds the calls in flight,
//! against a provider that gets slower instead of refusing, or that stalls. [`controller`] combines the two.
//!
//! Tested against load curves in `tests/limit`, and compared with a bound on concurrency alone (AIMD), which needs
//! minutes to find a rate and loses it with every change.

pub mod bucket;
pub mod controller;
pub mod in_flight;
pub mod learner;
mod sizes;

pub use controller::{Controller, Scarce, Signal, Stats, Ticket, Turn};

/// Seconds since any fixed moment.
pub type Seconds = f64;
