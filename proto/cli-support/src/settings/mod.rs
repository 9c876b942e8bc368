//! Configuration in layers: defaults < file < environment < flags. Each value knows where it came from, and a key
//! that the defaults do not have is refused with the nearest one that they do.
//!
//! The tree of defaults is the list of legal keys: this module knows none by itself. *Open maps* are keys whose
//! entries the user names (`rules.images`).

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
