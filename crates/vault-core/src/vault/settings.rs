//! A vault's settings: its own, and those of the application.

use std::sync::PoisonError;

use super::{Vault, config};
use crate::vault::VaultError;
use vault_store::PutSetting;

impl Vault {
    /// Returns the value of a setting.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// assert_eq!(vault.setting("format").await?.as_deref(), Some("v3"));
    /// assert_eq!(vault.setting("color").await?, None);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, VaultError> {
        Ok(self.store.setting(name).await?)
    }

    /// Writes a setting. `kdf` (salt and cost) and `format` of new records belong to the vault; any
    /// other name is the application's.
    ///
    /// ```
    /// # use vault_core::{*, settings::*};
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// vault.set_setting("color", "green").await?;
    /// vault.set_setting("format", "v3+padme").await?; // from now on lengths are hidden
    /// let refused = vault.set_setting("format", "v7").await;
    /// assert!(matches!(refused, Err(VaultError::Settings(SettingsError::Refused { name: "format" }))));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::Settings`] if the value is invalid for one of the vault's own settings, and
    /// any error of the store. Another process that has the vault open continues with the values
    /// that it read.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), VaultError> {
        config::check_setting(name, value, &self.options)?;
        self.store.put_setting(name, value, PutSetting::Always).await?;
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Returns all settings in the order of their names.
    ///
    /// ```
    /// # use vault_core::*;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// # let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let names: Vec<String> = vault.settings().await?.into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["format", "kdf"]);
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn settings(&self) -> Result<Vec<(String, String)>, VaultError> {
        Ok(self.store.settings().await?)
    }
}
