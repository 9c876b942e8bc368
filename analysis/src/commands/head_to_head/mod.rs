//! Commands that compare proposers over the same records.

pub(super) mod deceptive;
pub(super) mod escapes;
pub(super) mod power;
pub(super) mod proposers;
