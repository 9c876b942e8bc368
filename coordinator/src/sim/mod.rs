//! Deterministic simulation of the coordinator, the invariants that it checks, and planted bugs that it must find.

#[macro_use]
pub(crate) mod mutation;

#[cfg(test)]
mod dice;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod world;
