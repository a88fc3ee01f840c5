//! Removing records, and bringing hidden ones back.

use std::num::NonZeroUsize;

use super::Vault;
use crate::vault::VaultError;
use vault_store::{DeleteOutcome, Purge, RecordUpdate, Token};

/// How many expired records one step takes: a commit each, and a few hundred KiB of ids in memory.
const PURGE_STEP: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

impl Vault {
    /// Removes a record for good, soft-deleted or not, and frees its token.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
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

    /// Hides a record; its token stays taken and its envelope stays stored.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// vault.soft_delete(&token).await?;
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::SoftDeleted)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`] when it is so already, [`VaultError::ConcurrentModification`].
    pub async fn soft_delete(&self, token: &Token) -> Result<(), VaultError> {
        self.change_times(token, |record, now| {
            if record.is_soft_deleted(now) {
                return Err(VaultError::SoftDeleted);
            }
            Ok(RecordUpdate::of(record.id.clone()).soft_deleted_at(Some(now)))
        })
        .await
    }

    /// Brings a soft-deleted record back; whether it is expired is another matter.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// vault.soft_delete(&token).await?;
    /// vault.restore(&token).await?;
    /// assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"value");
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::NotSoftDeleted`], [`VaultError::ConcurrentModification`].
    pub async fn restore(&self, token: &Token) -> Result<(), VaultError> {
        self.change_times(token, |record, now| {
            if !record.is_soft_deleted(now) {
                return Err(VaultError::NotSoftDeleted);
            }
            Ok(RecordUpdate::of(record.id.clone()).soft_deleted_at(None))
        })
        .await
    }

    /// Hides every record that is expired now and not hidden yet, and tells how many those were.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let expires_at = Some(SystemClock.now());
    /// let options = CreateOptions { expires_at, ..CreateOptions::default() };
    /// let token = vault.create(b"value", &key, options).await?;
    /// assert_eq!(vault.soft_delete_expired().await?, 1);
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::SoftDeleted)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the store says; some records may be hidden by then. A record that is renewed meanwhile is left alone, or
    /// its renewer is told.
    pub async fn soft_delete_expired(&self) -> Result<u64, VaultError> {
        self.purge(Purge::SoftDelete).await
    }

    /// Removes every record that is expired now for good, hidden ones included, and tells how many those were.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let expires_at = Some(SystemClock.now());
    /// let options = CreateOptions { expires_at, ..CreateOptions::default() };
    /// let token = vault.create(b"value", &key, options).await?;
    /// assert_eq!(vault.delete_expired().await?, 1);
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::UnknownToken)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the store says; some records may be gone by then. A record that is renewed meanwhile is left alone, or its
    /// renewer is told.
    pub async fn delete_expired(&self) -> Result<u64, VaultError> {
        self.purge(Purge::Delete).await
    }

    /// Bounded steps through the whole vault, as of one moment.
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
