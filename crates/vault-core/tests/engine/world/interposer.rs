//! A store that lets others in at the worst moment, or fails.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use vault_conformance::{Intercept, Intercepted};
use vault_core::store::{
    Page, PageLimit, RecordSink, RecordSource, Replacement, SealedRecord, WriteCount, WriteOutcome,
};
use vault_core::{MemoryStore, RecordId, StoreError, StoreErrorKind, VaultStore};

/// Meddles with the store in memory; clones share the counts.
#[derive(Clone)]
pub(crate) struct Interposer {
    deed: Deed,
    writes: Arc<AtomicUsize>,
    fired: Arc<AtomicUsize>,
    batches: Arc<Mutex<Vec<usize>>>,
}

#[derive(Clone)]
enum Deed {
    Watch,
    BeforeWrite { which: RangeInclusive<usize>, act: Arc<dyn Fn() + Send + Sync> },
    Fail { which: RangeInclusive<usize>, kind: StoreErrorKind, after_effect: bool },
    Refuse { id: RecordId, kind: StoreErrorKind },
    ReversePages,
    DoNotCount,
}

impl Interposer {
    fn new(deed: Deed) -> Self {
        Self { deed, writes: Arc::default(), fired: Arc::default(), batches: Arc::default() }
    }

    /// Only takes down the sizes of the batches.
    pub(crate) fn watching() -> Self {
        Self::new(Deed::Watch)
    }

    /// Acts just before the n-th batch is written.
    pub(crate) fn before_write(number: usize, act: impl Fn() + Send + Sync + 'static) -> Self {
        Self::new(Deed::BeforeWrite { which: number..=number, act: Arc::new(act) })
    }

    /// Acts just before each batch.
    pub(crate) fn before_every_write(act: impl Fn() + Send + Sync + 'static) -> Self {
        Self::new(Deed::BeforeWrite { which: 1..=usize::MAX, act: Arc::new(act) })
    }

    /// Fails these batches, before or after they took effect.
    pub(crate) fn failing(
        which: RangeInclusive<usize>,
        kind: StoreErrorKind,
        after_effect: bool,
    ) -> Self {
        Self::new(Deed::Fail { which, kind, after_effect })
    }

    /// Refuses every batch that holds this record.
    pub(crate) fn refusing(id: RecordId, kind: StoreErrorKind) -> Self {
        Self::new(Deed::Refuse { id, kind })
    }

    /// Hands over every page in reverse.
    pub(crate) fn reversing() -> Self {
        Self::new(Deed::ReversePages)
    }

    /// Cannot tell how many writes there were.
    pub(crate) fn not_counting() -> Self {
        Self::new(Deed::DoNotCount)
    }

    pub(crate) fn over(&self, store: MemoryStore) -> impl VaultStore + use<> {
        Intercepted(Meddled { interposer: self.clone(), store })
    }

    /// How often it did its deed.
    pub(crate) fn fired(&self) -> usize {
        self.fired.load(Ordering::SeqCst)
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

struct Meddled {
    interposer: Interposer,
    store: MemoryStore,
}

impl Meddled {
    fn fire(&self) {
        self.interposer.fired.fetch_add(1, Ordering::SeqCst);
    }
}

impl Intercept for Meddled {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.store
    }

    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let mut page = self.store.read_page(after, limit).await?;
        if matches!(self.interposer.deed, Deed::ReversePages) {
            self.fire();
            page.records.reverse();
        }
        Ok(page)
    }

    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        match self.interposer.deed {
            Deed::DoNotCount => Ok(None),
            _ => self.store.write_count().await,
        }
    }

    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        let number = self.interposer.writes.fetch_add(1, Ordering::SeqCst) + 1;
        self.interposer.batches.lock().unwrap().push(batch.len());
        match &self.interposer.deed {
            Deed::BeforeWrite { which, act } if which.contains(&number) => {
                self.fire();
                act();
            }
            Deed::Fail { which, kind, after_effect } if which.contains(&number) => {
                self.fire();
                if *after_effect {
                    self.store.swap_batch(batch).await?;
                }
                return Err(StoreError::new(*kind, "the test's store failed"));
            }
            Deed::Refuse { id, kind } if batch.iter().any(|replacement| replacement.id == *id) => {
                self.fire();
                return Err(StoreError::new(*kind, "the test's store refused"));
            }
            _ => {}
        }
        self.store.swap_batch(batch).await
    }
}
