//! A store that lets a writer in just before a batch is written, and takes down the batches.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use vault_core::{
    DeleteOutcome, InsertOutcome, PageLimit, Purge, PutSetting, Query, Record, RecordChange,
    RecordId, RecordSink, RecordSource, Replacement, SealedRecord, StoreError, Timestamp, Token,
    VaultStore, WriteOutcome,
};

/// Watches the batches that go to a store.
pub(super) struct Watched<S> {
    inner: Arc<S>,
    /// What happens before the first batch, the second, …
    deeds: Mutex<VecDeque<BoxFuture<'static, ()>>>,
    batches: Arc<Mutex<Vec<Arc<[Replacement]>>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: Arc<S>, deeds: Vec<BoxFuture<'static, ()>>) -> Self {
        Self { inner, deeds: Mutex::new(deeds.into()), batches: Arc::default() }
    }

    /// Every batch that was begun, and grows as others are.
    pub(super) fn batches(&self) -> Arc<Mutex<Vec<Arc<[Replacement]>>>> {
        Arc::clone(&self.batches)
    }
}

#[async_trait]
impl<S: VaultStore> RecordSource for Watched<S> {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        self.inner.read_page(after, limit).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        self.inner.read_records(ids).await
    }
}

#[async_trait]
impl<S: VaultStore> RecordSink for Watched<S> {
    async fn write_batch(
        &self,
        batch: Arc<[Replacement]>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let deed = self.deeds.lock().unwrap().pop_front();
        if let Some(deed) = deed {
            deed.await;
        }
        self.batches.lock().unwrap().push(Arc::clone(&batch));
        self.inner.write_batch(batch).await
    }
}

#[async_trait]
impl<S: VaultStore> VaultStore for Watched<S> {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.inner.insert(records).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        self.inner.find(tokens).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError> {
        self.inner.query(query, now).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.count_matching(query, now).await
    }

    async fn update(&self, change: RecordChange) -> Result<WriteOutcome, StoreError> {
        self.inner.update(change).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.inner.delete(id).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.inner.purge_expired(purge, now, after, limit).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.setting(name).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.inner.settings().await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        self.inner.put_setting(name, value, put).await
    }
}
