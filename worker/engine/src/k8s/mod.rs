//! Kubernetes objects as policies need them: locations of pods and containers, quantities, names, selectors, and what an
//! object means to its node, its API server and its neighbours.

pub mod dependants;
pub mod immutable;
mod kinds;
pub mod label_selector;
pub mod names;
pub mod neighbours;
pub mod node_agent;
pub(crate) mod quantity;
pub mod selectors;
mod view;

pub use view::{Container, ContainerKind, Pod, View};
