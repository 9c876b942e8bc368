//! The coordinator from outside: its command line, its services, its recovery.

mod cli;
mod fleet;
mod layout;
mod resume;
mod support;
