//! Making and opening a vault, and keys for it.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use super::{InitOptions, Vault, VaultError, VaultOptions, config, salt_budget::SaltBudget};
use crate::crypto::key::PasswordKey;
use crate::crypto::seal::SealParams;
use crate::crypto::secret::Password;
use vault_store::VaultStore;

impl Vault {
    /// Creates a vault in an empty store: draws its salt, and stores its cost and write format.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use vault_core::{InitOptions, MemoryStore, Vault, VaultOptions};
    ///
    /// let store = MemoryStore::new();
    /// Vault::init(store.clone(), InitOptions::default(), VaultOptions::default()).await?;
    /// let vault = Vault::open(store, VaultOptions::default()).await?; // from then on
    /// # Ok::<(), vault_core::VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`VaultError::AlreadyAVault`] when the store holds a vault's settings,
    /// [`VaultError::Settings`] for a cost that this vault's own options would refuse.
    pub async fn init(
        store: impl VaultStore + 'static,
        new: InitOptions,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let vault = Self::new(store, options);
        config::write(&*vault.store, new, &vault.options).await?;
        vault.seal_spec().await?;
        Ok(vault)
    }

    /// Opens the vault in a store, or creates it where the store is empty: what a service does when
    /// it starts. Of several processes that do so at once, one creates the vault and all open it.
    ///
    /// # Errors
    /// As [`init`](Vault::init), except for [`VaultError::AlreadyAVault`].
    pub async fn open_or_init(
        store: impl VaultStore + 'static,
        new: InitOptions,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let vault = Self::new(store, options);
        if !vault.is_there().await? {
            match config::write(&*vault.store, new, &vault.options).await {
                Ok(()) | Err(VaultError::AlreadyAVault) => {}
                Err(error) => return Err(error),
            }
        }
        vault.seal_spec().await?;
        Ok(vault)
    }

    /// Opens the vault in a store, and checks that there is one: settings of a vault, or records
    /// (a database of the Go package has no settings).
    ///
    /// # Errors
    /// [`VaultError::NoVault`] for an empty store; see [`init`](Vault::init) and
    /// [`open_or_init`](Vault::open_or_init). [`VaultError::Store`] when the store fails.
    pub async fn open(
        store: impl VaultStore + 'static,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let vault = Self::new(store, options);
        if vault.is_there().await? { Ok(vault) } else { Err(VaultError::NoVault) }
    }

    pub(super) async fn is_there(&self) -> Result<bool, VaultError> {
        Ok(self.store.setting(config::KDF).await?.is_some() || self.store.count().await? > 0)
    }

    /// The vault in a store. Nothing is read or written yet; the settings are read when first
    /// needed. [`open`](Vault::open) also checks that there is a vault.
    #[must_use]
    pub fn new(store: impl VaultStore + 'static, options: VaultOptions) -> Self {
        Self {
            store: Arc::new(store),
            options,
            spec: Mutex::new(None),
            format_is_settled: AtomicBool::new(false),
            thread: Mutex::new(None),
            salts: SaltBudget::default(),
        }
    }

    /// Derives a key for this vault from a password, which takes one Argon2id computation on a
    /// separate thread. With a derived key, reads and writes cost microseconds on top of the store.
    /// The key is wiped when dropped.
    ///
    /// How long to keep a key, and for whom, is up to the application; `examples/web_service.rs`
    /// keeps one per session.
    ///
    /// # Errors
    /// As [`seal_spec`](Self::seal_spec), and if there is not enough memory for Argon2id.
    pub async fn derive_key(&self, password: Password) -> Result<Arc<PasswordKey>, VaultError> {
        let key = Arc::new(PasswordKey::new(password));
        // Without a salt there is nothing to derive yet; the first write draws one.
        if let Some(SealParams::V3 { kdf, .. }) = self.stored_spec().await? {
            let prepared = Arc::clone(&key);
            self.on_thread(move |memory| prepared.prepare(&kdf, memory)).await??;
        }
        Ok(key)
    }
}
