//! Commands about risk, orders and the queue in which repairs are rolled out.

pub(super) mod packet;
pub(super) mod queue;
pub(super) mod risk;
pub(super) mod schedule;
pub(super) mod simulate;
