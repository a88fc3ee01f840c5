//! Changing records: their values and their expiry.

use std::sync::Arc;

use super::{UPDATE_ROUNDS, Vault};
use crate::crypto::key::PasswordKey;
use crate::vault::VaultError;
use vault_store::{Precondition, Record, RecordUpdate, Timestamp, Token, WriteOutcome};

/// The result of [`Vault::upsert`].
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// The record was created.
    Created,
    /// The value of an existing record was replaced.
    Updated,
}

/// Which records a write may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Those that the key opens.
    SameKey,
    /// Any.
    Anybody,
}

impl Vault {
    /// Replaces the value of a record. The key must open the current one, so that no writer takes
    /// over a record by mistake.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"old", &key, CreateOptions::default()).await?;
    /// vault.update(&token, b"new", &key).await?;
    ///
    /// let other = vault.derive_key(Password::new("another")).await?;
    /// let refused = vault.update(&token, b"mine", &other).await;
    /// assert!(matches!(refused, Err(VaultError::WrongPassword)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::WrongPassword`] if the key does not open the current value; nothing was
    /// changed. [`VaultError::ConcurrentModification`] if other writers kept changing the record.
    /// Otherwise as [`read`](Self::read) and [`create`](Self::create). The password is not new
    /// here, so no password rules apply.
    pub async fn update(
        &self,
        token: &Token,
        value: &[u8],
        key: &Arc<PasswordKey>,
    ) -> Result<(), VaultError> {
        self.rewrite(token, value, key, Owner::SameKey).await
    }

    /// Replaces the value of a record under any password, even a damaged one. The record is then
    /// under this key.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"theirs", &key, CreateOptions::default()).await?;
    /// let other = vault.derive_key(Password::new("another")).await?;
    /// vault.overwrite(&token, b"mine", &other).await?;
    /// assert!(matches!(vault.read(&token, &key).await, Err(VaultError::WrongPassword)));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update), without `WrongPassword`, and
    /// [`VaultError::PasswordPolicyViolation`].
    pub async fn overwrite(
        &self,
        token: &Token,
        value: &[u8],
        key: &Arc<PasswordKey>,
    ) -> Result<(), VaultError> {
        self.options.passwords.allow(key.password())?;
        self.rewrite(token, value, key, Owner::Anybody).await
    }

    /// Replaces the value of a record as [`update`](Self::update) does, or creates the record,
    /// without an expiry. Of several concurrent calls, exactly one creates it.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = Token::new("smtp").unwrap();
    /// assert_eq!(vault.upsert(&token, b"first", &key).await?, Upserted::Created);
    /// assert_eq!(vault.upsert(&token, b"second", &key).await?, Upserted::Updated);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update), except `UnknownToken`, and as [`create`](Self::create). A
    /// soft-deleted or expired record with this token is left unchanged:
    /// [`VaultError::SoftDeleted`], [`VaultError::Expired`].
    pub async fn upsert(
        &self,
        token: &Token,
        value: &[u8],
        key: &Arc<PasswordKey>,
    ) -> Result<Upserted, VaultError> {
        for _ in 0..UPDATE_ROUNDS {
            match self.update(token, value, key).await {
                Err(VaultError::UnknownToken) => {}
                done => return done.map(|()| Upserted::Updated),
            }
            match self.create_with_token(value, key, token.clone(), None).await {
                Err(VaultError::TokenTaken) => {}
                done => return done.map(|()| Upserted::Created),
            }
        }
        Err(VaultError::ConcurrentModification)
    }

    /// Sets the expiry of a record; `None` means never. A record that has already expired becomes
    /// live again, unless it was purged.
    ///
    /// ```
    /// # use vault_core::{*, query::*, records::*, time::*, token::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"value", &key, CreateOptions::default()).await?;
    /// let tomorrow = SystemClock.now().plus(std::time::Duration::from_hours(24));
    /// vault.renew(&token, Some(tomorrow)).await?;
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`],
    /// [`VaultError::ConcurrentModification`], and any error of the store.
    pub async fn renew(
        &self,
        token: &Token,
        expires_at: Option<Timestamp>,
    ) -> Result<(), VaultError> {
        self.change_times(token, |record, now| {
            if record.is_soft_deleted(now) {
                return Err(VaultError::SoftDeleted);
            }
            Ok(RecordUpdate::of(record.id.clone()).expires_at(expires_at))
        })
        .await
    }

    /// Reads a record and changes its times if they are still the same; otherwise starts over.
    pub(super) async fn change_times(
        &self,
        token: &Token,
        change: impl Fn(&Record, Timestamp) -> Result<RecordUpdate, VaultError>,
    ) -> Result<(), VaultError> {
        for _ in 0..UPDATE_ROUNDS {
            let record = self.find(token).await?;
            let now = self.options.clock.now();
            let change = change(&record, now)?.updated_at(now);
            match self.store.update(change.if_times_match(&record)).await? {
                WriteOutcome::Applied => return Ok(()),
                WriteOutcome::Missing => return Err(VaultError::UnknownToken),
                WriteOutcome::Conflict => {}
            }
        }
        Err(VaultError::ConcurrentModification)
    }

    async fn rewrite(
        &self,
        token: &Token,
        value: &[u8],
        key: &Arc<PasswordKey>,
        owner: Owner,
    ) -> Result<(), VaultError> {
        for _ in 0..UPDATE_ROUNDS {
            let record = self.find_live(token).await?;
            let mut present = None;
            if owner == Owner::SameKey {
                present = Some(self.open_as_present(&record, key).await?.1);
            }
            let (id, token) = (record.id.clone(), record.token.clone());
            let sealed = self.seal_value(value, id, token, key, present).await?;
            let change = RecordUpdate::of(record.id.clone())
                .if_matches(Precondition::times_of(&record).envelope(record.envelope))
                .envelope(sealed)
                .updated_at(self.options.clock.now());
            match self.store.update(change).await? {
                WriteOutcome::Applied => return Ok(()),
                WriteOutcome::Missing => return Err(VaultError::UnknownToken),
                WriteOutcome::Conflict => {}
            }
        }
        Err(VaultError::ConcurrentModification)
    }
}
