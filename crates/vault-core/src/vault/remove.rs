//! Deleting and restoring records.

use std::num::NonZeroUsize;

use super::Vault;
use crate::vault::VaultError;
use vault_store::{
    DeleteOutcome, Filter, Purge, Query, RecordId, RecordUpdate, SortKey, SortOrder, StoreError,
    StoreErrorKind, Timestamp, Token,
};

/// How many expired records one step processes: one commit each, and a few hundred KiB of ids in
/// memory.
const PURGE_STEP: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// How many records that the store would not remove a report names.
const MAX_HELD: usize = 1000;

/// What a purge has done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PurgeReport {
    /// How many records it deleted or soft-deleted.
    pub purged: u64,
    /// How many expired records the store refused to change, such as those that a foreign key of
    /// another table refers to.
    pub refused: u64,
    /// The first 1,000 of these.
    pub held: Vec<HeldRecord>,
}

/// An expired record that the store refused to change.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeldRecord {
    /// The id.
    pub id: RecordId,
    /// Why.
    pub error: StoreError,
}

impl Vault {
    /// Deletes a record permanently, soft-deleted or not, and frees its token.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// vault.delete(&token).await?;
    /// assert!(matches!(vault.delete(&token).await, Err(VaultError::UnknownToken)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`].
    pub async fn delete(&self, token: &Token) -> Result<(), VaultError> {
        let record = self.find(token).await?;
        match self.store.delete(&record.id).await? {
            DeleteOutcome::Deleted => Ok(()),
            DeleteOutcome::Missing => Err(VaultError::UnknownToken),
        }
    }

    /// Soft-deletes a record. Its token stays taken and its envelope stays stored.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// vault.soft_delete(&token).await?;
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::SoftDeleted)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`] if it already is,
    /// [`VaultError::ConcurrentModification`].
    pub async fn soft_delete(&self, token: &Token) -> Result<(), VaultError> {
        self.change_times(token, |record, now| {
            if record.is_soft_deleted(now) {
                return Err(VaultError::SoftDeleted);
            }
            Ok(RecordUpdate::of(record.id.clone()).soft_deleted_at(Some(now)))
        })
        .await
    }

    /// Restores a soft-deleted record, whether or not it has expired.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// vault.soft_delete(&token).await?;
    /// vault.restore(&token).await?;
    /// assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"value");
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::NotSoftDeleted`],
    /// [`VaultError::ConcurrentModification`].
    pub async fn restore(&self, token: &Token) -> Result<(), VaultError> {
        self.change_times(token, |record, now| {
            if !record.is_soft_deleted(now) {
                return Err(VaultError::NotSoftDeleted);
            }
            Ok(RecordUpdate::of(record.id.clone()).soft_deleted_at(None))
        })
        .await
    }

    /// Soft-deletes every record that is expired now and not yet soft-deleted, and returns their
    /// number.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let expires_at = Some(SystemClock.now());
    /// let options = CreateOptions::default().expires_at(expires_at);
    /// let token = vault.create(b"value", &key, options).await?;
    /// assert_eq!(vault.soft_delete_expired().await?, 1);
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::SoftDeleted)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`delete_expired`](Self::delete_expired).
    pub async fn soft_delete_expired(&self) -> Result<u64, VaultError> {
        self.purge_expired(Purge::SoftDelete).await?.all()
    }

    /// Permanently deletes every record that is expired now, including soft-deleted ones, and
    /// returns their number.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let expires_at = Some(SystemClock.now());
    /// let options = CreateOptions::default().expires_at(expires_at);
    /// let token = vault.create(b"value", &key, options).await?;
    /// assert_eq!(vault.delete_expired().await?, 1);
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::UnknownToken)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store; some records may be gone by then. If the store refuses single
    /// records, the error is that of the first, and all others are gone. A record that is renewed
    /// concurrently is left unchanged, or the renewal fails.
    pub async fn delete_expired(&self) -> Result<u64, VaultError> {
        self.purge_expired(Purge::Delete).await?.all()
    }

    /// Deletes or soft-deletes every record that is expired now, in bounded steps. A record that
    /// the store refuses to change holds up no other.
    ///
    /// # Errors
    /// Any error of the store that does not concern single records; some may be purged by then.
    pub async fn purge_expired(&self, purge: Purge) -> Result<PurgeReport, VaultError> {
        let now = self.options.clock.now();
        let (mut report, mut last, mut step) = (PurgeReport::default(), None, PURGE_STEP);
        loop {
            match self.store.purge_expired(purge, now, last.as_ref(), step).await {
                Ok(purged) => {
                    report.purged += purged.len() as u64;
                    match purged.into_iter().next_back() {
                        Some(id) => last = Some(id),
                        None => return Ok(report),
                    }
                    step = step.saturating_mul(TWO).min(PURGE_STEP);
                }
                Err(error) if !may_be_of_one(&error) => return Err(error.into()),
                Err(_) if step > NonZeroUsize::MIN => {
                    step = NonZeroUsize::new(step.get() / 2).unwrap_or(NonZeroUsize::MIN);
                }
                Err(error) => {
                    let Some(id) = self.next_expired(purge, now, last.take()).await? else {
                        return Err(error.into());
                    };
                    report.refused += 1;
                    last = Some(id.clone());
                    if report.held.len() < MAX_HELD {
                        report.held.push(HeldRecord { id, error });
                    }
                }
            }
        }
    }

    /// Returns the record that a step of one record takes.
    async fn next_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<RecordId>,
    ) -> Result<Option<RecordId>, VaultError> {
        let hidden = if purge == Purge::Delete { Filter::Include } else { Filter::Exclude };
        let expired = Query::all().expired(Filter::Only).soft_deleted(hidden);
        let next = expired.order_by(SortKey::Id, SortOrder::Ascending).limit(1).without_envelopes();
        let next = after.into_iter().fold(next, Query::after_id);
        let page = self.store.query(&next, now).await?;
        Ok(page.into_iter().next().map(|record| record.id))
    }
}

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Whether a store may have refused a whole step because of one record.
fn may_be_of_one(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Unsupported | StoreErrorKind::Other)
}

impl PurgeReport {
    /// Returns the number of purged records if no other was refused.
    fn all(self) -> Result<u64, VaultError> {
        match self.held.into_iter().next() {
            None => Ok(self.purged),
            Some(held) => Err(held.error.into()),
        }
    }
}
