//! A vault's settings: the salt, cost and format of new records.

use std::{fmt, str::FromStr, sync::Arc};

use super::VaultError;
use crate::crypto::envelope::{Format, Padding};
use crate::crypto::kdf::{KdfLimits, KdfParams, KdfSetting};
use crate::crypto::password_policy::PasswordPolicy;
use crate::crypto::policy::OpenPolicy;
use crate::crypto::seal::SealParams;
pub(super) use crate::engine::settings::{FORMAT, KDF};
use crate::engine::settings::{SettingsError, SettingsFailure};
use crate::scan::envelope_kind::EnvelopeKind;
use vault_store::{
    Clock, PageLimit, PutSetting, SealedRecord, StoreError, StoreErrorKind, SystemClock, VaultStore,
};

/// Options for a new vault.
///
/// ```
/// use vault_core::{InitOptions, KdfParams, WriteFormat};
///
/// // What the Go package makes with its lightweight preset.
/// let new = InitOptions::default().cost(KdfParams::LIGHTWEIGHT).format(WriteFormat::V2);
/// # assert_eq!(new.format, WriteFormat::V2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct InitOptions {
    /// The Argon2id cost of new records. A v3 vault pays it once per password, a v2 vault once per
    /// record.
    pub cost: KdfParams,
    /// The format of new records.
    pub format: WriteFormat,
}

impl InitOptions {
    /// A vault whose Argon2id takes microseconds, see
    /// [`VaultOptions::insecure_for_tests`].
    #[must_use]
    pub fn insecure_for_tests() -> Self {
        Self::default().cost(KdfParams::insecure_for_tests())
    }

    /// Sets the cost: a preset such as [`KdfParams::LIGHTWEIGHT`], or one of your own.
    #[must_use]
    pub fn cost(mut self, cost: KdfParams) -> Self {
        self.cost = cost;
        self
    }

    /// Returns the settings of such a new vault, with a salt of its own, for a store that creates
    /// tables and settings in one step.
    ///
    /// # Errors
    /// [`VaultError::Settings`] for a cost that a vault with these options would refuse.
    pub fn settings(&self, options: &VaultOptions) -> Result<Vec<(String, String)>, VaultError> {
        check_cost(self.cost, options)?;
        let kdf = KdfSetting::generate(self.cost)?.to_string();
        Ok(vec![(FORMAT.to_owned(), self.format.to_string()), (KDF.to_owned(), kdf)])
    }

    /// Sets the format: [`WriteFormat::V2`] for a database shared with programs that use the Go
    /// package.
    #[must_use]
    pub fn format(mut self, format: WriteFormat) -> Self {
        self.format = format;
        self
    }
}

/// The format of new records.
///
/// Exhaustive on purpose: whatever depends on the format has to handle each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteFormat {
    /// v3.
    #[default]
    V3,
    /// v3 with values padded to hide their length (Padmé, at most 12 % longer).
    V3Padme,
    /// v2, for a database shared with programs that use the Go package.
    V2,
}

impl fmt::Display for WriteFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "v3",
            Self::V3Padme => "v3+padme",
            Self::V2 => "v2",
        })
    }
}

impl FromStr for WriteFormat {
    type Err = ParseWriteFormatError;

    fn from_str(text: &str) -> Result<Self, ParseWriteFormatError> {
        match text {
            "v3" => Ok(Self::V3),
            "v3+padme" => Ok(Self::V3Padme),
            "v2" => Ok(Self::V2),
            _ => Err(ParseWriteFormatError),
        }
    }
}

/// A format that this version does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format to write is v3, v3+padme or v2")]
pub struct ParseWriteFormatError;

/// Options for using a vault.
///
/// ```
/// use vault_core::VaultOptions;
/// use vault_core::password::PasswordPolicy;
///
/// let options = VaultOptions::default().passwords(PasswordPolicy::nist());
/// # assert_eq!(options.passwords, PasswordPolicy::nist());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct VaultOptions {
    /// The limits for stored headers, the v2 costs to try, and whether v1 is opened. What is
    /// written keeps to the same limits.
    pub open: OpenPolicy,
    /// The rules for new passwords. Records under older ones are read and updated as they are.
    pub passwords: PasswordPolicy,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// How much Argon2id memory the vault keeps between two derivations, in KiB; more is released
    /// at once. Default: 64 MiB, one block of the default cost.
    pub kept_memory_kib: u32,
}

impl VaultOptions {
    /// Also opens v1 records, which anybody who can write to the database can forge: for a vault
    /// that comes from the Go package, until its records have left v1.
    #[must_use]
    pub fn allow_v1(mut self) -> Self {
        self.open.allow_v1 = true;
        self
    }

    /// With these limits of the Argon2id cost, for records that are read and for those that are
    /// written.
    #[must_use]
    pub fn limits(mut self, limits: KdfLimits) -> Self {
        self.open.limits = limits;
        self
    }
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self {
            open: OpenPolicy::default(),
            passwords: PasswordPolicy::default(),
            clock: Arc::new(SystemClock),
            kept_memory_kib: KdfParams::DEFAULT.m_cost(),
        }
    }
}

impl VaultOptions {
    /// The defaults, except that no cost is too low: for the tests of an application, which then
    /// spend no time on Argon2id.
    ///
    /// ```
    /// use vault_core::{CreateOptions, InitOptions, MemoryStore, Password, Vault, VaultOptions};
    ///
    /// # futures::executor::block_on(async {
    /// // In a test: a vault in memory, at a cost that takes no time.
    /// let (new, options) = (InitOptions::insecure_for_tests(), VaultOptions::insecure_for_tests());
    /// let vault = Vault::init(MemoryStore::new(), new, options).await?;
    ///
    /// let key = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
    /// assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"battery staple");
    /// # Ok::<(), vault_core::VaultError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn insecure_for_tests() -> Self {
        Self::default().limits(OpenPolicy::trusting().limits)
    }

    /// Sets what stored headers may ask for, and the v2 costs to try.
    #[must_use]
    pub fn open(mut self, policy: OpenPolicy) -> Self {
        self.open = policy;
        self
    }

    /// Sets the rules for new passwords.
    #[must_use]
    pub fn passwords(mut self, policy: PasswordPolicy) -> Self {
        self.passwords = policy;
        self
    }

    /// Sets the source of the current time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how much Argon2id memory, in KiB, is kept between two derivations.
    #[must_use]
    pub fn kept_memory_kib(mut self, kib: u32) -> Self {
        self.kept_memory_kib = kib;
        self
    }
}

impl fmt::Debug for VaultOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultOptions")
            .field("open", &self.open)
            .field("passwords", &self.passwords)
            .finish_non_exhaustive()
    }
}

/// Writes the settings of a new vault.
pub(super) async fn write(
    store: &dyn VaultStore,
    new: InitOptions,
    options: &VaultOptions,
) -> Result<(), VaultError> {
    // All in one step: a process that is killed half-way has written nothing, and of two that do
    // this at the same time, one gets an error.
    if store.init_settings(&new.settings(options)?).await? {
        return Ok(());
    }
    Err(VaultError::AlreadyAVault)
}

/// Reads how new records are sealed, and draws a salt if there is none.
pub(super) async fn read(
    store: &dyn VaultStore,
    options: &VaultOptions,
) -> Result<SealParams, SettingsFailure> {
    let kdf = if let Some(kdf) = store.setting(KDF).await? {
        kdf
    } else {
        let kdf = KdfSetting::generate(KdfParams::DEFAULT)?.to_string();
        store.put_setting(KDF, &kdf, PutSetting::IfAbsent).await?
    };
    understood(store, &kdf, options).await
}

/// As [`read()`], and stores nothing; `None` where no salt and cost are stored yet.
pub(super) async fn stored(
    store: &dyn VaultStore,
    options: &VaultOptions,
) -> Result<Option<SealParams>, SettingsFailure> {
    match store.setting(KDF).await? {
        Some(kdf) => understood(store, &kdf, options).await.map(Some),
        None => Ok(None),
    }
}

async fn understood(
    store: &dyn VaultStore,
    kdf: &str,
    options: &VaultOptions,
) -> Result<SealParams, SettingsFailure> {
    let kdf: KdfSetting = kdf.parse().map_err(|_| SettingsError::Invalid { name: KDF })?;
    check_cost(kdf.params, options).map_err(|error| match error {
        SettingsError::CostBelowMinimum(why) => SettingsError::StoredCost { name: KDF, why },
        error => error,
    })?;
    let format = match store.setting(FORMAT).await? {
        Some(format) => format.parse().map_err(|_| SettingsError::Invalid { name: FORMAT })?,
        None => WriteFormat::default(),
    };
    Ok(match format {
        WriteFormat::V3 => SealParams::V3 { kdf, padding: Padding::None },
        WriteFormat::V3Padme => SealParams::V3 { kdf, padding: Padding::Padme },
        WriteFormat::V2 => SealParams::V2 { params: kdf.params },
    })
}

/// How many records are examined to recognize a database of the Go package.
const SAMPLE: usize = 100;

/// A vault created by [`write()`] has a format. A database of the Go package has none, and has v1
/// or v2 records.
pub(super) async fn check_format_is_settled(store: &dyn VaultStore) -> Result<(), SettingsFailure> {
    if store.setting(FORMAT).await?.is_some() {
        return Ok(());
    }
    let sample = store.read_page(None, PageLimit::new(SAMPLE, 1 << 20)).await?;
    let is_v3 = |record: &SealedRecord| EnvelopeKind::of(&record.envelope).format == Format::V3;
    if sample.iter().all(is_v3) { Ok(()) } else { Err(SettingsError::FormatNotSettled.into()) }
}

/// Stores a format if there is none, and returns the one that is stored.
pub(super) async fn settle_format(
    store: &dyn VaultStore,
    format: WriteFormat,
) -> Result<WriteFormat, SettingsFailure> {
    let stored = store.put_setting(FORMAT, &format.to_string(), PutSetting::IfAbsent).await?;
    Ok(stored.parse().map_err(|_| SettingsError::Invalid { name: FORMAT })?)
}

/// Checks the value of one of the vault's own settings; other names belong to the application.
pub(super) fn check_setting(
    name: &str,
    value: &str,
    options: &VaultOptions,
) -> Result<(), SettingsError> {
    match name {
        KDF => {
            let kdf: Result<KdfSetting, _> = value.parse();
            check_cost(kdf.map_err(|_| SettingsError::Refused { name: KDF })?.params, options)
        }
        FORMAT => match value.parse::<WriteFormat>() {
            Ok(_) => Ok(()),
            Err(_) => Err(SettingsError::Refused { name: FORMAT }),
        },
        _ => Ok(()),
    }
}

/// A cost for new records must be neither below the minimum nor above the limits for opening.
pub(super) fn check_cost(cost: KdfParams, options: &VaultOptions) -> Result<(), SettingsError> {
    options.open.limits.floor.allow(&cost)?;
    options.open.limits.allow(&cost)?;
    Ok(())
}

/// The salt and cost that the vault calls its own, where it has any and they can be understood.
/// Anyone who can write to the database can change them.
pub(super) async fn own_kdf(store: &dyn VaultStore) -> Result<Option<KdfSetting>, StoreError> {
    Ok(store.setting(KDF).await?.and_then(|kdf| kdf.parse().ok()))
}

pub(super) fn broken_contract() -> StoreError {
    StoreError::new(
        StoreErrorKind::Other,
        "store contract violation: the answer does not fit the question",
    )
    .with_hint("this is a bug in the storage backend; please report it")
}
