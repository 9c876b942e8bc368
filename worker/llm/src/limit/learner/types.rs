//! What the parts of the learner share: a mark, a fall, and the shares by which they judge a pace.

use super::super::Seconds;

/// The pace as a share of what was measured.
pub(super) const BELOW: f64 = 0.985;

/// The pace, as a multiple of what was measured, from which the limit has moved.
pub(super) const MOVED: f64 = 1.3;

/// The pace after a refusal that measured nothing.
pub(super) const CUT: f64 = 0.8;

/// A wait from which an allowance is one per window.
pub(super) const LONG_WAIT: Seconds = 5.0;

/// Shortest time for which a measured pace is held.
pub(super) const HOLD: Seconds = 10.0;

/// A share of the limit before its fall: a pace from there on has come back to it.
pub(super) const BACK: f64 = 0.9;

/// How long a limit that fell is expected back.
pub(super) const EXPECTED: Seconds = 120.0;

/// What has passed until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) at: Seconds,
    pub(super) passed: f64,
    /// How long the refusal was on its way. By so much longer than the provider asked nothing is sent, and what it allowed
    /// meanwhile may have found no room in its burst.
    pub(super) trip: Seconds,
    /// For how long the pace has not been used since.
    pub(super) unused: Seconds,
}

/// A limit that fell a moment ago and may come back, as it does where others use the same account by turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitDrop {
    /// Where it was before.
    pub(super) before: f64,
    pub(super) since: Seconds,
    /// How long the pace is held until the limit is looked for there.
    pub(super) hold: Seconds,
    /// When it was last found to be low.
    pub(super) low_at: Seconds,
    /// Since when the pace is back, and not refused yet.
    pub(super) back_at: Option<Seconds>,
    /// How often it was refused there.
    pub(super) looks: u32,
}

/// A fall that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreviousDrop {
    /// Where the limit was before the fall, or before one of those before it.
    pub(super) high: f64,
    /// Where the limit was meanwhile.
    pub(super) low: f64,
    /// The longest for which it was found to be there still.
    pub(super) longest: Seconds,
    /// How long it was there, as far as looks at it tell.
    pub(super) lasted: Seconds,
}
