//! Creating many records in one batch.

use std::sync::Arc;

use super::{Vault, config, create::TOKEN_TRIES};
use crate::crypto::key::PasswordKey;
use crate::vault::{CreateOptions, VaultError};
use vault_store::{InsertOutcome, Record, RecordId, Token};

impl Vault {
    /// The most values of one [`create_many`](Self::create_many): 10,000, a batch that every
    /// backend commits within seconds.
    pub const MAX_BATCH_RECORDS: usize = 10_000;

    /// The most bytes of the values of one [`create_many`](Self::create_many): 32 MiB, whose
    /// envelopes need about 45 MiB of memory.
    pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

    /// Seals values under a key, each on its own, and stores them under fresh random tokens in one
    /// atomic batch: one commit instead of one per record. Returns one token per value, in order.
    ///
    /// In a vault that writes v2, each record costs an Argon2id.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let vault = Vault::init(MemoryStore::new(), InitOptions::default(), VaultOptions::default()).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let values = ["battery", "staple"];
    /// let tokens = vault.create_many(&values, &key, CreateOptions::default()).await?;
    /// assert_eq!(vault.read(&tokens[1], &key).await?.as_bytes(), b"staple");
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::BatchTooLarge`] above [`MAX_BATCH_RECORDS`](Self::MAX_BATCH_RECORDS) or
    /// [`MAX_BATCH_BYTES`](Self::MAX_BATCH_BYTES), otherwise as [`create`](Self::create). On error,
    /// no record was created, except after
    /// [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome) of the store, where either
    /// all or none were.
    ///
    /// # Cancel safety
    /// If the future is dropped, either all records are created or none. Random tokens that are in
    /// use are drawn again in a second batch; only there, which the default length rules out in
    /// practice, a dropped future can leave some of the records.
    pub async fn create_many<V: AsRef<[u8]> + Sync>(
        &self,
        values: &[V],
        key: &Arc<PasswordKey>,
        options: CreateOptions,
    ) -> Result<Vec<Token>, VaultError> {
        let lens = values.iter().map(|value| value.as_ref().len());
        let (records, bytes) = (values.len(), lens.fold(0, usize::saturating_add));
        if records > Self::MAX_BATCH_RECORDS || bytes > Self::MAX_BATCH_BYTES {
            return Err(VaultError::BatchTooLarge { records, bytes });
        }
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        let mut created = Vec::new();
        let done = self.create_each(&values, key, options, &mut created).await;
        if done.is_err() {
            // Only where an earlier batch of this call stored some. The error to report is the one
            // that is known, whatever becomes of this.
            for (_, id, _) in &created {
                let _ = self.store.delete(id).await;
            }
        }
        done?;
        created.sort_unstable_by_key(|(at, ..)| *at);
        Ok(created.into_iter().map(|(_, _, token)| token).collect())
    }

    /// Creates a record for each value, and lists which have been stored.
    async fn create_each(
        &self,
        values: &[&[u8]],
        key: &Arc<PasswordKey>,
        options: CreateOptions,
        created: &mut Vec<(usize, RecordId, Token)>,
    ) -> Result<(), VaultError> {
        let mut pending: Vec<usize> = (0..values.len()).collect();
        for _ in 0..TOKEN_TRIES {
            if pending.is_empty() {
                return Ok(());
            }
            let mut batch = Vec::with_capacity(pending.len());
            for at in &pending {
                let token = Token::generate(options.token_length)?;
                batch.push(self.new_record(values[*at], key, token, options.expires_at).await?);
            }
            let keys = |record: &Record| (record.id.clone(), record.token.clone());
            let keys: Vec<_> = batch.iter().map(keys).collect();
            let outcomes = self.store.insert(batch).await?;
            if outcomes.len() != keys.len() {
                return Err(VaultError::Store(config::broken_contract()));
            }
            let mut taken = Vec::new();
            for ((at, (id, token)), outcome) in pending.into_iter().zip(keys).zip(outcomes) {
                match outcome {
                    InsertOutcome::Inserted => created.push((at, id, token)),
                    InsertOutcome::TokenTaken | InsertOutcome::IdTaken => taken.push(at),
                }
            }
            pending = taken;
        }
        if pending.is_empty() { Ok(()) } else { Err(VaultError::NoFreeToken) }
    }
}
