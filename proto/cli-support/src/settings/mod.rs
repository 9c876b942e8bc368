//! Layered configuration: defaults < file < environment < flags. Each value has its origin, and an unknown key is refused
//! with the most similar known key.
//!
//! Our own layers, because the configuration crates on the registry drop the origin of a value or accept unknown keys.
//!
//! The tree of defaults defines the known keys. *Open maps* are keys whose entries the user names (`rules.images`).

mod error;
mod file;
mod origin;
mod resolve;
mod show;
mod text;

pub use error::SettingsError;
pub use file::read_yaml;
pub use origin::Origin;
pub use resolve::{Resolved, resolve};
