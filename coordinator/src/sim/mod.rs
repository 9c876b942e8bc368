//! The coordinator in a simulated world, the invariants that must hold there and in real runs, and deliberate bugs.

#[macro_use]
pub(crate) mod mutation;

#[cfg(test)]
mod dice;
#[cfg(test)]
mod fleet;
pub mod invariants;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod world;
