//! Types and constants that the parts of the learner share.

use super::super::Seconds;

/// Pace as a share of the measured limit.
pub(super) const BELOW: f64 = 0.985;

/// Pace as a multiple of the measured limit from which the limit has moved.
pub(super) const MOVED: f64 = 1.3;

/// Factor on the pace at a refusal without a measurement.
pub(super) const CUT: f64 = 0.8;

/// Wait from which an allowance is taken to be one per window.
pub(super) const LONG_WAIT: Seconds = 5.0;

/// Shortest holding time of a measured pace.
pub(super) const HOLD: Seconds = 10.0;

/// Share of the limit before its drop from which a pace has recovered.
pub(super) const BACK: f64 = 0.9;

/// For how long a dropped limit is expected to recover.
pub(super) const EXPECTED: Seconds = 120.0;

/// Units that had passed at a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) at: Seconds,
    pub(super) passed: f64,
    /// Round trip of the refusal: for so much longer than the provider asked nothing is sent, and its allowance
    /// meanwhile may exceed its burst.
    pub(super) trip: Seconds,
    /// For how long the pace has been unused since.
    pub(super) unused: Seconds,
}

/// A limit that dropped recently and may recover, as it does when others use the same account by turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitDrop {
    /// Limit before the drop.
    pub(super) before: f64,
    pub(super) since: Seconds,
    /// How long the pace is held before the earlier limit is probed.
    pub(super) hold: Seconds,
    /// When the limit was last measured to be low.
    pub(super) low_at: Seconds,
    /// Since when the pace has been raised to the earlier limit without a refusal.
    pub(super) back_at: Option<Seconds>,
    /// How often it was refused there.
    pub(super) probes: u32,
}

/// A drop from which the limit has recovered.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreviousDrop {
    /// Limit before this drop, or before an earlier one.
    pub(super) high: f64,
    /// Limit during the drop.
    pub(super) low: f64,
    /// Longest time after which the limit was still measured to be low.
    pub(super) longest: Seconds,
    /// Estimated duration of the drop.
    pub(super) lasted: Seconds,
}

/// What is known of the provider's burst.
#[derive(Debug, Clone, Copy)]
pub(super) enum Burst {
    /// Nothing yet.
    Unknown,
    /// It keeps the allowance that is not used, so measurements are right.
    Keeps,
    /// It is too short to keep the allowance that is not used, so measurements are too low.
    Loses {
        /// Share of the way to the refused pace by which the limit is raised.
        reach: f64,
    },
}

/// A raise of the limit beyond its measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raise {
    /// Units a second that had passed.
    pub(super) passed: f64,
    /// Limit that was measured.
    pub(super) from: f64,
}
