//! The store as one rekeyer sees it: slow, failing, and in a sabotaged history broken on purpose.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use vault_core::{
    DeleteOutcome, InsertOutcome, MemoryStore, PageLimit, Purge, PutSetting, Query, Record,
    RecordChange, RecordId, RecordSink, RecordSource, Replacement, SealedRecord, StoreError,
    StoreErrorKind, Timer, Timestamp, Token, VaultStore, WriteOutcome,
};

use crate::{
    chance::Chance,
    counters::{Counters, add},
};

/// What is broken on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    NoCompareAndSwap,
    OffsetPaging,
    DroppedLastPage,
    InclusiveCursor,
    BumpedTimestamp,
    UndoOnUnknownOutcome,
    ConflictsReportedAsApplied,
    /// A batch is acknowledged, and so in the state, before it is written.
    CheckpointBeforeWrite,
    /// Later passes are shown an empty vault.
    OnePass,
}

/// The answer of the store in memory, which never waits.
pub(crate) fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    answer.now_or_never().unwrap().unwrap()
}

/// What goes wrong in one history, and the trace of what went on.
pub(crate) struct Chaos {
    chance: Mutex<Chance>,
    /// One call in so many goes wrong; 0 is none.
    rarity: AtomicUsize,
    late: Mutex<Vec<Late>>,
    trace: AtomicU64,
    pub(crate) counters: Arc<Counters>,
}

/// A batch that goes in after its caller was told that its fate is unknown.
struct Late {
    batch: Arc<[Replacement]>,
    store: Arc<Backend>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sound,
    Refused(StoreErrorKind),
    ReplyLost,
    Late,
}

impl Chaos {
    pub(crate) fn new(seed: u64, rarity: usize, counters: Arc<Counters>) -> Arc<Self> {
        let chance = Mutex::new(Chance::of_seed(!seed));
        let rarity = AtomicUsize::new(rarity);
        Arc::new(Self {
            chance,
            rarity,
            late: Mutex::default(),
            trace: AtomicU64::new(0),
            counters,
        })
    }

    /// From now on nothing fails, and what was late has gone in.
    pub(crate) fn end(&self) {
        self.rarity.store(0, Relaxed);
        while self.land_one() {}
    }

    /// Lets the batch that is late for longest go in.
    pub(crate) fn land_one(&self) -> bool {
        let mut late = self.late.lock().unwrap();
        if late.is_empty() {
            return false;
        }
        let Late { batch, store } = late.remove(0);
        store.replace(&batch);
        add(&self.counters.late_batches, 1);
        true
    }

    /// Takes down what happened, so that two runs of a seed can be compared.
    pub(crate) fn trace(&self, what: u64) {
        let so_far = self.trace.load(Relaxed);
        self.trace
            .store((so_far.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95), Relaxed);
    }

    pub(crate) fn traced(&self) -> u64 {
        self.trace.load(Relaxed)
    }

    fn fate(&self) -> Fate {
        use StoreErrorKind::{Full, Retryable, Stopped, UnknownOutcome, Unsupported};
        let mut chance = self.chance.lock().unwrap();
        if !chance.one_in(self.rarity.load(Relaxed)) {
            return Fate::Sound;
        }
        match chance.below(12) {
            0..4 => Fate::ReplyLost,
            4..6 => Fate::Late,
            6 => Fate::Refused(chance.pick(&[Full, Stopped])),
            7 => Fate::Refused(Unsupported),
            8 => Fate::Refused(UnknownOutcome),
            _ => Fate::Refused(Retryable),
        }
    }

    /// Is pending for a few polls.
    fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let polls = self.chance.lock().unwrap().below(3);
        async move {
            for _ in 0..polls {
                futures::pending!();
            }
        }
    }
}

/// Waits a few polls whatever the time asked for.
impl Timer for Chaos {
    fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        self.wait().boxed()
    }
}

/// The store in memory with its sabotage, and what one rekeyer really wrote to it.
pub(crate) struct Backend {
    inner: MemoryStore,
    sabotage: Sabotage,
    counters: Arc<Counters>,
    /// Replacements that were made.
    pub(crate) applied: AtomicU64,
}

impl Backend {
    fn replace(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut batch = batch.to_vec();
        if self.sabotage == Sabotage::NoCompareAndSwap {
            let ids: Vec<_> = batch.iter().map(|replacement| replacement.id.clone()).collect();
            for (replacement, stored) in batch.iter_mut().zip(now(self.inner.read_records(&ids))) {
                if let Some(stored) = stored {
                    replacement.expected = stored.envelope;
                }
            }
        }
        let mut outcomes = now(self.inner.write_batch(batch.clone().into()));
        let count = |of| outcomes.iter().filter(|outcome| **outcome == of).count() as u64;
        self.applied.fetch_add(count(WriteOutcome::Applied), Relaxed);
        add(&self.counters.conflicts, count(WriteOutcome::Conflict));
        match self.sabotage {
            Sabotage::BumpedTimestamp => {
                let updated_at = Some(Timestamp::from_micros(1_900_000_000_000_000));
                for Replacement { id, .. } in batch {
                    now(self.inner.update(RecordChange { updated_at, ..RecordChange::of(id) }));
                }
            }
            Sabotage::ConflictsReportedAsApplied => {
                for outcome in &mut outcomes {
                    if *outcome == WriteOutcome::Conflict {
                        *outcome = WriteOutcome::Applied;
                    }
                }
            }
            _ => {}
        }
        outcomes
    }

    /// Writes back what was there before the batch, whatever is there now.
    fn undo(&self, batch: &[Replacement]) {
        for replacement in batch {
            let envelope = Some(replacement.expected.clone());
            now(self
                .inner
                .update(RecordChange { envelope, ..RecordChange::of(replacement.id.clone()) }));
        }
    }

    fn page(&self, after: Option<&RecordId>, limit: PageLimit, given: usize) -> Vec<SealedRecord> {
        let all = PageLimit::new(usize::MAX, usize::MAX);
        let sound = now(self.inner.read_page(after, limit));
        match self.sabotage {
            Sabotage::OffsetPaging => {
                let skipped = now(self.inner.read_page(None, all)).into_iter().skip(given);
                skipped.take(limit.records.get()).collect()
            }
            Sabotage::DroppedLastPage => {
                let last = sound.last().map(|record| &record.id);
                if now(self.inner.read_page(last, all)).is_empty() { Vec::new() } else { sound }
            }
            Sabotage::InclusiveCursor => {
                let ids: Vec<_> = after.into_iter().cloned().collect();
                let again = now(self.inner.read_records(&ids)).into_iter().flatten();
                again.chain(sound).take(limit.records.get()).collect()
            }
            _ => sound,
        }
    }
}

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
    /// How many passes read their first page.
    pub(crate) firsts: AtomicU64,
    /// Whether the fate of a batch was ever unknown.
    pub(crate) unknown: AtomicBool,
}

impl SimStore {
    pub(crate) fn new(
        inner: MemoryStore,
        sabotage: Sabotage,
        chaos: &Arc<Chaos>,
        gone_from: usize,
    ) -> Arc<Self> {
        let counters = Arc::clone(&chaos.counters);
        let applied = AtomicU64::new(0);
        Arc::new(Self {
            backend: Arc::new(Backend { inner, sabotage, counters, applied }),
            chaos: Arc::clone(chaos),
            calls: AtomicUsize::new(0),
            gone_from,
            given: AtomicUsize::new(0),
            to_undo: Mutex::default(),
            unwritten: Mutex::default(),
            firsts: AtomicU64::new(0),
            unknown: AtomicBool::new(false),
        })
    }

    async fn call<T: Send>(
        &self,
        batch: Option<&Arc<[Replacement]>>,
        effect: impl FnOnce() -> T + Send,
    ) -> Result<T, StoreError> {
        self.chaos.wait().await;
        if let Some(batch) = self.unwritten.lock().unwrap().take() {
            self.backend.replace(&batch);
        }
        let mut fate = self.chaos.fate();
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        if self.gone_from != 0 && call >= self.gone_from {
            fate = Fate::Refused(StoreErrorKind::Retryable);
        }
        if fate == Fate::Late && batch.is_none() {
            fate = Fate::Refused(StoreErrorKind::UnknownOutcome);
        }
        let counters = &self.chaos.counters;
        if let (Fate::Late | Fate::ReplyLost, Some(batch)) = (fate, batch) {
            self.unknown.store(true, Relaxed);
            if self.backend.sabotage == Sabotage::UndoOnUnknownOutcome {
                *self.to_undo.lock().unwrap() = Some(Arc::clone(batch));
            }
        }
        match (fate, batch) {
            (Fate::Refused(kind), _) => {
                add(&counters.calls_refused, 1);
                return Err(StoreError::new(kind, "the simulated store refused"));
            }
            (Fate::Late, Some(batch)) => {
                let (batch, store) = (Arc::clone(batch), Arc::clone(&self.backend));
                self.chaos.late.lock().unwrap().push(Late { batch, store });
                return Err(unknown_outcome());
            }
            _ => {}
        }
        let answer = effect();
        self.chaos.wait().await;
        if fate == Fate::ReplyLost {
            add(&counters.replies_lost, 1);
            return Err(unknown_outcome());
        }
        Ok(answer)
    }
}

fn unknown_outcome() -> StoreError {
    StoreError::new(StoreErrorKind::UnknownOutcome, "the simulated store lost the reply")
}

#[async_trait]
impl RecordSource for SimStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let page = || {
            let later = match after {
                None => self.firsts.fetch_add(1, Relaxed) > 0,
                Some(_) => false,
            };
            if later && self.backend.sabotage == Sabotage::OnePass {
                return Vec::new();
            }
            let given = if after.is_none() { 0 } else { self.given.load(Relaxed) };
            self.backend.page(after, limit, given)
        };
        let page = self.call(None, page).await?;
        if after.is_none() {
            self.given.store(0, Relaxed);
        }
        self.given.fetch_add(page.len(), Relaxed);
        self.chaos.trace(page.len() as u64 + 1);
        Ok(page)
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let read = || {
            if let Some(batch) = self.to_undo.lock().unwrap().take() {
                self.backend.undo(&batch);
            }
            now(self.backend.inner.read_records(ids))
        };
        self.chaos.trace(ids.len() as u64 + 100);
        self.call(None, read).await
    }
}

#[async_trait]
impl RecordSink for SimStore {
    async fn write_batch(
        &self,
        batch: Arc<[Replacement]>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let replace = || {
            if self.backend.sabotage == Sabotage::CheckpointBeforeWrite {
                *self.unwritten.lock().unwrap() = Some(Arc::clone(&batch));
                return vec![WriteOutcome::Applied; batch.len()];
            }
            self.backend.replace(&batch)
        };
        let outcomes = self.call(Some(&batch), replace).await;
        for outcome in outcomes.iter().flatten() {
            self.chaos.trace(200 + *outcome as u64);
        }
        outcomes
    }
}

/// Of these a rekey only counts.
#[async_trait]
impl VaultStore for SimStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.backend.inner.insert(records).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        self.backend.inner.find(tokens).await
    }

    async fn query(&self, query: &Query, at: Timestamp) -> Result<Vec<Record>, StoreError> {
        self.backend.inner.query(query, at).await
    }

    async fn count_matching(&self, query: &Query, at: Timestamp) -> Result<u64, StoreError> {
        self.call(None, || now(self.backend.inner.count_matching(query, at))).await
    }

    async fn update(&self, change: RecordChange) -> Result<WriteOutcome, StoreError> {
        self.backend.inner.update(change).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.backend.inner.delete(id).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        at: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.backend.inner.purge_expired(purge, at, after, limit).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.backend.inner.setting(name).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.backend.inner.settings().await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        self.backend.inner.put_setting(name, value, put).await
    }
}
