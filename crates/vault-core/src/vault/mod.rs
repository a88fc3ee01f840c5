//! The vault: the token API over a store.
//!
//! Each file covers one concern of an application: creating records, reading, changing and removing
//! them, the records themselves, and the vault's settings.

mod config;
mod crypto;
mod error;
mod key_ring;
mod salt_budget;
mod salts;

// The methods of `Vault` are documented in the order of these lines.
mod open;

mod create;
mod create_many;

mod read;

mod change;

mod remove;

mod records;

mod spec;

mod settings;

mod whole;

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use self::salt_budget::SaltBudget;
pub use self::{
    change::Upserted,
    config::{InitOptions, ParseWriteFormatError, VaultOptions, WriteFormat},
    create::CreateOptions,
    error::VaultError,
    key_ring::{KeyRing, RingValue},
    read::Resolved,
    records::{RecordInfo, Records},
    remove::{HeldRecord, PurgeReport},
};
use crate::crypto::seal::SealParams;
use crate::scan::workers::Workers;
use vault_store::{Record, Token, VaultStore};

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
/// | read | [`read`](Vault::read), [`read_or_none`](Vault::read_or_none), [`read_many`](Vault::read_many), [`read_with`](Vault::read_with) several keys, [`resolve`](Vault::resolve), [`verify`](Vault::verify), [`exists`](Vault::exists) |
/// | change | [`update`](Vault::update), [`overwrite`](Vault::overwrite), [`renew`](Vault::renew) |
/// | remove | [`delete`](Vault::delete), [`soft_delete`](Vault::soft_delete), [`restore`](Vault::restore), [`delete_expired`](Vault::delete_expired), [`soft_delete_expired`](Vault::soft_delete_expired), [`purge_expired`](Vault::purge_expired) |
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
    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn VaultStore> {
        &self.store
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
