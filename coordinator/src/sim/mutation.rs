//! Planted bugs: a test switches one on and shows that the simulation finds it. In any other build [`mutated!`] is
//! `false`.

/// Whether the bug of this name is switched on.
macro_rules! mutated {
    ($bug:ident) => {{
        #[cfg(test)]
        let on = $crate::sim::mutation::is_on($crate::sim::mutation::Mutation::$bug);
        #[cfg(not(test))]
        let on = false;
        on
    }};
}

/// A deliberate bug.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The ledger commits under any token.
    FenceNotChecked,
    /// The ledger leases what is committed.
    LeaseOverCommit,
    /// A shard is leased again under the token it had.
    TokenReused,
    /// A lease lives at its deadline too.
    ExpiryOffByOne,
    /// The ledger names a part before the store has it.
    RecordedBeforePut,
    /// A repeated commit counts again.
    CommittedTwice,
    /// A heartbeat renews whatever token it shows.
    RenewsOldToken,
    /// What is cut off a shard lacks its last record.
    SplitLosesRecord,
    /// The halves count before the ledger has them.
    SplitTooEarly,
    /// What is released stays leased until its deadline.
    ReleaseKeepsLease,
    /// A restart does not count what was committed.
    RecoveryForgets,
    /// A shard is never blamed.
    PoisonNeverIsolated,
    /// A second call for a key is let through while one is under way.
    SingleFlightBroken,
    /// The end of a stream ends its calls.
    CallEndsWithStream,
    /// An answer is told before it is durable.
    SentBeforePersisted,
    /// Who takes a call over brings no leave with it.
    AdoptedUncounted,
    /// What was not sent is never given back.
    PermitLeaks,
}

#[cfg(test)]
std::thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
impl Mutation {
    /// Those of questions to a model; their own world finds them.
    pub(crate) const OF_GATEWAY: [Self; 5] = [
        Self::SingleFlightBroken,
        Self::CallEndsWithStream,
        Self::SentBeforePersisted,
        Self::AdoptedUncounted,
        Self::PermitLeaks,
    ];

    /// Every one of the leases.
    pub(crate) const ALL: [Self; 12] = [
        Self::FenceNotChecked,
        Self::LeaseOverCommit,
        Self::TokenReused,
        Self::ExpiryOffByOne,
        Self::RecordedBeforePut,
        Self::CommittedTwice,
        Self::RenewsOldToken,
        Self::SplitLosesRecord,
        Self::SplitTooEarly,
        Self::ReleaseKeepsLease,
        Self::RecoveryForgets,
        Self::PoisonNeverIsolated,
    ];
}

/// Switches a bug on for this thread, and all others off.
#[cfg(test)]
pub(crate) fn switch(mutation: Option<Mutation>) {
    ON.set(mutation);
}

#[cfg(test)]
pub(crate) fn is_on(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}
