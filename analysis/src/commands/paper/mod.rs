//! Commands that compute the figures of the paper from its files, or hold those files against the right numbers.

pub(super) mod audit;
pub(super) mod baselines;
pub(super) mod calibration;
pub(super) mod detector_eval;
pub(super) mod fairness;
pub(super) mod multi_seed;
pub(super) mod parity;
pub(super) mod throughput;
