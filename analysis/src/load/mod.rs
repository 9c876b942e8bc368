//! Where results lie → one lazy frame over all their parts.

mod columns;
mod error;
mod places;
mod results;

pub use error::LoadError;
pub use results::Results;
