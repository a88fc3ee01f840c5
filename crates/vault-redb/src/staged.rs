//! A vault in the making, which a rekey writes into and which then takes the place of the vault.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use redb::ReadTransaction;
use vault_store::{
    DeleteOutcome, InsertOutcome, Page, PageLimit, Purge, PutSetting, Query, Record, RecordHead,
    RecordId, RecordSink, RecordSource, RecordUpdate, Replacement, ScrubOptions, ScrubReport,
    SealedRecord, StagedStore, StoreError, StoreErrorKind, Timestamp, Token, VaultStore,
    WriteCount, WriteCounter, WriteOutcome,
};

use crate::error::{Fault, Stop};
use crate::leak::LeakedByPanic;
use crate::rebuild::Rebuild;
use crate::shared::Shared;
use crate::threads::Work;
use crate::{RedbStore, queries, reads};

/// A copy of a vault that is being written.
#[derive(Debug)]
pub(crate) struct Staged {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    vault: RedbStore,
    old: Arc<LeakedByPanic<ReadTransaction>>,
    /// `None` once it is published, or an error has ended it.
    rebuild: Mutex<Option<Rebuild>>,
    writes: WriteCounter,
}

impl Staged {
    /// Begins a copy. Runs where changes run.
    pub(crate) async fn begin(vault: &RedbStore) -> Result<Self, StoreError> {
        let begin = |shared: &Shared| {
            if !shared.keep_changes_out() {
                return Err(Fault::Rebuilding);
            }
            Rebuild::begin(shared).inspect_err(|_| shared.let_changes_in())
        };
        let rebuild = vault.run(Work::Write, begin).await?;
        let inner = Inner {
            vault: vault.clone(),
            old: Arc::clone(rebuild.old()),
            rebuild: Mutex::new(Some(rebuild)),
            writes: WriteCounter::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs one operation where operations of its kind run.
    async fn run<T: Send + 'static>(
        &self,
        work: Work,
        operation: impl FnOnce(&Inner, &Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.inner.vault.run(work, move |shared| operation(&inner, shared)).await
    }

    /// Reads from the vault as it was at the beginning, where nothing but envelopes changes.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(Work::Read, move |inner, _| work(inner.old.get()?)).await
    }

    fn refused<T>(&self) -> Result<T, StoreError> {
        let path = self.inner.vault.path().display();
        let message = format!("{path}: while a vault is rebuilt, only envelopes can be replaced");
        Err(StoreError::new(StoreErrorKind::Unsupported, message))
    }
}

impl Inner {
    fn rebuild(&self) -> MutexGuard<'_, Option<Rebuild>> {
        self.rebuild.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up a copy that was not published, before changes of the vault go on.
impl Drop for Inner {
    fn drop(&mut self) {
        let rebuild = self.rebuild().take();
        self.vault.shared.threads().run_and_wait(move || drop(rebuild));
        self.vault.shared.let_changes_in();
    }
}

#[async_trait]
impl StagedStore for Staged {
    async fn publish(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.run(Work::Write, move |inner, shared| {
            let rebuild = inner.rebuild().take().ok_or(Fault::Stopped(Stop::Closed))?;
            let _under_way = shared.writes().begin();
            let published = rebuild.publish(shared, options);
            shared.let_changes_in();
            published
        })
        .await
    }
}

#[async_trait]
impl RecordSource for Staged {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.run(Work::Read, move |inner, _| {
            let rebuild = inner.rebuild();
            // What follows the last copied record is only in the old file; a page of copied records
            // ends with that one.
            if let Some(rebuild) =
                rebuild.as_ref().filter(|rebuild| rebuild.holds_after(after.as_ref()))
            {
                return reads::sealed_page_in(rebuild.written_so_far()?, after.as_ref(), limit);
            }
            // Reading and writing overlap.
            drop(rebuild);
            reads::sealed_page(inner.old.get()?, after.as_ref(), limit)
        })
        .await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.run(Work::Read, move |inner, _| {
            let rebuild = inner.rebuild();
            let rebuild = rebuild.as_ref().ok_or(Fault::Stopped(Stop::Closed))?;
            let read = |id: &RecordId| {
                if rebuild.holds(id) {
                    reads::sealed_record_in(rebuild.written_so_far()?, id)
                } else {
                    let found = reads::sealed_records(inner.old.get()?, std::slice::from_ref(id))?;
                    Ok(found.into_iter().next().flatten())
                }
            };
            ids.iter().map(read).collect()
        })
        .await
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        let after = after.cloned();
        self.run(Work::Read, move |inner, _| {
            let rebuild = inner.rebuild();
            // As for a page of whole records.
            if let Some(rebuild) =
                rebuild.as_ref().filter(|rebuild| rebuild.holds_after(after.as_ref()))
            {
                return reads::heads_page_in(rebuild.written_so_far()?, after.as_ref(), limit);
            }
            drop(rebuild);
            reads::heads_page(inner.old.get()?, after.as_ref(), limit)
        })
        .await
    }
}

#[async_trait]
impl RecordSink for Staged {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.run(Work::Write, move |inner, shared| {
            let _under_way = inner.writes.begin();
            let mut rebuild = inner.rebuild();
            let swapped =
                rebuild.as_mut().ok_or(Fault::Stopped(Stop::Closed))?.swap(&batch, shared.path());
            if swapped.is_err() {
                // Part of the batch may have been written, and none of it may count.
                drop(rebuild.take());
            }
            swapped
        })
        .await
    }
}

#[async_trait]
impl VaultStore for Staged {
    async fn insert(&self, _: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.refused()
    }

    async fn find(&self, _: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        self.refused()
    }

    async fn query(&self, _: &Query, _: Timestamp) -> Result<Page<Record>, StoreError> {
        self.refused()
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.read(move |read| queries::count(read, &query, now)).await
    }

    async fn update(&self, _: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.refused()
    }

    async fn delete(&self, _: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.refused()
    }

    async fn purge_expired(
        &self,
        _: Purge,
        _: Timestamp,
        _: Option<&RecordId>,
        _: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.refused()
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read(move |read| reads::setting(read, &name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.read(reads::settings).await
    }

    async fn put_setting(&self, _: &str, _: &str, _: PutSetting) -> Result<String, StoreError> {
        self.refused()
    }

    async fn init_settings(&self, _: &[(String, String)]) -> Result<bool, StoreError> {
        self.refused()
    }

    /// Nobody else can write to the copy.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        Ok(self.inner.writes.count().map(|local| WriteCount { local, external: 0 }))
    }
}
