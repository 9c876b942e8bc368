//! What every policy needs to know of Kubernetes objects: where pods and containers stand, quantities, names, selectors.

pub mod names;
pub mod neighbours;
pub mod quantity;
pub mod selectors;
mod view;

pub use view::{Container, ContainerKind, Pod, View};
