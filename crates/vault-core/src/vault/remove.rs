//! Deleting and restoring records.

use std::num::NonZeroUsize;

use super::Vault;
use crate::vault::VaultError;
use vault_store::{DeleteOutcome, Purge, RecordUpdate, Token};

/// How many expired records one step processes: one commit each, and a few hundred KiB of ids in
/// memory.
const PURGE_STEP: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

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
    /// Any error of the store; some records may be soft-deleted by then. A record that is renewed
    /// concurrently is left unchanged, or the renewal fails.
    pub async fn soft_delete_expired(&self) -> Result<u64, VaultError> {
        self.purge(Purge::SoftDelete).await
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
    /// Any error of the store; some records may be gone by then. A record that is renewed
    /// concurrently is left unchanged, or the renewal fails.
    pub async fn delete_expired(&self) -> Result<u64, VaultError> {
        self.purge(Purge::Delete).await
    }

    /// Takes bounded steps through the whole vault, as of one point in time.
    async fn purge(&self, purge: Purge) -> Result<u64, VaultError> {
        let now = self.options.clock.now();
        let (mut count, mut last) = (0, None);
        loop {
            let purged = self.store.purge_expired(purge, now, last.as_ref(), PURGE_STEP).await?;
            count += purged.len() as u64;
            match purged.into_iter().next_back() {
                Some(id) => last = Some(id),
                None => return Ok(count),
            }
        }
    }
}
