//! Plan of the faults of several coordinators, in an order that the seed determines. No I/O.

use crate::chaos::plan::Dice;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL for the owner; it starts again when another one has taken over.
    KillOwner,
    /// The owner stands still for longer than its lease.
    FreezeOwner,
    /// SIGTERM for the owner.
    DrainOwner,
    /// SIGKILL for a standby; it starts again.
    KillStandby,
    /// A standby stands still for a while.
    FreezeStandby,
    /// SIGKILL for a worker; another one starts in its place.
    KillWorker,
    /// A worker stands still for longer than its leases.
    FreezeWorker,
    /// The primary of the engine dies, and its standby is promoted.
    LosePrimary,
    /// The standby is promoted while the primary lives on for some seconds.
    PrimaryBeside,
}

impl Fault {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::KillOwner => "owner killed",
            Self::FreezeOwner => "owner frozen",
            Self::DrainOwner => "owner drained",
            Self::KillStandby => "standby killed",
            Self::FreezeStandby => "standby frozen",
            Self::KillWorker => "workers killed",
            Self::FreezeWorker => "workers frozen",
            Self::LosePrimary => "primary lost",
            Self::PrimaryBeside => "primary alive beside the promoted",
        }
    }

    /// Whether the result of a call in progress may be lost.
    pub(super) const fn loses_calls(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker)
    }
}

/// A fault, which process it meets, and the pause before it in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) fault: Fault,
    pub(super) choice: u64,
    pub(super) pause_ms: u64,
}

/// The faults in the order that `seed` gives them; `losses` of them are losses of the primary, every second one beside the
/// promoted.
pub(super) fn draw(seed: u64, losses: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let mut faults = vec![Fault::DrainOwner, Fault::KillStandby, Fault::FreezeStandby];
    faults.extend([Fault::KillOwner, Fault::FreezeOwner, Fault::FreezeWorker].repeat(2));
    faults.extend([Fault::KillWorker; 4]);
    faults.extend([Fault::LosePrimary, Fault::PrimaryBeside].into_iter().cycle().take(losses));
    for last in (1..faults.len()).rev() {
        let other = usize::try_from(dice.below(last as u64 + 1)).unwrap_or(0);
        faults.swap(last, other);
    }
    let step = |fault| Step { fault, choice: dice.roll(), pause_ms: 300 + dice.below(1500) };
    faults.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan() {
        assert_eq!(draw(3, 2), draw(3, 2));
        assert_ne!(draw(3, 2), draw(4, 2));
        let count = |fault| draw(3, 3).iter().filter(|step| step.fault == fault).count();
        assert_eq!(
            (count(Fault::LosePrimary), count(Fault::PrimaryBeside), count(Fault::KillOwner)),
            (2, 1, 2)
        );
    }
}
