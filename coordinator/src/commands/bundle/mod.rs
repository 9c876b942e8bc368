//! `coordinator bundle` and `coordinator replay`: a finished run as one archive, and its repetition.

pub(crate) mod replay;
pub(crate) mod write;
