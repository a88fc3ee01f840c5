//! The store as one rekeyer sees it: slow and failing.

use std::collections::HashMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use vault_conformance::{Intercept, Intercepted};
use vault_core::store::{
    EnvelopeHead, Page, PageLimit, RecordHead, Replacement, SealedRecord, WriteCount, WriteOutcome,
};
use vault_core::{MemoryStore, RecordId, StoreError, StoreErrorKind, VaultStore as _};

use crate::backend::{Backend, Sabotage, now};
use crate::chaos::{Chaos, Fate};
use crate::counters::{Counters, add};

/// One rekeyer's way to the store.
pub(crate) struct SimStore {
    pub(crate) backend: Arc<Backend>,
    chaos: Arc<Chaos>,
    calls: AtomicUsize,
    /// From this call on the store is gone; 0 is never.
    gone_from: usize,
    /// How many records were read, for who pages by offset.
    given: AtomicUsize,
    to_undo: Mutex<Option<Arc<[Replacement]>>>,
    /// Acknowledged and not yet written.
    unwritten: Mutex<Option<Arc<[Replacement]>>>,
    /// Whether it can tell how many writes there were.
    counts: bool,
    /// How often it did.
    pub(crate) counted: AtomicU64,
    /// Batches that it answered for.
    answered: AtomicU64,
    /// How many passes read their first page.
    pub(crate) firsts: AtomicU64,
    /// Whether the fate of a batch was ever unknown.
    pub(crate) unknown: AtomicBool,
    /// The heads that were read last.
    heads: Mutex<HashMap<RecordId, EnvelopeHead>>,
}

impl SimStore {
    pub(crate) fn new(
        inner: MemoryStore,
        sabotage: Sabotage,
        chaos: &Arc<Chaos>,
        gone_from: usize,
        counts: bool,
    ) -> Arc<Intercepted<Self>> {
        Arc::new(Intercepted(Self {
            backend: Backend::new(inner, sabotage, Arc::clone(&chaos.counters)),
            chaos: Arc::clone(chaos),
            calls: AtomicUsize::new(0),
            gone_from,
            given: AtomicUsize::new(0),
            to_undo: Mutex::default(),
            unwritten: Mutex::default(),
            counts,
            counted: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            firsts: AtomicU64::new(0),
            unknown: AtomicBool::new(false),
            heads: Mutex::default(),
        }))
    }

    fn page(&self, after: Option<&RecordId>, limit: PageLimit) -> Vec<SealedRecord> {
        let later = match after {
            None => self.firsts.fetch_add(1, Relaxed) > 0,
            Some(_) => false,
        };
        if later && self.backend.sabotage == Sabotage::OnePass {
            return Vec::new();
        }
        let given = if after.is_none() { 0 } else { self.given.load(Relaxed) };
        self.backend.page(after, limit, given)
    }

    fn has_read(&self, after: Option<&RecordId>, last: Option<&RecordId>, records: usize) {
        if after.is_none() {
            self.given.store(0, Relaxed);
        }
        self.given.fetch_add(records, Relaxed);
        self.chaos.trace(records as u64 + 1);
        if let Some(last) = last {
            *self.chaos.cursor.lock().unwrap() = Some(last.clone());
        }
    }

    async fn call<T: Send>(
        &self,
        batch: Option<&Arc<[Replacement]>>,
        effect: impl FnOnce() -> T + Send,
    ) -> Result<T, StoreError> {
        let counters = &self.chaos.counters;
        let mut way = Way { counters, stage: Stage::Before };
        self.chaos.wait().await;
        if let Some(batch) = self.unwritten.lock().unwrap().take() {
            self.backend.replace(&batch);
        }
        let fate = self.fate(batch);
        match (fate, batch) {
            (Fate::Sound | Fate::FailsAfter(_), _) => {}
            (Fate::Late, Some(batch)) => {
                self.chaos.delay(Arc::clone(batch), Arc::clone(&self.backend));
                return way.end(Err(failure(StoreErrorKind::UnknownOutcome)));
            }
            (Fate::Torn(first, kind), Some(batch)) => {
                self.backend.replace(&batch[..first.min(batch.len() - 1)]);
                add(&counters.torn_batches, 1);
                return way.end(Err(failure(kind)));
            }
            (Fate::Refused(kind) | Fate::Torn(_, kind), _) => {
                self.chaos.count_refusal(kind);
                return way.end(Err(failure(kind)));
            }
            (Fate::Late, None) => return way.end(Err(failure(StoreErrorKind::UnknownOutcome))),
        }
        let answer = effect();
        way.stage = Stage::After;
        self.chaos.wait().await;
        let Fate::FailsAfter(kind) = fate else { return way.end(Ok(answer)) };
        let lost = kind == StoreErrorKind::UnknownOutcome;
        add(if lost { &counters.replies_lost } else { &counters.errors_after_the_effect }, 1);
        way.end(Err(failure(kind)))
    }

    fn fate(&self, batch: Option<&Arc<[Replacement]>>) -> Fate {
        let fate = self.chaos.fate(batch.is_some());
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        if self.gone_from != 0 && call >= self.gone_from {
            add(&self.chaos.counters.calls_to_a_store_that_is_gone, 1);
            return Fate::Refused(StoreErrorKind::Retryable);
        }
        let Some(batch) = batch else { return fate };
        match fate {
            // There is nothing to tear.
            Fate::Torn(_, kind) if batch.len() < 2 => return Fate::Refused(kind),
            Fate::Late | Fate::FailsAfter(_) | Fate::Torn(..) => {
                self.unknown.store(true, Relaxed);
                if self.backend.sabotage == Sabotage::UndoOnUnknownOutcome {
                    *self.to_undo.lock().unwrap() = Some(Arc::clone(batch));
                }
            }
            Fate::Sound | Fate::Refused(_) => {}
        }
        fate
    }
}

fn failure(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "the simulated store failed")
}

/// A call on its way, which its caller may drop.
struct Way<'a> {
    counters: &'a Counters,
    stage: Stage,
}

enum Stage {
    Before,
    After,
    Ended,
}

impl Way<'_> {
    fn end<T>(&mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.stage = Stage::Ended;
        answer
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Before => add(&self.counters.calls_dropped_before_the_effect, 1),
            Stage::After => add(&self.counters.calls_dropped_after_the_effect, 1),
            Stage::Ended => {}
        }
    }
}

/// Besides these calls a rekey only counts, and reads settings.
impl Intercept for SimStore {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.backend.inner
    }

    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.call(None, || now(call)).await
    }

    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let page = self.call(None, || self.page(after, limit)).await?;
        self.has_read(after, page.last().map(|record| &record.id), page.len());
        Ok(page.into())
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        let heads = || self.backend.heads(self.page(after, limit));
        let page = self.call(None, heads).await?;
        self.has_read(after, page.last().map(|head| &head.id), page.len());
        add(&self.chaos.counters.heads_read, page.len() as u64);
        let heads = page.iter().map(|head| (head.id.clone(), head.head.clone()));
        self.heads.lock().unwrap().extend(heads);
        Ok(page.into())
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let read = || {
            if let Some(batch) = self.to_undo.lock().unwrap().take() {
                self.backend.undo(&batch);
            }
            self.backend.read_records(ids)
        };
        self.chaos.trace(ids.len() as u64 + 100);
        let records = self.call(None, read).await?;
        let heads = self.heads.lock().unwrap();
        let changed = |record: &&SealedRecord| {
            let head = heads.get(&record.id);
            head.is_some_and(|head| *head != EnvelopeHead::from(&record.envelope))
        };
        let changed = records.iter().flatten().filter(changed).count();
        add(&self.chaos.counters.records_of_another_version_than_their_heads, changed as u64);
        Ok(records)
    }

    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        let count = || {
            self.counted.fetch_add(1, Relaxed);
            match self.backend.sabotage {
                Sabotage::CountsOnlyOwnWrites => {
                    Some(WriteCount { local: self.answered.load(Relaxed), external: 0 })
                }
                _ if self.counts => now(self.inner().write_count()),
                _ => None,
            }
        };
        self.call(None, count).await
    }

    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        let replace = || {
            if self.backend.sabotage == Sabotage::CheckpointBeforeWrite {
                *self.unwritten.lock().unwrap() = Some(Arc::clone(&batch));
                return vec![WriteOutcome::Applied; batch.len()];
            }
            self.backend.replace(&batch)
        };
        let outcomes = self.call(Some(&batch), replace).await;
        self.answered.fetch_add(u64::from(outcomes.is_ok()), Relaxed);
        for outcome in outcomes.iter().flatten() {
            self.chaos.trace(200 + *outcome as u64);
        }
        outcomes
    }
}
