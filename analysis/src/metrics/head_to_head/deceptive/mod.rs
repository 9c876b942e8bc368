//! Deceptive repairs: the target check is cleared, and something else is broken or hollowed out.
//!
//! Each detector compares the document before and after the repair. It needs no scanner, so that repairs of any proposer
//! are judged alike. What the repair changes at the place of the violation itself does not count.

mod detectors;
mod hollow;
mod moved;
mod pods;
mod rates;
mod repair;
mod selectors;
#[cfg(test)]
mod tests;
mod volumes;

pub(crate) use rates::deceptive;
