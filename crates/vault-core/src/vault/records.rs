//! The record API: records as they are stored, without opening any.

use futures::{Stream, TryStreamExt as _, stream};

use super::{Vault, config};
use crate::crypto::envelope::{Envelope, Format};
use crate::vault::VaultError;
use vault_store::{
    Cursor, DeleteOutcome, HasCursor, Page, Precondition, Query, Record, RecordId, RecordUpdate,
    SortKey, Timestamp, Token, WriteOutcome,
};

/// A record without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordInfo {
    /// The id.
    pub id: RecordId,
    /// The token.
    pub token: Token,
    /// The format of the envelope; `None` if it is malformed, or was not loaded
    /// ([`Query::without_envelopes`]).
    pub format: Option<Format>,
    /// The length of the envelope text in bytes.
    pub envelope_bytes: u64,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// When it expires; `None` means never.
    pub expires_at: Option<Timestamp>,
    /// When it was soft-deleted; `None` means that it is not.
    pub soft_deleted_at: Option<Timestamp>,
}

impl From<Record> for RecordInfo {
    fn from(record: Record) -> Self {
        Self {
            format: Envelope::parse(&record.envelope).ok().map(|envelope| envelope.format()),
            envelope_bytes: record.envelope.len(),
            id: record.id,
            token: record.token,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at.and_then(Timestamp::as_end),
            soft_deleted_at: record.soft_deleted_at.and_then(Timestamp::as_end),
        }
    }
}

impl HasCursor for RecordInfo {
    fn position(&self, order: SortKey) -> Cursor {
        let times = (self.created_at, self.updated_at, self.expires_at);
        Cursor::new(order, &self.id, &self.token, times)
    }
}

/// The records of a vault as they are stored. This needs no password and returns no value.
///
/// It includes soft-deleted and expired records.
#[derive(Clone, Copy)]
pub struct Records<'v> {
    vault: &'v Vault,
}

impl Vault {
    /// Returns the record API.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// let records = vault.records();
    /// let record = records.find_by_token(&token).await?.unwrap();
    /// assert_eq!(records.find(&record.id).await?, Some(record.clone()));
    /// assert_eq!(records.soft_delete(&record.id).await?, WriteOutcome::Applied);
    /// assert_eq!(records.delete(&record.id).await?, DeleteOutcome::Deleted);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { vault: self }
    }
}

impl<'v> Records<'v> {
    /// Returns the number of records that pass the filters of a query.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// vault.create(b"value", &key, CreateOptions::default()).await?;
    /// assert_eq!(vault.records().count(&Query::new()).await?, 1);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn count(&self, query: &Query) -> Result<u64, VaultError> {
        Ok(self.vault.store.count_matching(query, self.vault.options.clock.now()).await?)
    }

    /// Returns the records that match a query, up to its limit, and the unreadable rows that the
    /// store found on the way. A page without records means that no records follow.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// for value in [b"1", b"2", b"3"] {
    ///     vault.create(value, &key, CreateOptions::default()).await?;
    /// }
    /// let newest = Query::new().order_by(SortKey::CreatedAt, SortOrder::Descending).limit(2);
    /// let page = vault.records().list(&newest).await?;
    /// let rest = vault.records().list(&newest.after(&page[1])).await?;
    /// assert_eq!((page.len(), rest.len()), (2, 1));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn list(&self, query: &Query) -> Result<Page<RecordInfo>, VaultError> {
        let page = self.vault.store.query(query, self.vault.options.clock.now()).await?;
        Ok(page.map(RecordInfo::from))
    }

    /// Returns all records that match a query as a stream. They are read page by page, each with
    /// the query's limit, by keyset: a record that exists throughout and keeps its place in the
    /// order is returned exactly once. Unreadable rows are left out; [`list`](Self::list) names
    /// them.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// use futures::TryStreamExt as _;
    ///
    /// for value in [b"1", b"2", b"3"] {
    ///     vault.create(value, &key, CreateOptions::default()).await?;
    /// }
    /// let all: Vec<RecordInfo> = vault.records().stream(Query::new().limit(2)).try_collect().await?;
    /// assert_eq!(all.len(), 3);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stream ends with any error of the store.
    pub fn stream(
        self,
        query: Query,
    ) -> impl Stream<Item = Result<RecordInfo, VaultError>> + Send + use<'v> {
        stream::try_unfold(query, move |query| async move {
            let page = self.list(&query).await?;
            let Some(last) = page.last() else { return Ok::<_, VaultError>(None) };
            if !query.is_ahead(&last.position(query.order())) {
                // Otherwise the stream would never end.
                return Err(VaultError::Store(config::broken_contract()));
            }
            let next = query.after(last).offset(0);
            Ok(Some((stream::iter(page.records.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// Returns the record with this id.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn find(&self, id: &RecordId) -> Result<Option<Record>, VaultError> {
        let query = Query::all().id_in([id.clone()]);
        Ok(self.vault.store.query(&query, self.vault.options.clock.now()).await?.records.pop())
    }

    /// Returns the record with this token.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn find_by_token(&self, token: &Token) -> Result<Option<Record>, VaultError> {
        match self.vault.find(token).await {
            Ok(record) => Ok(Some(record)),
            Err(VaultError::UnknownToken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Updates a record as it is stored, if its preconditions hold.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// let record = vault.records().find_by_token(&token).await?.unwrap();
    /// let change = RecordUpdate::of(record.id.clone()).expires_at(None);
    /// let outcome = vault.records().update(change.if_times_match(&record)).await?;
    /// assert_eq!(outcome, WriteOutcome::Applied);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, VaultError> {
        Ok(self.vault.store.update(change).await?)
    }

    /// Deletes a record permanently, and frees its token.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, VaultError> {
        Ok(self.vault.store.delete(id).await?)
    }

    /// Soft-deletes a record; [`WriteOutcome::Conflict`] means that it already has a time of soft
    /// deletion.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn soft_delete(&self, id: &RecordId) -> Result<WriteOutcome, VaultError> {
        let now = self.vault.options.clock.now();
        let change = RecordUpdate::of(id.clone())
            .if_matches(Precondition::default().soft_deleted_at(None))
            .soft_deleted_at(Some(now))
            .updated_at(now);
        self.update(change).await
    }
}
