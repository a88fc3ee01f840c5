//! The vault: the token API over a store.
//!
//! Each file covers one concern of an application: creating records, reading, changing and removing
//! them, the records themselves, and the vault's settings.

mod change;
mod config;
mod create;
mod create_many;
mod crypto;
mod error;
mod read;
mod records;
mod remove;
mod salt_budget;
mod salts;
mod settings;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use sha2::{Digest as _, Sha256};

use self::salt_budget::SaltBudget;
pub use self::{
    change::Upserted,
    config::{InitOptions, ParseWriteFormatError, VaultOptions, WriteFormat},
    create::CreateOptions,
    error::VaultError,
    read::Resolved,
    records::{RecordInfo, Records},
};
use crate::crypto::envelope::Padding;
use crate::crypto::kdf::{KdfParams, KdfSetting};
use crate::crypto::key::PasswordKey;
use crate::crypto::seal::SealParams;
use crate::crypto::secret::Password;
use crate::engine::census::{CensusPlan, CensusSession};
use crate::engine::rekey::{RekeyError, RekeyPlan, RekeySession};
use crate::engine::settings::SettingsFailure;
use crate::scan::{error::ScanError, workers::Workers};
use vault_store::{
    PasswordIdentities, PurgedIdentities, Record, ScrubOptions, ScrubReport, Token, VaultStore,
};

/// How often to retry a change that another writer overtook.
const UPDATE_ROUNDS: u32 = 8;

/// An encrypted record vault over any store.
///
/// Each record is sealed separately under its writer's password. The vault itself has no password,
/// and nothing it stores reveals which records share one.
///
/// | to | call |
/// | --- | --- |
/// | make and open a vault | [`init`](Vault::init), [`open`](Vault::open), [`open_or_init`](Vault::open_or_init), [`derive_key`](Vault::derive_key) |
/// | make a record | [`create`](Vault::create), [`create_many`](Vault::create_many), [`create_with_token`](Vault::create_with_token), [`upsert`](Vault::upsert) |
/// | read | [`read`](Vault::read), [`read_or_none`](Vault::read_or_none), [`read_many`](Vault::read_many), [`resolve`](Vault::resolve), [`verify`](Vault::verify), [`exists`](Vault::exists) |
/// | change | [`update`](Vault::update), [`overwrite`](Vault::overwrite), [`renew`](Vault::renew) |
/// | remove | [`delete`](Vault::delete), [`soft_delete`](Vault::soft_delete), [`restore`](Vault::restore), [`delete_expired`](Vault::delete_expired), [`soft_delete_expired`](Vault::soft_delete_expired) |
/// | look at records | [`records`](Vault::records) |
/// | configure | [`setting`](Vault::setting), [`set_setting`](Vault::set_setting), [`settings`](Vault::settings) |
/// | pass over all records | [`rekey`](Vault::rekey), [`census`](Vault::census), [`scrub`](Vault::scrub) |
///
/// # Concurrency
/// Any number of processes may use one store. Of two that create one token, or change one record,
/// exactly one succeeds, and the other gets an error or retries with the current record.
///
/// # Cancel safety
/// Dropping the future of an operation leaves it either done or not done, never half done.
pub struct Vault {
    store: Arc<dyn VaultStore>,
    options: VaultOptions,
    /// Read when first needed, and discarded when a setting changes.
    spec: Mutex<Option<SealParams>>,
    /// Whether the vault has a `format` setting, or needs none.
    format_is_settled: AtomicBool,
    /// One thread for Argon2id computations, started when first needed.
    thread: Mutex<Option<Arc<Workers>>>,
    /// How many master keys of other salts than the vault's own were derived recently.
    salts: SaltBudget,
}

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

    async fn is_there(&self) -> Result<bool, VaultError> {
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

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn VaultStore> {
        &self.store
    }

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

    async fn read_spec(&self) -> Result<SealParams, SettingsFailure> {
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

    async fn known_spec(&self) -> Result<Option<SealParams>, SettingsFailure> {
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
    async fn rehearsed_spec(&self) -> Result<SealParams, SettingsFailure> {
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
    async fn write_spec(&self) -> Result<SealParams, SettingsFailure> {
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

    async fn stored_id(&self) -> Result<[u8; 16], VaultError> {
        let kdf = self.store.setting(config::KDF).await?.unwrap_or_default();
        let salt = kdf.rsplit('$').next().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(b"vaultstore/vault-id");
        hash.update(salt);
        let hash: [u8; 32] = hash.finalize().into();
        Ok(std::array::from_fn(|at| hash[at]))
    }

    /// Prepares a rekey of the whole vault.
    ///
    /// # Errors
    /// [`RekeyError::Plan`] for an invalid plan, [`RekeyError::PasswordPolicyViolation`] for a new
    /// password that violates a rule, [`RekeyError::Settings`] if the settings do not say how
    /// records are re-encrypted, and any other error that ends a rekey before its first write.
    pub async fn rekey(&self, plan: RekeyPlan) -> Result<RekeySession, RekeyError> {
        // An empty password is refused by the plan, whatever the rules are.
        for password in plan.new_passwords().filter(|password| !password.is_empty()) {
            self.options.passwords.allow(password)?;
        }
        let spec = match plan.asked_spec() {
            Some(spec) => spec,
            None if plan.is_dry_run() => self.rehearsed_spec().await?,
            None => self.write_spec().await?,
        };
        config::check_cost(spec.params(), &self.options)?;
        let own = config::own_kdf(&*self.store).await?;
        let (store, policy) = (Arc::clone(&self.store), self.options.open.clone());
        let now = self.options.clock.now();
        RekeySession::start(store, plan, policy, spec, own, now).await
    }

    /// Prepares a census of the whole vault.
    ///
    /// # Errors
    /// [`ScanError::Store`], and [`ScanError::Worker`] where no thread can be started.
    pub async fn census(&self, plan: CensusPlan) -> Result<CensusSession, ScanError> {
        let own = config::own_kdf(&*self.store).await?;
        let (store, policy) = (Arc::clone(&self.store), self.options.open.clone());
        CensusSession::start(store, plan, policy, own).await
    }

    /// Writes the whole storage again, byte for byte, without any password: afterwards it no longer
    /// tells which records a rekey replaced. [`VaultStore::scrub`] says what is guaranteed, and
    /// [`ScrubReport`] what a store could not reach.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, VaultError> {
        Ok(self.store.scrub(options).await?)
    }

    /// Counts the rows that say which records share a password, which old versions of the Go
    /// package wrote. [`PasswordIdentities`] says what they reveal.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn password_identities(&self) -> Result<PasswordIdentities, VaultError> {
        Ok(self.store.password_identities().await?)
    }

    /// Removes these rows, and nothing else. It needs no password. Do it before or after a rekey,
    /// which leaves them as they are; copying the vault leaves them behind as well.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn purge_password_identities(&self) -> Result<PurgedIdentities, VaultError> {
        Ok(self.store.purge_password_identities().await?)
    }

    /// Returns the record of a token, in any state.
    async fn find(&self, token: &Token) -> Result<Record, VaultError> {
        self.store
            .find(std::slice::from_ref(token))
            .await?
            .pop()
            .flatten()
            .ok_or(VaultError::UnknownToken)
    }

    /// Returns the record of a token if it is neither soft-deleted nor expired.
    async fn find_live(&self, token: &Token) -> Result<Record, VaultError> {
        self.find(token).await.and_then(|record| self.live(record))
    }

    fn live(&self, record: Record) -> Result<Record, VaultError> {
        let now = self.options.clock.now();
        if record.is_soft_deleted(now) {
            return Err(VaultError::SoftDeleted);
        }
        if record.is_expired(now) {
            return Err(VaultError::Expired);
        }
        Ok(record)
    }
}
