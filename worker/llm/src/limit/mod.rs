//! The limiter: how fast calls may start, learnt from what comes back.
//!
//! *Owns* the pace of one (account, model). *Never* waits, reads a clock or makes a call: time comes as an argument.
//!
//! Limits of providers are rates, so a rate is learnt: [`learner`]. Beside it [`in_flight`] bounds how many calls are
//! under way, against a provider that gets slower instead of refusing, or that stalls. [`controller`] joins the two.
//!
//! Held against load curves in `tests/limit`, beside a bound on concurrency alone: that one needs
//! minutes to find a rate and loses it with every change.

pub mod bucket;
pub mod controller;
pub mod in_flight;
pub mod learner;
mod sizes;

pub use controller::{Controller, Scarce, Signal, Stats, Ticket, Turn};

/// Seconds since any fixed moment.
pub type Seconds = f64;
