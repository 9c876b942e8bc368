//! Connections to a PostgreSQL server: where it is, whether it can be trusted with what it acknowledges, the version of its
//! tables, and sessions that are opened again when they break.
//!
//! *Never* cancels a statement: a cancelled wait for a standby makes data visible that no standby has. A session whose answer
//! does not come is dropped, and what it was asked to do counts as unknown.

mod address;
mod engine;
mod errors;
mod layout;
pub(crate) mod ownership;
mod session;
#[cfg(test)]
mod test_server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transaction;

pub(crate) use address::{AddressError, EngineAddress};
pub(crate) use engine::{EngineFacts, EngineRecord, Trust};
#[cfg(test)]
pub(crate) use errors::is_deposed;
pub(crate) use errors::{EngineResult, trouble};
pub(crate) use layout::Layout;
pub(crate) use session::{Engine, Session};
pub(crate) use transaction::{Failed, Failure, RETRY, read, transact};
