//! Upload limit: how much of the parts that are being uploaded lies in memory, and how many are written at a time.
//!
//! Room is taken as bytes arrive: an upload holds what it has sent, whatever its header announced. So an upload that
//! stalls holds little, and gives it back when its time is over ([`crate::server::stream_limits`]).
//!
//! *Invariant*: uploads never wait for one another in a circle. When all room is taken, one of the uploads that need more
//! takes the overdraft and needs no room until it ends. It waits for its own bytes alone, for a bounded time; then its
//! room is free, and the next one takes the overdraft. A place at the store is taken only by a part that has arrived
//! whole, so nothing that waits for a peer holds one. *Memory*: [`ROOM_KIB`] and one part of the largest size at most,
//! and besides one message of each upload that waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Parts that are written to the store at the same time. Each waits for the disk; a disk that is asked for many at once
/// syncs them together.
pub(crate) const WRITES: usize = 64;

/// KiB of parts that may lie in memory.
pub(crate) const ROOM_KIB: u32 = 256 << 10;

/// The limit for all uploads together.
#[derive(Debug)]
pub(crate) struct UploadLimit {
    room: Semaphore,
    overdraft: Semaphore,
    writes: Semaphore,
    under_way: AtomicUsize,
}

/// The share of one upload, given back when dropped.
#[derive(Debug)]
pub(crate) struct UploadPermit<'l> {
    limit: &'l UploadLimit,
    bytes: u64,
    room: Option<SemaphorePermit<'l>>,
    overdraft: Option<SemaphorePermit<'l>>,
}

impl Default for UploadLimit {
    fn default() -> Self {
        Self {
            room: Semaphore::new(ROOM_KIB as usize),
            overdraft: Semaphore::new(1),
            writes: Semaphore::new(WRITES),
            under_way: AtomicUsize::new(0),
        }
    }
}

impl UploadLimit {
    /// An upload begins. It holds no room yet.
    pub(crate) fn begin(&self) -> UploadPermit<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UploadPermit { limit: self, bytes: 0, room: None, overdraft: None }
    }

    /// Waits for a place at the store, for a part that has arrived whole; `None`: never, the limit is not closed.
    pub(crate) async fn write(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok()
    }

    /// Uploads that have begun and not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl UploadPermit<'_> {
    /// Takes room for `bytes` that have arrived; waits while there is none.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.overdraft.is_some() {
            return;
        }
        let held = self.room.as_ref().map_or(0, |room| room.num_permits() as u64);
        let missing = self.bytes.div_ceil(1024).saturating_sub(held);
        let missing = u32::try_from(missing).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        let limit = self.limit;
        tokio::select! {
            biased;
            room = limit.room.acquire_many(missing) => match (&mut self.room, room) {
                (Some(held), Ok(room)) => held.merge(room),
                (none, room) => *none = room.ok(),
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

    /// Fills all room, and the overdraft, with uploads that stay; the last one holds the overdraft.
    fn fill(limit: &UploadLimit) -> Vec<UploadPermit<'_>> {
        let room = ROOM_KIB as usize / 1024;
        let mut uploads: Vec<_> = (0..=room).map(|_| limit.begin()).collect();
        for upload in &mut uploads {
            // Also where more of them come than a task may do at a time.
            unconstrained(upload.grow(MIB)).now_or_never().unwrap();
        }
        uploads
    }

    #[test]
    fn an_upload_holds_what_it_has_sent() {
        let limit = UploadLimit::default();
        let mut stalled: Vec<_> = (0..1000).map(|_| limit.begin()).collect();
        for upload in &mut stalled {
            upload.grow(1000).now_or_never().unwrap();
        }
        assert_eq!(limit.under_way(), 1000);
        assert_eq!(limit.room.available_permits(), ROOM_KIB as usize - 1000, "a KiB for each");
        let mut small = limit.begin();
        small.grow(24).now_or_never().unwrap();
        small.grow(1000).now_or_never().unwrap();
        assert_eq!(limit.room.available_permits(), ROOM_KIB as usize - 1001, "bytes are counted together");
        drop((stalled, small));
        assert_eq!((limit.under_way(), limit.room.available_permits()), (0, ROOM_KIB as usize));
    }

    #[test]
    fn without_room_an_upload_waits_until_another_ends() {
        let limit = UploadLimit::default();
        let mut uploads = fill(&limit);
        let mut late = limit.begin();
        assert!(late.grow(1).now_or_never().is_none(), "room and overdraft are taken");
        drop(late);
        drop(uploads.pop());
        let mut late = limit.begin();
        assert!(late.grow(1).now_or_never().is_some(), "the overdraft is free");
        drop(uploads.pop());
        assert!(limit.begin().grow(MIB).now_or_never().is_some(), "room is free");
    }

    #[tokio::test]
    async fn partial_uploads_never_wait_for_one_another_in_a_circle() {
        let limit = UploadLimit::default();
        // All of them hold a part of what they need, and together all there is.
        let uploads = join_all(fill(&limit).into_iter().map(async |mut upload| {
            for _ in 0..3 {
                upload.grow(MIB).await;
            }
        }));
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), uploads).await;
        assert!(ended.is_ok(), "every upload ends");
        assert_eq!((limit.under_way(), limit.room.available_permits()), (0, ROOM_KIB as usize));
    }

    #[test]
    fn a_part_larger_than_all_room_goes_through() {
        let limit = UploadLimit::default();
        let mut huge = limit.begin();
        for _ in 0..=ROOM_KIB / 1024 {
            huge.grow(MIB).now_or_never().unwrap();
        }
        assert!(limit.begin().grow(1).now_or_never().is_none());
        drop(huge);
        assert!(limit.begin().grow(1).now_or_never().is_some());
    }
}
