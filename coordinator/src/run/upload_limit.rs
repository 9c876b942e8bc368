//! Upload limit: bounds the memory of parts that are being uploaded, and the number of concurrent writes to the store.
//!
//! Memory permits are acquired as bytes arrive: an upload holds permits for what it has sent, whatever its header announced.
//! So a stalled upload holds little, and releases it at its time limit ([`crate::server::stream_limits`]).
//!
//! *Invariant*: uploads cannot deadlock. When all memory permits are taken, one of the uploads that need more acquires the
//! overdraft and needs no further permits until it ends. It waits only for its own bytes, for a bounded time; then its
//! permits are free, and the next upload acquires the overdraft. A write permit is acquired only for a part that has
//! arrived whole, so no upload holds one while it waits for its peer. *Memory*: at most [`MEMORY_KIB`] and one part of the
//! largest size, and one message of each waiting upload.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Concurrent writes to the store. Each waits for the disk, which syncs concurrent writes together.
pub(crate) const WRITES: usize = 64;

/// Memory for parts in KiB.
pub(crate) const MEMORY_KIB: u32 = 256 << 10;

/// The limit of all uploads together.
#[derive(Debug)]
pub(crate) struct UploadLimit {
    memory: Semaphore,
    overdraft: Semaphore,
    writes: Semaphore,
    under_way: AtomicUsize,
}

/// Permits of one upload, released when dropped.
#[derive(Debug)]
pub(crate) struct UploadPermit<'l> {
    limit: &'l UploadLimit,
    bytes: u64,
    memory: Option<SemaphorePermit<'l>>,
    overdraft: Option<SemaphorePermit<'l>>,
}

impl Default for UploadLimit {
    fn default() -> Self {
        Self {
            memory: Semaphore::new(MEMORY_KIB as usize),
            overdraft: Semaphore::new(1),
            writes: Semaphore::new(WRITES),
            under_way: AtomicUsize::new(0),
        }
    }
}

impl UploadLimit {
    /// Begins an upload, without memory permits yet.
    pub(crate) fn begin(&self) -> UploadPermit<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UploadPermit { limit: self, bytes: 0, memory: None, overdraft: None }
    }

    /// Waits for a write permit, for a part that has arrived whole; `None` only for a closed limit, which never happens.
    pub(crate) async fn write(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok()
    }

    /// Number of uploads in progress.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl UploadPermit<'_> {
    /// Acquires memory permits for `bytes` that have arrived; waits while there are none.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.overdraft.is_some() {
            return;
        }
        let held = self.memory.as_ref().map_or(0, |held| held.num_permits() as u64);
        let missing = self.bytes.div_ceil(1024).saturating_sub(held);
        let missing = u32::try_from(missing).unwrap_or(MEMORY_KIB).min(MEMORY_KIB);
        let limit = self.limit;
        tokio::select! {
            biased;
            acquired = limit.memory.acquire_many(missing) => match (&mut self.memory, acquired) {
                (Some(held), Ok(more)) => held.merge(more),
                (none, acquired) => *none = acquired.ok(),
            },
            overdraft = limit.overdraft.acquire() => self.overdraft = overdraft.ok(),
        }
    }
}

impl Drop for UploadPermit<'_> {
    fn drop(&mut self) {
        self.limit.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::join_all;
    use tokio::task::unconstrained;

    use super::*;

    const MIB: usize = 1 << 20;

    /// Takes all memory permits and the overdraft with uploads that stay; the last one holds the overdraft.
    fn fill(limit: &UploadLimit) -> Vec<UploadPermit<'_>> {
        let room = MEMORY_KIB as usize / 1024;
        let mut uploads: Vec<_> = (0..=room).map(|_| limit.begin()).collect();
        for upload in &mut uploads {
            // Unconstrained: these are more operations than the cooperative budget of a task.
            unconstrained(upload.grow(MIB)).now_or_never().unwrap();
        }
        uploads
    }

    #[test]
    fn an_upload_holds_permits_for_what_it_has_sent() {
        let limit = UploadLimit::default();
        let mut stalled: Vec<_> = (0..1000).map(|_| limit.begin()).collect();
        for upload in &mut stalled {
            upload.grow(1000).now_or_never().unwrap();
        }
        assert_eq!(limit.under_way(), 1000);
        assert_eq!(limit.memory.available_permits(), MEMORY_KIB as usize - 1000, "a KiB for each upload");
        let mut small = limit.begin();
        small.grow(24).now_or_never().unwrap();
        small.grow(1000).now_or_never().unwrap();
        assert_eq!(
            limit.memory.available_permits(),
            MEMORY_KIB as usize - 1001,
            "bytes are counted together"
        );
        drop((stalled, small));
        assert_eq!((limit.under_way(), limit.memory.available_permits()), (0, MEMORY_KIB as usize));
    }

    #[test]
    fn without_permits_an_upload_waits_until_another_ends() {
        let limit = UploadLimit::default();
        let mut uploads = fill(&limit);
        let mut late = limit.begin();
        assert!(late.grow(1).now_or_never().is_none(), "permits and overdraft are taken");
        drop(late);
        drop(uploads.pop());
        let mut late = limit.begin();
        assert!(late.grow(1).now_or_never().is_some(), "the overdraft is free");
        drop(uploads.pop());
        assert!(limit.begin().grow(MIB).now_or_never().is_some(), "permits are free");
    }

    #[tokio::test]
    async fn partial_uploads_never_deadlock() {
        let limit = UploadLimit::default();
        // Each holds a part of the permits that it needs, and together they hold all.
        let uploads = join_all(fill(&limit).into_iter().map(async |mut upload| {
            for _ in 0..3 {
                upload.grow(MIB).await;
            }
        }));
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), uploads).await;
        assert!(ended.is_ok(), "every upload ends");
        assert_eq!((limit.under_way(), limit.memory.available_permits()), (0, MEMORY_KIB as usize));
    }

    #[test]
    fn a_part_larger_than_the_memory_limit_goes_through() {
        let limit = UploadLimit::default();
        let mut huge = limit.begin();
        for _ in 0..=MEMORY_KIB / 1024 {
            huge.grow(MIB).now_or_never().unwrap();
        }
        assert!(limit.begin().grow(1).now_or_never().is_none());
        drop(huge);
        assert!(limit.begin().grow(1).now_or_never().is_some());
    }
}
