//! Counting writes, so that a reader can detect concurrent writes.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The number of writes that a store knows of, at a moment when none was in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteCount {
    /// The number of writes through this store and its clones since it was opened. Each
    /// [`swap_batch`](crate::store::RecordSink::swap_batch) that returned counts exactly one.
    pub local: u64,
    /// Changes whenever another handle or process has modified a record. A store that no one else
    /// can open leaves it at 0.
    pub external: u64,
}

impl WriteCount {
    /// Returns whether only this many batches of one's own were written since an earlier count.
    #[must_use]
    pub fn advanced_only_by(&self, earlier: &Self, batches: u64) -> bool {
        self.external == earlier.external
            && earlier.local.checked_add(batches).is_some_and(|expected| expected == self.local)
    }
}

/// Counts the writes through one store. Helper for implementing
/// [`VaultStore::write_count`](crate::store::VaultStore::write_count).
///
/// ```
/// let counter = vault_store::WriteCounter::default();
/// assert_eq!(counter.count(), Some(0));
/// let under_way = counter.begin();
/// // … the transaction, its commit included …
/// assert_eq!(counter.count(), None);
/// drop(under_way);
/// assert_eq!(counter.count(), Some(1));
/// ```
#[derive(Debug, Default)]
pub struct WriteCounter {
    started: AtomicU64,
    ended: AtomicU64,
}

impl WriteCounter {
    /// Counts a write. Call it before the write can take effect, and keep the guard until it no
    /// longer can. Do so in the task that performs the write, because the caller's future may be
    /// dropped earlier.
    pub fn begin(&self) -> WriteGuard<'_> {
        self.started.fetch_add(1, SeqCst);
        WriteGuard(self)
    }

    /// Returns the number of writes, whether or not they changed anything, or `None` while one is
    /// in progress, because it may take effect before or after this moment.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        // The order matters: a write that starts in between counts as in progress.
        let ended = self.ended.load(SeqCst);
        let started = self.started.load(SeqCst);
        (started == ended).then_some(started)
    }
}

/// A write in progress, until this guard is dropped.
#[derive(Debug)]
pub struct WriteGuard<'a>(&'a WriteCounter);

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_under_way_hides_the_count() {
        let counter = WriteCounter::default();
        let (one, other) = (counter.begin(), counter.begin());
        assert_eq!(counter.count(), None);
        drop(one);
        assert_eq!(counter.count(), None);
        drop(other);
        assert_eq!(counter.count(), Some(2));
    }

    #[test]
    fn only_the_batches_of_ones_own_are_only_these() {
        let earlier = WriteCount { local: 5, external: 7 };
        let now = WriteCount { local: 8, external: 7 };
        assert!(now.advanced_only_by(&earlier, 3));
        assert!(!now.advanced_only_by(&earlier, 2));
        assert!(!now.advanced_only_by(&earlier, 4));
        assert!(!WriteCount { external: 8, ..now }.advanced_only_by(&earlier, 3));
    }
}
