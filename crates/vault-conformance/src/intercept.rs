//! A store in front of another one, for tests that intervene in some of its calls.

use std::{future::Future, num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use vault_store::{
    DeleteOutcome, InsertOutcome, Page, PageLimit, PasswordIdentities, Purge, PurgedIdentities,
    PutSetting, Query, Record, RecordHead, RecordId, RecordSink, RecordSource, RecordUpdate,
    Replacement, ScrubOptions, ScrubReport, SealedRecord, StoreError, Timestamp, Token, VaultStore,
    WriteCount, WriteOutcome,
};

/// Intercepts the calls to a store; [`Intercepted`] turns it into a store.
///
/// The calls of a rekey have a method each. All others, and those whose method is not overridden,
/// go through [`around`](Intercept::around).
pub trait Intercept: Send + Sync {
    /// The underlying store.
    type Inner: VaultStore;

    /// The underlying store.
    fn inner(&self) -> &Self::Inner;

    /// Makes a call to the underlying store, which has not started yet.
    ///
    /// Default: just makes the call.
    fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        call
    }

    /// [`RecordSource::read_page`].
    fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> impl Future<Output = Result<Page<SealedRecord>, StoreError>> + Send {
        async move { self.around(self.inner().read_page(after, limit)).await }
    }

    /// [`RecordSource::read_records`].
    fn read_records(
        &self,
        ids: &[RecordId],
    ) -> impl Future<Output = Result<Vec<Option<SealedRecord>>, StoreError>> + Send {
        async move { self.around(self.inner().read_records(ids)).await }
    }

    /// [`RecordSource::read_heads`].
    ///
    /// Default: the heads of what [`read_page`](Self::read_page) returns, so that one who changes
    /// pages changes both.
    fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> impl Future<Output = Result<Page<RecordHead>, StoreError>> + Send {
        async move { Ok(self.read_page(after, limit).await?.map(RecordHead::from)) }
    }

    /// [`RecordSink::swap_batch`].
    fn swap_batch(
        &self,
        batch: Arc<[Replacement]>,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, StoreError>> + Send {
        async move { self.around(self.inner().swap_batch(batch)).await }
    }

    /// [`VaultStore::insert`].
    fn insert(
        &self,
        records: Vec<Record>,
    ) -> impl Future<Output = Result<Vec<InsertOutcome>, StoreError>> + Send {
        async move { self.around(self.inner().insert(records)).await }
    }

    /// [`VaultStore::count_matching`].
    fn count_matching(
        &self,
        query: &Query,
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move { self.around(self.inner().count_matching(query, now)).await }
    }

    /// [`VaultStore::write_count`].
    fn write_count(&self) -> impl Future<Output = Result<Option<WriteCount>, StoreError>> + Send {
        async move { self.around(self.inner().write_count()).await }
    }
}

/// The store that an [`Intercept`] and the underlying store form.
#[derive(Clone, Debug)]
pub struct Intercepted<I>(pub I);

#[async_trait]
impl<I: Intercept> RecordSource for Intercepted<I> {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        self.0.read_page(after, limit).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        self.0.read_records(ids).await
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        self.0.read_heads(after, limit).await
    }
}

#[async_trait]
impl<I: Intercept> RecordSink for Intercepted<I> {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.0.swap_batch(batch).await
    }
}

#[async_trait]
impl<I: Intercept> VaultStore for Intercepted<I> {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.0.insert(records).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        self.0.around(self.0.inner().find(tokens)).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        self.0.around(self.0.inner().query(query, now)).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        self.0.count_matching(query, now).await
    }

    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        self.0.write_count().await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.0.around(self.0.inner().update(change)).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.0.around(self.0.inner().delete(id)).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.0.around(self.0.inner().purge_expired(purge, now, after, limit)).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.0.around(self.0.inner().setting(name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.0.around(self.0.inner().settings()).await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        self.0.around(self.0.inner().put_setting(name, value, put)).await
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        self.0.around(self.0.inner().init_settings(settings)).await
    }

    async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.0.around(self.0.inner().scrub(options)).await
    }

    async fn password_identities(&self) -> Result<PasswordIdentities, StoreError> {
        self.0.around(self.0.inner().password_identities()).await
    }

    async fn purge_password_identities(&self) -> Result<PurgedIdentities, StoreError> {
        self.0.around(self.0.inner().purge_password_identities()).await
    }
}
