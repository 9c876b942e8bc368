#![doc = include_str!("../README.md")]

mod answer;
mod connection;
pub mod control_plane;
mod definitions;
mod error;
mod fixtures;
mod limits;
mod names;
mod open;
mod question;
mod served;
mod server;
mod source;
mod transport;

pub use definitions::{Definitions, TooMany};
pub use error::{ConnectError, PrepareError, Unreachable};
pub use fixtures::Prepared;
pub use limits::Limits;
pub use server::ApiServer;
pub use source::Source;
