//! Volumes of pods and persistent volumes: exactly one source each, and what each source must say.

mod pod;
mod projected;
mod sources;
mod storage;

pub(crate) use pod::{Volume, Volumes, volumes};
pub(crate) use storage::persistent_source;
