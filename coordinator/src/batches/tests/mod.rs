//! Batches under crashes: the machine against a provider in memory, the driver against the simulated one over HTTP.

mod crashes;
mod driving;
