//! The store in memory, in a sabotaged history broken on purpose.

use std::collections::HashMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::FutureExt;
use vault_core::store::{
    PageLimit, RecordHead, RecordSink, RecordSource, RecordUpdate, Replacement, SealedRecord,
    WriteOutcome,
};
use vault_core::{MemoryStore, RecordId, StoreError, Timestamp, VaultStore};

use crate::counters::{Counters, add};

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
    /// Of a batch only a part is written, and all of it is acknowledged.
    TornBatchReportedAsApplied,
    /// A batch is acknowledged, and so in the state, before it is written.
    CheckpointBeforeWrite,
    /// Later passes are shown an empty vault.
    OnePass,
    /// The store counts the writes of the rekeyer that asks, and no others.
    CountsOnlyOwnWrites,
    /// Records are written as the vault's settings say, not as they were.
    AnotherForm,
    /// The head of a record stays what it was when it was first read, whatever its body becomes.
    HeadOfAnotherVersion,
}

/// The answer of the store in memory, which never waits.
pub(crate) fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    answer.now_or_never().unwrap().unwrap()
}

/// The store in memory with its sabotage, and what one rekeyer really wrote to it.
pub(crate) struct Backend {
    pub(crate) inner: MemoryStore,
    pub(crate) sabotage: Sabotage,
    counters: Arc<Counters>,
    /// Replacements that were made.
    pub(crate) applied: AtomicU64,
    /// The heads that were read first.
    first_heads: Mutex<HashMap<RecordId, RecordHead>>,
}

impl Backend {
    pub(crate) fn new(
        inner: MemoryStore,
        sabotage: Sabotage,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            sabotage,
            counters,
            applied: AtomicU64::new(0),
            first_heads: Mutex::default(),
        })
    }

    pub(crate) fn replace(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut batch = batch.to_vec();
        if self.sabotage == Sabotage::NoCompareAndSwap {
            let ids: Vec<_> = batch.iter().map(|replacement| replacement.id.clone()).collect();
            for (replacement, stored) in batch.iter_mut().zip(now(self.inner.read_records(&ids))) {
                if let Some(stored) = stored {
                    replacement.expected = stored.envelope;
                }
            }
        }
        let acknowledged = batch.len();
        if self.sabotage == Sabotage::TornBatchReportedAsApplied {
            batch.truncate(acknowledged.div_ceil(2));
        }
        let mut outcomes = now(self.inner.swap_batch(batch.clone().into()));
        self.count(&outcomes);
        match self.sabotage {
            Sabotage::BumpedTimestamp => {
                let updated_at = Some(Timestamp::from_micros(1_900_000_000_000_000));
                for Replacement { id, .. } in batch {
                    now(self.inner.update(RecordUpdate { updated_at, ..RecordUpdate::of(id) }));
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
        outcomes.resize(acknowledged, WriteOutcome::Applied);
        outcomes
    }

    fn count(&self, outcomes: &[WriteOutcome]) {
        let count = |of| outcomes.iter().filter(|outcome| **outcome == of).count() as u64;
        let applied = count(WriteOutcome::Applied);
        self.applied.fetch_add(applied, Relaxed);
        add(&self.counters.conflicts, count(WriteOutcome::Conflict));
        let mixed = applied > 0 && applied < outcomes.len() as u64;
        add(&self.counters.mixed_batches, u64::from(mixed));
    }

    /// Writes back what was there before the batch, whatever is there now.
    pub(crate) fn undo(&self, batch: &[Replacement]) {
        for replacement in batch {
            let envelope = Some(replacement.expected.clone());
            now(self
                .inner
                .update(RecordUpdate { envelope, ..RecordUpdate::of(replacement.id.clone()) }));
        }
    }

    pub(crate) fn read_records(&self, ids: &[RecordId]) -> Vec<Option<SealedRecord>> {
        now(self.inner.read_records(ids))
    }

    pub(crate) fn heads(&self, records: Vec<SealedRecord>) -> Vec<RecordHead> {
        let mut first = self.first_heads.lock().unwrap();
        let heads = records.into_iter().map(|record| {
            let head = RecordHead::from(record);
            match self.sabotage {
                Sabotage::HeadOfAnotherVersion => {
                    first.entry(head.id.clone()).or_insert(head).clone()
                }
                _ => head,
            }
        });
        heads.collect()
    }

    pub(crate) fn page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
        given: usize,
    ) -> Vec<SealedRecord> {
        let all = PageLimit::new(usize::MAX, usize::MAX);
        let sound = now(self.inner.read_page(after, limit)).records;
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
