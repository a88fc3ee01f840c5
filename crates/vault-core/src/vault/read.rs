//! Reading records.

use std::{collections::BTreeMap, sync::Arc};

use super::{Vault, config};
use crate::crypto::key::PasswordKey;
use crate::crypto::secret::Plaintext;
use crate::vault::VaultError;
use vault_store::{Record, SealedRecord, Token};

/// The result of [`Vault::resolve`]: every name is in exactly one of the two maps.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolved<N> {
    /// The values, including empty ones.
    pub values: BTreeMap<N, Plaintext>,
    /// Why the other names have no value, as [`Vault::read`] would report.
    pub refused: BTreeMap<N, VaultError>,
}

impl Vault {
    /// Returns the value of a record.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
    /// assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"battery staple");
    ///
    /// let other = vault.derive_key(Password::new("another")).await?;
    /// assert!(matches!(vault.read(&token, &other).await, Err(VaultError::WrongPassword)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`], [`VaultError::Expired`],
    /// [`VaultError::WrongPassword`], [`VaultError::Damaged`], [`VaultError::Malformed`],
    /// [`VaultError::NotTried`], and any error of the store.
    ///
    /// # Security
    /// User-facing code should not distinguish these: see [`read_or_none`](Self::read_or_none).
    pub async fn read(
        &self,
        token: &Token,
        key: &Arc<PasswordKey>,
    ) -> Result<Plaintext, VaultError> {
        let record = self.find_live(token).await?;
        self.open_record(&record, key).await
    }

    /// Returns the value of a record, or `None` in every other case: unknown, expired,
    /// soft-deleted, under another password, damaged.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let unknown = Token::new("unknown").unwrap();
    /// assert!(vault.read_or_none(&unknown, &key).await?.is_none());
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Only errors that reveal nothing about the record: the store failed, or Argon2id could not
    /// run.
    ///
    /// # Security
    /// The results are the same, but the time is not: a v2 record costs an Argon2id that an unknown
    /// token does not.
    pub async fn read_or_none(
        &self,
        token: &Token,
        key: &Arc<PasswordKey>,
    ) -> Result<Option<Plaintext>, VaultError> {
        match self.read(token, key).await {
            Ok(value) => Ok(Some(value)),
            Err(
                VaultError::UnknownToken
                | VaultError::SoftDeleted
                | VaultError::Expired
                | VaultError::WrongPassword
                | VaultError::Damaged
                | VaultError::Malformed(_)
                | VaultError::NotTried(_),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the values of many records: one result per token, in order, as from
    /// [`read`](Self::read). Tokens may be repeated.
    ///
    /// It takes one query and one Argon2id per salt that the key does not know yet: at most one for
    /// all v3 records of a vault, and one for each v2 record.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
    /// let unknown = Token::new("unknown").unwrap();
    /// let answers = vault.read_many(&[token.clone(), unknown, token], &key).await?;
    /// assert_eq!(answers[0].as_ref().unwrap().as_bytes(), b"battery staple");
    /// assert!(matches!(answers[1], Err(VaultError::UnknownToken)));
    /// assert_eq!(answers[2].as_ref().unwrap().as_bytes(), b"battery staple");
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store; there are no results then.
    ///
    /// # Cancel safety
    /// After a drop, the vault's thread stops after its current record if that costs an Argon2id,
    /// otherwise within milliseconds.
    pub async fn read_many(
        &self,
        tokens: &[Token],
        key: &Arc<PasswordKey>,
    ) -> Result<Vec<Result<Plaintext, VaultError>>, VaultError> {
        let found = self.store.find(tokens).await?;
        if found.len() != tokens.len() {
            return Err(VaultError::Store(config::broken_contract()));
        }
        let live = |record: Option<_>| record.ok_or(VaultError::UnknownToken);
        let found: Vec<_> =
            found.into_iter().map(|record| live(record).and_then(|r| self.live(r))).collect();
        let (mut to_open, mut answers) = (Vec::new(), Vec::with_capacity(tokens.len()));
        for record in found {
            answers.push(record.map(|record| {
                let Record { id, token, envelope, .. } = record;
                to_open.push(SealedRecord { id, token, envelope });
            }));
        }
        let mut opened = self.open_records(to_open, key).await?.into_iter();
        let fill = |answer: Result<(), VaultError>| {
            answer.and_then(|()| opened.next().unwrap_or(Err(VaultError::UnknownToken)))
        };
        Ok(answers.into_iter().map(fill).collect())
    }

    /// Converts a map of names to tokens into a map of names to values, at the cost of
    /// [`read_many`](Self::read_many).
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let empty = vault.create(b"", &key, CreateOptions::default()).await?;
    /// let unknown = Token::new("unknown").unwrap();
    /// let resolved = vault.resolve([("smtp", empty), ("imap", unknown)], &key).await?;
    /// assert!(resolved.values["smtp"].is_empty());
    /// assert!(matches!(resolved.refused["imap"], VaultError::UnknownToken));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`read_many`](Self::read_many). A missing or expired record, or one under another
    /// password, is not an error: see [`Resolved::refused`].
    pub async fn resolve<N: Ord>(
        &self,
        tokens: impl IntoIterator<Item = (N, Token)>,
        key: &Arc<PasswordKey>,
    ) -> Result<Resolved<N>, VaultError> {
        let (names, tokens): (Vec<N>, Vec<Token>) = tokens.into_iter().unzip();
        let mut resolved = Resolved { values: BTreeMap::new(), refused: BTreeMap::new() };
        for (name, answer) in names.into_iter().zip(self.read_many(&tokens, key).await?) {
            match answer {
                Ok(value) => drop(resolved.values.insert(name, value)),
                Err(error) => drop(resolved.refused.insert(name, error)),
            }
        }
        Ok(resolved)
    }

    /// Checks that a key opens a record, without returning the value.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
    /// vault.verify(&token, &key).await?;
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn verify(&self, token: &Token, key: &Arc<PasswordKey>) -> Result<(), VaultError> {
        self.read(token, key).await.map(drop)
    }

    /// Returns whether a live record has this token: neither soft-deleted nor expired.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// assert!(!vault.exists(&Token::new("unknown").unwrap()).await?);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn exists(&self, token: &Token) -> Result<bool, VaultError> {
        match self.find_live(token).await {
            Ok(_) => Ok(true),
            Err(VaultError::UnknownToken | VaultError::SoftDeleted | VaultError::Expired) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
