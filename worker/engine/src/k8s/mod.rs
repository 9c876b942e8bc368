//! Kubernetes objects as policies need them: locations of pods and containers, quantities, names, selectors.

mod kinds;
pub mod names;
pub mod neighbours;
pub mod quantity;
pub mod selectors;
mod view;

pub use view::{Container, ContainerKind, Pod, View};
