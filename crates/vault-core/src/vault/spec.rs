//! How a vault seals new records, and its id, which comes from the same setting.

use std::sync::{PoisonError, atomic::Ordering};

use sha2::{Digest as _, Sha256};

use super::{Vault, VaultError, WriteFormat, config};
use crate::crypto::envelope::Padding;
use crate::crypto::kdf::{KdfParams, KdfSetting};
use crate::crypto::seal::SealParams;
use crate::engine::settings::SettingsFailure;

impl Vault {
    /// Returns how new records are sealed: the vault's salt, cost and format.
    ///
    /// A vault of the Go package has no salt yet. The first call draws and stores one; two
    /// concurrent processes get the same.
    ///
    /// # Errors
    /// [`VaultError::Settings`], also when what is stored is weaker than this program's own
    /// minimum: write access to the database must not be enough to weaken new records.
    pub async fn seal_spec(&self) -> Result<SealParams, VaultError> {
        Ok(self.read_spec().await?)
    }

    pub(super) async fn read_spec(&self) -> Result<SealParams, SettingsFailure> {
        if let Some(spec) = self.known_spec().await? {
            return Ok(spec);
        }
        let spec = config::read(&*self.store, &self.options).await?;
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = Some(spec);
        Ok(spec)
    }

    /// As [`seal_spec`](Self::seal_spec), but stores nothing: `None` for a vault of the Go package
    /// that has no salt yet. Operations that only read use this, so that they work on a read-only
    /// copy.
    ///
    /// # Errors
    /// As [`seal_spec`](Self::seal_spec).
    pub async fn stored_spec(&self) -> Result<Option<SealParams>, VaultError> {
        Ok(self.known_spec().await?)
    }

    pub(super) async fn known_spec(&self) -> Result<Option<SealParams>, SettingsFailure> {
        let known = *self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return Ok(known);
        }
        let spec = config::stored(&*self.store, &self.options).await?;
        if spec.is_some() {
            *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = spec;
        }
        Ok(spec)
    }

    /// What a dry run seals with, which writes nothing: the vault's own parameters, or those that
    /// it would choose.
    pub(super) async fn rehearsed_spec(&self) -> Result<SealParams, SettingsFailure> {
        config::check_format_is_settled(&*self.store).await?;
        match self.known_spec().await? {
            Some(spec) => Ok(spec),
            None => Ok(SealParams::V3 {
                kdf: KdfSetting::generate(KdfParams::DEFAULT)?,
                padding: Padding::None,
            }),
        }
    }

    /// As [`seal_spec`](Self::seal_spec), provided that the format is set: a database of the Go
    /// package, which has no `format` setting, must not get records that a Go program cannot read
    /// until the caller says so.
    pub(super) async fn write_spec(&self) -> Result<SealParams, SettingsFailure> {
        let spec = self.read_spec().await?;
        if !self.format_is_settled.load(Ordering::Relaxed) {
            config::check_format_is_settled(&*self.store).await?;
            self.format_is_settled.store(true, Ordering::Relaxed);
        }
        Ok(spec)
    }

    /// Sets the format of new records if the vault has none, and returns the one that applies.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn settle_format(&self, format: WriteFormat) -> Result<WriteFormat, VaultError> {
        let settled = config::settle_format(&*self.store, format).await?;
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(settled)
    }

    /// Returns the id of this vault: 16 bytes of SHA-256 of its salt, the same under every address.
    /// A copy of a vault has the same salt, and so the same id.
    ///
    /// # Errors
    /// As [`seal_spec`](Vault::seal_spec).
    pub async fn id(&self) -> Result<[u8; 16], VaultError> {
        self.seal_spec().await?;
        self.stored_id().await
    }

    /// As [`id`](Self::id), but stores nothing: `None` for a vault of the Go package that has no
    /// salt, and so no id, yet.
    ///
    /// # Errors
    /// What [`seal_spec`](Vault::seal_spec) answers.
    pub async fn known_id(&self) -> Result<Option<[u8; 16]>, VaultError> {
        match self.stored_spec().await? {
            Some(_) => self.stored_id().await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn stored_id(&self) -> Result<[u8; 16], VaultError> {
        let kdf = self.store.setting(config::KDF).await?.unwrap_or_default();
        let salt = kdf.rsplit('$').next().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(b"vaultstore/vault-id");
        hash.update(salt);
        let hash: [u8; 32] = hash.finalize().into();
        Ok(std::array::from_fn(|at| hash[at]))
    }
}
