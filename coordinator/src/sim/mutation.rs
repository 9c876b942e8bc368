//! Planted bugs: a test switches one on and checks that the simulation finds it. Outside of tests [`mutated!`] is `false`.

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

/// A planted bug.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The ledger commits under any token.
    FenceNotChecked,
    /// The ledger leases a committed shard.
    LeaseOverCommit,
    /// A shard is leased again under its old token.
    TokenReused,
    /// A lease is still valid at its deadline.
    ExpiryOffByOne,
    /// The ledger names a part before the store has it.
    RecordedBeforePut,
    /// A repeated commit counts again.
    CommittedTwice,
    /// A heartbeat renews a lease under any token.
    RenewsOldToken,
    /// The shard that is split off lacks its last record.
    SplitLosesRecord,
    /// A split takes effect before the ledger has recorded it.
    SplitTooEarly,
    /// A released shard stays leased until its deadline.
    ReleaseKeepsLease,
    /// A restart does not count committed shards.
    RecoveryForgets,
    /// Losses never count against a shard.
    PoisonNeverIsolated,
    /// A second call for a key gets a permit while one is in flight.
    SingleFlightBroken,
    /// The end of a stream ends its calls.
    CallEndsWithStream,
    /// A result is acknowledged before it is durable.
    SentBeforePersisted,
    /// A call that a worker brings back after a restart is not counted.
    AdoptedUncounted,
    /// The permit of a call that was not sent is never released.
    PermitLeaks,
    /// A permit is sent before its call is durable.
    PermitBeforeRecord,
    /// A restart does not count the calls that the process before has permitted.
    FlightsForgotten,
    /// The end of a call leaves its row in the store.
    RecordOutlivesCall,
}

#[cfg(test)]
std::thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
impl Mutation {
    /// Bugs of the LLM gateway, found by its own simulation.
    pub(crate) const OF_GATEWAY: [Self; 8] = [
        Self::SingleFlightBroken,
        Self::CallEndsWithStream,
        Self::SentBeforePersisted,
        Self::AdoptedUncounted,
        Self::PermitLeaks,
        Self::PermitBeforeRecord,
        Self::FlightsForgotten,
        Self::RecordOutlivesCall,
    ];

    /// Bugs of leases and commits.
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
