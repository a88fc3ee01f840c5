//! The record API: records as they are stored, without opening any.

use futures::{Stream, TryStreamExt as _, stream};

use super::{Vault, config};
use crate::crypto::envelope::{Envelope, Format};
use crate::vault::VaultError;
use vault_store::{
    Cursor, DeleteOutcome, HasCursor, Precondition, Query, Record, RecordId, RecordUpdate, SortKey,
    Timestamp, Token, WriteOutcome,
};

/// A record without its value, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordInfo {
    /// The key.
    pub id: RecordId,
    /// The handle.
    pub token: Token,
    /// The envelope's format; `None` when it is malformed, or was not loaded
    /// ([`Query::without_envelopes`]).
    pub format: Option<Format>,
    /// The length of the envelope text in bytes.
    pub envelope_bytes: u64,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// From when on it is expired.
    pub expires_at: Option<Timestamp>,
    /// From when on it is soft-deleted.
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
            expires_at: record.expires_at,
            soft_deleted_at: record.soft_deleted_at,
        }
    }
}

impl HasCursor for RecordInfo {
    fn position(&self, order: SortKey) -> Cursor {
        let times = (self.created_at, self.updated_at, self.expires_at);
        Cursor::new(order, &self.id, &self.token, times)
    }
}

/// The records of a vault as they are stored; no password is asked for, and no value is shown.
///
/// It sees and changes soft-deleted and expired records like all others.
#[derive(Clone, Copy)]
pub struct Records<'v> {
    vault: &'v Vault,
}

impl Vault {
    /// The record API.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
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
    /// How many records the filters of a query let through.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// vault.create(b"value", &key, CreateOptions::default()).await?;
    /// assert_eq!(vault.records().count(&Query::new()).await?, 1);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the store says.
    pub async fn count(&self, query: &Query) -> Result<u64, VaultError> {
        Ok(self.vault.store.count_matching(query, self.vault.options.clock.now()).await?)
    }

    /// The records that match a query, as many as its limit lets through; an empty list means that nothing follows.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
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
    /// What the store says.
    pub async fn list(&self, query: &Query) -> Result<Vec<RecordInfo>, VaultError> {
        let records = self.vault.store.query(query, self.vault.options.clock.now()).await?;
        Ok(records.into_iter().map(RecordInfo::from).collect())
    }

    /// All records that match a query, one after the other. They are read page by page, of the query's limit each, by
    /// keyset: a record that is there all the time, and keeps its place in the order, comes exactly once.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
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
    /// The stream ends with what the store says.
    pub fn stream(
        self,
        query: Query,
    ) -> impl Stream<Item = Result<RecordInfo, VaultError>> + Send + use<'v> {
        stream::try_unfold(query, move |query| async move {
            let page = self.list(&query).await?;
            let Some(last) = page.last() else { return Ok::<_, VaultError>(None) };
            if !query.is_ahead(&last.position(query.order())) {
                // Else the stream would never end.
                return Err(VaultError::Store(config::broken_contract()));
            }
            let next = query.after(last).offset(0);
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// The record with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find(&self, id: &RecordId) -> Result<Option<Record>, VaultError> {
        let query = Query::all().id_in([id.clone()]);
        Ok(self.vault.store.query(&query, self.vault.options.clock.now()).await?.pop())
    }

    /// The record with this token.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find_by_token(&self, token: &Token) -> Result<Option<Record>, VaultError> {
        match self.vault.find(token).await {
            Ok(record) => Ok(Some(record)),
            Err(VaultError::UnknownToken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a record as it is stored, if it still is as the change expects.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, store::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
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
    /// What the store says.
    pub async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, VaultError> {
        Ok(self.vault.store.update(change).await?)
    }

    /// Removes a record for good, and frees its token.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, VaultError> {
        Ok(self.vault.store.delete(id).await?)
    }

    /// Hides a record; [`WriteOutcome::Conflict`] says that it has a time of soft deletion already.
    ///
    /// # Errors
    /// What the store says.
    pub async fn soft_delete(&self, id: &RecordId) -> Result<WriteOutcome, VaultError> {
        let now = self.vault.options.clock.now();
        let change = RecordUpdate::of(id.clone())
            .if_matches(Precondition::default().soft_deleted_at(None))
            .soft_deleted_at(Some(now))
            .updated_at(now);
        self.update(change).await
    }
}
