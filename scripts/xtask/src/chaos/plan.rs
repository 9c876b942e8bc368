//! Plan of faults, drawn before the run: a bounded number of faults in an order that the seed determines. No I/O.

/// Draws numbers; equal seeds draw equal numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Begins with `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL for a worker; another one starts in its place.
    KillWorker,
    /// SIGKILL for the coordinator; it starts again.
    KillCoordinator,
    /// A worker and its link stand still until its leases were granted again, then go on as if nothing had been.
    Zombie,
    /// Every connection of a worker is cut.
    Drop,
    /// A worker's connections stay open and carry nothing any more.
    HalfOpen,
    /// A worker's link carries a few kilobytes a second for a while.
    Slow,
    /// The coordinator stands still for less than a lease.
    Pause,
    /// SIGKILL for the coordinator, which comes back after more than a lease.
    Away,
    /// SIGKILL for all workers, which come back after more than a lease.
    AllDead,
    /// The coordinator's disk is full for a while.
    DiskFull,
    /// A client announces a large part, sends little of it and keeps the upload open until the run ends.
    StalledUpload,
}

impl Fault {
    /// Whether the result of a call in progress may be lost.
    pub(super) const fn loses_calls(self) -> bool {
        !matches!(self, Self::Drop | Self::Pause | Self::DiskFull | Self::StalledUpload)
    }

    /// What it is called in reports.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::KillWorker => "workers killed",
            Self::KillCoordinator => "coordinator killed",
            Self::Zombie => "zombies",
            Self::Drop => "links cut",
            Self::HalfOpen => "links half open",
            Self::Slow => "links slow",
            Self::Pause => "coordinator paused",
            Self::Away => "coordinator away for longer than a lease",
            Self::AllDead => "all workers dead at a time",
            Self::DiskFull => "disk full",
            Self::StalledUpload => "uploads stalled",
        }
    }
}

/// How much may go wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Kills of single processes; a third of them the coordinator's.
    pub(super) kills: u64,
    pub(super) zombies: u64,
    pub(super) stalls: u64,
    /// Whether the disk can be made full.
    pub(super) disk_full: bool,
}

/// A fault, which worker it meets, and how long after the one before it, in thousandths of the mean gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) fault: Fault,
    pub(super) choice: u64,
    /// 0..2000.
    pub(super) gap: u64,
}

/// The faults of `budget` in the order that `seed` gives them.
pub(super) fn draw(seed: u64, budget: Budget) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let kills = budget.kills;
    let some = |share: u64| if kills == 0 { 0 } else { (kills / share).max(1) };
    let mut faults = Vec::new();
    for (fault, count) in [
        (Fault::KillCoordinator, kills / 3),
        (Fault::KillWorker, kills - kills / 3),
        (Fault::Zombie, budget.zombies),
        (Fault::Drop, some(10)),
        (Fault::HalfOpen, some(20)),
        (Fault::Slow, some(20)),
        (Fault::Pause, some(25)),
        (Fault::Away, some(50)),
        (Fault::AllDead, some(50)),
        (Fault::DiskFull, if budget.disk_full { some(50) } else { 0 }),
        (Fault::StalledUpload, budget.stalls),
    ] {
        faults.extend(std::iter::repeat_n(fault, usize::try_from(count).unwrap_or(0)));
    }
    for last in (1..faults.len()).rev() {
        let other = usize::try_from(dice.below(last as u64 + 1)).unwrap_or(0);
        faults.swap(last, other);
    }
    faults.into_iter().map(|fault| Step { fault, choice: dice.roll(), gap: dice.below(2000) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_within_its_budget() {
        let budget = Budget { kills: 200, zombies: 50, stalls: 8, disk_full: false };
        let plan = draw(7, budget);
        assert_eq!(plan, draw(7, budget));
        assert_ne!(plan, draw(8, budget));
        let count = |fault| plan.iter().filter(|step| step.fault == fault).count();
        assert_eq!(count(Fault::KillWorker) + count(Fault::KillCoordinator), 200);
        let others = [Fault::Zombie, Fault::DiskFull, Fault::StalledUpload].map(count);
        assert_eq!(others, [50, 0, 8]);
        assert!(draw(7, Budget { kills: 0, zombies: 0, stalls: 0, disk_full: true }).is_empty());
    }
}
