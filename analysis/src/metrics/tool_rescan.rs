//! What scanners other than the built-in detector find in the repaired documents (`verifier.rescan`).

use std::collections::BTreeMap;

use results::schema::TOOL_RESCANS;
use serde::Serialize;

use crate::load::rows::Texts;
use crate::stats::{Proportion, count};

/// Scanners with columns of their own.
pub(super) const TOOLS: usize = TOOL_RESCANS.len();

/// Columns that say whether the target is cleared.
pub(super) const CLEARED: [&str; TOOLS] = [TOOL_RESCANS[0].1, TOOL_RESCANS[1].1, TOOL_RESCANS[2].1];

/// Columns of new findings.
pub(super) const NEW: [&str; TOOLS] = [TOOL_RESCANS[0].2, TOOL_RESCANS[1].2, TOOL_RESCANS[2].2];

/// The opinion of one scanner about accepted repairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ToolRescan {
    /// Rows whose target it no longer finds, of those where it found the target before.
    pub(crate) cleared: Proportion,
    /// Rows in which it finds something new, of those that it judged.
    pub(crate) with_new: Proportion,
    /// Its new findings, by check.
    pub(crate) new: BTreeMap<String, u64>,
}

/// Sums over rows, by scanner in the order of the columns.
#[derive(Debug, Default)]
pub(super) struct Sums([Sum; TOOLS]);

#[derive(Debug, Default)]
struct Sum {
    cleared: u64,
    found_before: u64,
    with_new: u64,
    judged: u64,
    new: BTreeMap<String, u64>,
}

impl Sums {
    /// Adds an accepted row. `None`: the scanner was not asked, or could not judge.
    pub(super) fn add(&mut self, cleared: [Option<bool>; TOOLS], new: &[Option<Texts<'_>>; TOOLS]) {
        for ((sum, cleared), new) in self.0.iter_mut().zip(cleared).zip(new) {
            if let Some(cleared) = cleared {
                sum.cleared += u64::from(cleared);
                sum.found_before += 1;
            }
            if let Some(new) = new {
                sum.judged += 1;
                sum.with_new += u64::from(!new.is_empty());
                new.iter().for_each(|check| count(&mut sum.new, check));
            }
        }
    }

    /// The scanners that judged a row.
    pub(super) fn finish(self) -> BTreeMap<&'static str, ToolRescan> {
        let judged =
            TOOL_RESCANS.iter().zip(self.0).filter(|(_, sum)| sum.judged > 0 || sum.found_before > 0);
        judged
            .map(|((scanner, ..), sum)| {
                let rescan = ToolRescan {
                    cleared: Proportion::new(sum.cleared, sum.found_before),
                    with_new: Proportion::new(sum.with_new, sum.judged),
                    new: sum.new,
                };
                (scanner.as_str(), rescan)
            })
            .collect()
    }
}
