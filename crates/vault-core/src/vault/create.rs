//! Creating records.

use std::sync::Arc;

use super::{Vault, config};
use crate::crypto::key::PasswordKey;
use crate::vault::VaultError;
use vault_store::{InsertOutcome, Record, RecordId, Timestamp, Token, TokenLength};

/// How often to draw another random token if one is taken. At the default length not even one
/// collision is likely in the lifetime of a vault; at the minimum, 60 bits, eight in a row mean
/// that something is broken.
pub(super) const TOKEN_TRIES: u32 = 8;

/// Options for a new record.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// The length of the generated token.
    pub token_length: TokenLength,
    /// When the record expires; `None` means never.
    pub expires_at: Option<Timestamp>,
}

impl CreateOptions {
    /// Sets the length of the token.
    #[must_use]
    pub fn token_length(mut self, length: TokenLength) -> Self {
        self.token_length = length;
        self
    }

    /// Sets the time of expiry; `None` means never.
    #[must_use]
    pub fn expires_at(mut self, time: impl Into<Option<Timestamp>>) -> Self {
        self.expires_at = time.into();
        self
    }
}

impl Vault {
    /// Seals a value under a key and stores it under a new random token.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
    ///
    /// let expires_at = Some(SystemClock.now().plus(std::time::Duration::from_hours(24)));
    /// let token_length = TokenLength::new(40).unwrap();
    /// let longer = CreateOptions::default().token_length(token_length).expires_at(expires_at);
    /// let token = vault.create(b"until tomorrow", &key, longer).await?;
    /// assert_eq!(token.as_str().len(), 40);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::PasswordPolicyViolation`], [`VaultError::Seal`], and any error of the store.
    pub async fn create(
        &self,
        value: &[u8],
        key: &Arc<PasswordKey>,
        options: CreateOptions,
    ) -> Result<Token, VaultError> {
        for _ in 0..TOKEN_TRIES {
            let token = Token::generate(options.token_length)?;
            match self.insert(value, key, token.clone(), options.expires_at).await? {
                InsertOutcome::Inserted => return Ok(token),
                InsertOutcome::TokenTaken | InsertOutcome::IdTaken => {}
            }
        }
        Err(VaultError::NoFreeToken)
    }

    /// Seals a value under a key and stores it under the caller's token.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = Token::new("smtp").unwrap();
    /// vault.create_with_token(b"secret", &key, token.clone(), None).await?;
    /// vault.soft_delete(&token).await?;
    /// // Its holder is hidden, and still there.
    /// let taken = vault.create_with_token(b"other", &key, token, None).await;
    /// assert!(matches!(taken, Err(VaultError::TokenTaken)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::TokenTaken`] if a record has it, even a soft-deleted or expired one. Otherwise
    /// as [`create`](Self::create).
    pub async fn create_with_token(
        &self,
        value: &[u8],
        key: &Arc<PasswordKey>,
        token: Token,
        expires_at: Option<Timestamp>,
    ) -> Result<(), VaultError> {
        match self.insert(value, key, token, expires_at).await? {
            InsertOutcome::Inserted => Ok(()),
            InsertOutcome::TokenTaken => Err(VaultError::TokenTaken),
            InsertOutcome::IdTaken => Err(VaultError::NoFreeToken),
        }
    }

    async fn insert(
        &self,
        value: &[u8],
        key: &Arc<PasswordKey>,
        token: Token,
        expires_at: Option<Timestamp>,
    ) -> Result<InsertOutcome, VaultError> {
        let record = self.new_record(value, key, token, expires_at).await?;
        match self.store.insert(vec![record]).await?.as_slice() {
            [outcome] => Ok(*outcome),
            _ => Err(VaultError::Store(config::broken_contract())),
        }
    }

    /// A record to insert, sealed under the key.
    pub(super) async fn new_record(
        &self,
        value: &[u8],
        key: &Arc<PasswordKey>,
        token: Token,
        expires_at: Option<Timestamp>,
    ) -> Result<Record, VaultError> {
        self.options.passwords.allow(key.password())?;
        let now = self.options.clock.now();
        let id = RecordId::generate(now)?;
        let envelope = self.seal_value(value, id.clone(), token.clone(), key, None).await?;
        Ok(Record {
            id,
            token,
            envelope,
            created_at: now,
            updated_at: now,
            expires_at,
            soft_deleted_at: None,
        })
    }
}
