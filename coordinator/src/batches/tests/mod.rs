//! Batches under crashes: their life cycle against a provider in memory, the driver against the simulated one over HTTP.

mod crashes;
mod driving;
