//! How many parts may be on their way into the store at once: by number, and by what they take of memory.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Parts that are received and stored at the same time. Each waits for the disk; a disk that is asked for many at once
/// syncs them together.
const PARTS: usize = 64;

/// KiB of them, which lie in memory meanwhile. A part that is larger has it all for itself.
const KIB: u32 = 256 << 10;

/// The room for parts; more of them wait at their workers.
#[derive(Debug)]
pub(crate) struct Uploads {
    parts: Semaphore,
    kib: Semaphore,
}

/// Room for one part, as long as this lives.
#[derive(Debug)]
pub(crate) struct Room<'u> {
    _part: SemaphorePermit<'u>,
    _kib: SemaphorePermit<'u>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { parts: Semaphore::new(PARTS), kib: Semaphore::new(KIB as usize) }
    }
}

impl Uploads {
    /// Waits until there is room for a part of `bytes`; those who came before come first.
    pub(crate) async fn room(&self, bytes: u64) -> Option<Room<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(KIB).clamp(1, KIB);
        // The semaphores are never closed. Memory first: who waits for it holds up nobody of those who have it.
        let kib = self.kib.acquire_many(kib).await.ok()?;
        let part = self.parts.acquire().await.ok()?;
        Some(Room { _part: part, _kib: kib })
    }

    /// Parts on their way.
    pub(crate) fn under_way(&self) -> usize {
        PARTS.saturating_sub(self.parts.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn many_small_parts_fit_and_a_huge_one_is_alone() {
        let uploads = Uploads::default();
        let mut small: Vec<Room<'_>> = Vec::new();
        while let Some(Some(room)) = uploads.room(2000).now_or_never() {
            small.push(room);
        }
        assert_eq!((small.len(), uploads.under_way()), (PARTS, PARTS));
        drop(small);
        let huge = uploads.room(u64::MAX).now_or_never().flatten().unwrap();
        assert!(uploads.room(1).now_or_never().is_none());
        drop(huge);
        assert!(uploads.room(1).now_or_never().is_some());
        assert_eq!(uploads.under_way(), 0);
    }
}
