//! The live page: runs, workers, limits and failures as they change, over server-sent events.
//!
//! *Owns* the history of the limits (bounded) and what the page shows at present. *Invariants*: what many watch is collected
//! and rendered once a tick; the page loads nothing from elsewhere and runs no script but its own; every text is escaped;
//! what changes something needs the token of an operator in a header, which no other site can send.

mod actions;
mod board;
mod charts;
mod history;
mod overview;
mod page;
mod run_view;
mod shell;
mod stream;
mod tables;

pub(super) use stream::router;
