//! The vault: the token API over a store.

pub(crate) mod config;
mod error;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use self::{
    config::{NewVault, VaultOptions, WriteFormat},
    error::VaultError,
};
use crate::{
    CensusPlan, CensusSession, DeleteOutcome, EngineError, Envelope, EnvelopeText, Format,
    InsertOutcome, KdfMemory, OpenOutcome, PageLimit, Password, Plaintext, Record, RecordChange,
    RecordId, RekeyPlan, RekeySession, SealSpec, Timestamp, Token, TokenLength, VaultKey,
    VaultStore, WriteOutcome, open, seal, workers::Workers,
};

/// How often a random token that is taken is drawn again. At the default length not even one collision is likely in
/// the life of a vault; at the shortest, 60 bits, eight in a row mean that something is broken.
const TOKEN_TRIES: u32 = 8;

/// How often an update that another writer overtook is tried again.
const UPDATE_ROUNDS: u32 = 8;

/// What a record costs at most to keep while it waits for a thread: one Argon2id block per vault.
const ONE: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN;

/// An encrypted record vault over any store.
///
/// Each record is sealed on its own under the password of whoever writes it; the vault itself has no password, and
/// nothing it stores says which records share one.
pub struct Vault {
    store: Arc<dyn VaultStore>,
    options: VaultOptions,
    spec: OnceLock<SealSpec>,
    /// One thread for what costs an Argon2id, started when first needed.
    thread: Mutex<Option<Arc<Workers>>>,
}

/// How a new record is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateOptions {
    /// How long a generated token is.
    pub token_length: TokenLength,
    /// From when on the record is expired; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// A record without its value, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordInfo {
    /// The key.
    pub id: RecordId,
    /// The handle.
    pub token: Token,
    /// The envelope's format; `None` when it is malformed.
    pub format: Option<Format>,
    /// The length of the envelope text in bytes.
    pub envelope_bytes: u64,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
    /// From when on it is expired.
    pub expires_at: Option<Timestamp>,
    /// From when on it is soft-deleted.
    pub soft_deleted_at: Option<Timestamp>,
}

impl Vault {
    /// Makes a vault in an empty store: draws its salt and settles its cost and write format.
    ///
    /// # Errors
    /// [`VaultError::AlreadyAVault`] when the store holds a vault's settings, [`VaultError::CostBelowFloor`] and
    /// [`VaultError::CostOverLimit`] for a cost that this vault's own options would refuse.
    pub async fn init(
        store: impl VaultStore + 'static,
        new: NewVault,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let vault = Self::open(store, options);
        config::write(&*vault.store, new, &vault.options).await?;
        vault.seal_spec().await?;
        Ok(vault)
    }

    /// Opens the vault in a store. Nothing is read or written yet; the settings are read when first needed.
    #[must_use]
    pub fn open(store: impl VaultStore + 'static, options: VaultOptions) -> Self {
        Self { store: Arc::new(store), options, spec: OnceLock::new(), thread: Mutex::new(None) }
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn VaultStore> {
        &self.store
    }

    /// How new records are sealed: the vault's salt, cost and format.
    ///
    /// A vault of the Go ancestor has no salt yet: the first call draws one and stores it, and of two processes that
    /// do so at once both get the same.
    ///
    /// # Errors
    /// [`VaultError::InvalidSetting`], or [`VaultError::CostBelowFloor`] when what is stored is weaker than this
    /// program's own minimum: whoever can write the database must not be able to weaken new records.
    pub async fn seal_spec(&self) -> Result<SealSpec, VaultError> {
        if let Some(spec) = self.spec.get() {
            return Ok(*spec);
        }
        let spec = config::read(&*self.store, &self.options).await?;
        Ok(*self.spec.get_or_init(|| spec))
    }

    /// Turns a password into a key for this vault, which costs one Argon2id on a thread of its own. A key can be kept:
    /// reading and writing with it costs microseconds beside the store. It is wiped when dropped.
    ///
    /// # Errors
    /// As [`seal_spec`](Self::seal_spec), and when the memory for the Argon2id cannot be had.
    pub async fn unlock(&self, password: Password) -> Result<Arc<VaultKey>, VaultError> {
        let key = Arc::new(VaultKey::new(password));
        if let SealSpec::V3 { kdf, .. } = self.seal_spec().await? {
            let prepared = Arc::clone(&key);
            self.on_thread(move |memory| prepared.prepare(&kdf, memory)).await??;
        }
        Ok(key)
    }

    /// Seals a value under a key and stores it under a fresh random token.
    ///
    /// # Errors
    /// [`VaultError::EmptyPassword`], [`VaultError::Seal`], and what the store says.
    pub async fn create(
        &self,
        value: &[u8],
        key: &Arc<VaultKey>,
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
    /// # Errors
    /// [`VaultError::TokenTaken`] when a record has it, also a soft-deleted or expired one; else as
    /// [`create`](Self::create).
    pub async fn create_with_token(
        &self,
        value: &[u8],
        key: &Arc<VaultKey>,
        token: Token,
        expires_at: Option<Timestamp>,
    ) -> Result<(), VaultError> {
        match self.insert(value, key, token, expires_at).await? {
            InsertOutcome::Inserted => Ok(()),
            InsertOutcome::TokenTaken => Err(VaultError::TokenTaken),
            InsertOutcome::IdTaken => Err(VaultError::NoFreeToken),
        }
    }

    /// The value of a record.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`], [`VaultError::Expired`],
    /// [`VaultError::WrongPassword`], [`VaultError::Damaged`], [`VaultError::Malformed`]: each its own.
    ///
    /// # Security
    /// Whoever faces users should show them one answer for all of these.
    pub async fn read(&self, token: &Token, key: &Arc<VaultKey>) -> Result<Plaintext, VaultError> {
        let record = self.find_live(token).await?;
        self.open_record(record.envelope, record.id, key).await
    }

    /// Replaces the value of a record. The key must open the present one, so that no writer takes over a record by
    /// mistake.
    ///
    /// # Errors
    /// [`VaultError::UnderAnotherPassword`] when the key does not open the present value, [`VaultError::Overtaken`]
    /// when other writers kept changing the record meanwhile; else as [`read`](Self::read) and
    /// [`create`](Self::create).
    pub async fn update(
        &self,
        token: &Token,
        value: &[u8],
        key: &Arc<VaultKey>,
    ) -> Result<(), VaultError> {
        for _ in 0..UPDATE_ROUNDS {
            let record = self.find_live(token).await?;
            match self.open_record(record.envelope.clone(), record.id.clone(), key).await {
                Err(VaultError::WrongPassword) => return Err(VaultError::UnderAnotherPassword),
                opened => drop(opened?),
            }
            let sealed = self.seal_value(value, record.id.clone(), key).await?;
            let change = RecordChange {
                expected: Some(record.envelope),
                envelope: Some(sealed),
                updated_at: Some(self.options.clock.now()),
                ..RecordChange::of(record.id)
            };
            match self.store.update(change).await? {
                WriteOutcome::Applied => return Ok(()),
                WriteOutcome::Missing => return Err(VaultError::UnknownToken),
                WriteOutcome::Conflict => {}
            }
        }
        Err(VaultError::Overtaken)
    }

    /// Whether a live record has this token: neither soft-deleted nor expired.
    ///
    /// # Errors
    /// What the store says.
    pub async fn exists(&self, token: &Token) -> Result<bool, VaultError> {
        match self.find_live(token).await {
            Ok(_) => Ok(true),
            Err(VaultError::UnknownToken | VaultError::SoftDeleted | VaultError::Expired) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Hides a record; its token stays taken and its envelope stays stored.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`], [`VaultError::SoftDeleted`] when it is so already.
    pub async fn soft_delete(&self, token: &Token) -> Result<(), VaultError> {
        let record = self.find(token).await?;
        let now = self.options.clock.now();
        if record.is_soft_deleted(now) {
            return Err(VaultError::SoftDeleted);
        }
        let change = RecordChange {
            soft_deleted_at: Some(Some(now)),
            updated_at: Some(now),
            ..RecordChange::of(record.id)
        };
        match self.store.update(change).await? {
            WriteOutcome::Applied => Ok(()),
            WriteOutcome::Conflict => Err(VaultError::Overtaken),
            WriteOutcome::Missing => Err(VaultError::UnknownToken),
        }
    }

    /// Removes a record for good, soft-deleted or not, and frees its token.
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

    /// Records in id order after an id, soft-deleted and expired ones included, without their values. An empty list
    /// means that nothing follows.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<RecordInfo>, VaultError> {
        Ok(self.store.list(after, limit).await?.into_iter().map(info).collect())
    }

    /// Prepares a rekey of the whole vault.
    ///
    /// # Errors
    /// [`EngineError::Plan`](crate::EngineError) for a plan without sense, and what the store says.
    pub async fn rekey(&self, plan: RekeyPlan) -> Result<RekeySession, VaultError> {
        let spec = match plan.asked_spec() {
            Some(spec) => spec,
            None => self.seal_spec().await?,
        };
        config::check_cost(spec.params(), &self.options)?;
        Ok(RekeySession::start(Arc::clone(&self.store), plan, self.options.open.clone(), spec)
            .await?)
    }

    /// Prepares a census of the whole vault.
    ///
    /// # Errors
    /// What the store says.
    pub async fn census(&self, plan: CensusPlan) -> Result<CensusSession, VaultError> {
        Ok(CensusSession::start(Arc::clone(&self.store), plan, self.options.open.clone()).await?)
    }

    async fn insert(
        &self,
        value: &[u8],
        key: &Arc<VaultKey>,
        token: Token,
        expires_at: Option<Timestamp>,
    ) -> Result<InsertOutcome, VaultError> {
        let now = self.options.clock.now();
        let id = RecordId::generate(now)?;
        let envelope = self.seal_value(value, id.clone(), key).await?;
        let record = Record {
            id,
            token,
            envelope,
            created_at: now,
            updated_at: now,
            expires_at,
            soft_deleted_at: None,
        };
        match self.store.insert(vec![record]).await?.as_slice() {
            [outcome] => Ok(*outcome),
            _ => Err(VaultError::Store(config::broken_contract())),
        }
    }

    async fn find(&self, token: &Token) -> Result<Record, VaultError> {
        self.store
            .find(std::slice::from_ref(token))
            .await?
            .pop()
            .flatten()
            .ok_or(VaultError::UnknownToken)
    }

    async fn find_live(&self, token: &Token) -> Result<Record, VaultError> {
        let record = self.find(token).await?;
        let now = self.options.clock.now();
        if record.is_soft_deleted(now) {
            return Err(VaultError::SoftDeleted);
        }
        if record.is_expired(now) {
            return Err(VaultError::Expired);
        }
        Ok(record)
    }

    async fn open_record(
        &self,
        text: EnvelopeText,
        id: RecordId,
        key: &Arc<VaultKey>,
    ) -> Result<Plaintext, VaultError> {
        let envelope = Envelope::parse(&text).map_err(VaultError::Malformed)?;
        let opened = if key.is_ready_for(&envelope) {
            open(&envelope, key, &id, &self.options.open, &mut KdfMemory::new())?
        } else {
            let (key, policy) = (Arc::clone(key), self.options.open.clone());
            self.on_thread(move |memory| open(&envelope, &key, &id, &policy, memory)).await??
        };
        match opened {
            OpenOutcome::Opened(value) => Ok(value),
            OpenOutcome::WrongPassword => Err(VaultError::WrongPassword),
            OpenOutcome::Damaged => Err(VaultError::Damaged),
            OpenOutcome::Malformed(malformed) => Err(VaultError::Malformed(malformed)),
        }
    }

    async fn seal_value(
        &self,
        value: &[u8],
        id: RecordId,
        key: &Arc<VaultKey>,
    ) -> Result<EnvelopeText, VaultError> {
        if key.password().is_empty() {
            return Err(VaultError::EmptyPassword);
        }
        let spec = self.seal_spec().await?;
        if matches!(spec, SealSpec::V3 { kdf, .. } if key.is_prepared(&kdf)) {
            return Ok(seal(value, key, &id, &spec, &mut KdfMemory::new())?);
        }
        let (key, value) = (Arc::clone(key), Plaintext::from(value.to_vec()));
        Ok(self.on_thread(move |memory| seal(value.as_bytes(), &key, &id, &spec, memory)).await??)
    }

    /// Runs what may cost an Argon2id where it blocks nobody.
    async fn on_thread<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut KdfMemory) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let answer = self.workers()?.submit(task);
        answer.await.map_err(|lost| VaultError::Worker(lost.into()))
    }

    fn workers(&self) -> Result<Arc<Workers>, VaultError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = &*thread {
            return Ok(Arc::clone(workers));
        }
        let workers = Arc::new(Workers::start(ONE, self.options.kept_memory_kib)?);
        *thread = Some(Arc::clone(&workers));
        Ok(workers)
    }
}

fn info(record: Record) -> RecordInfo {
    RecordInfo {
        format: Envelope::parse(&record.envelope).ok().map(|envelope| envelope.format()),
        envelope_bytes: record.envelope.len(),
        id: record.id,
        token: record.token,
        created_at: record.created_at,
        updated_at: record.updated_at,
        expires_at: record.expires_at,
        soft_deleted_at: record.soft_deleted_at,
    }
}

impl From<EngineError> for VaultError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}
