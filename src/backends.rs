//! Opening, making and upgrading a vault's store by its address.

use std::sync::Arc;

use vault_core::{StoreError, VaultStore};

use crate::StoreUrl;

/// What [`StoreUrl::migrate`] did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// A sentence per change that was made; none when the schema was current.
    pub changes: Vec<String>,
    /// How many tokens belong to more than one record (SQLite only), which keeps the database from refusing more of
    /// them. Which record is the right one only their owner knows.
    pub shared_tokens: u64,
    /// How many password identities an old version of the Go ancestor left behind: hashes of passwords, to be guessed
    /// offline by whoever reads the database.
    pub password_identities: u64,
    /// How many rows of the ancestor say which record was sealed under which of these passwords.
    pub password_links: u64,
}

#[cfg_attr(
    not(any(feature = "redb", feature = "sqlite", feature = "postgres")),
    expect(clippy::unused_async, reason = "without a backend there is nothing to wait for")
)]
impl StoreUrl {
    /// Opens the store of a vault that exists.
    ///
    /// The SQL backends need a tokio runtime, which then carries their calls.
    ///
    /// # Errors
    /// [`StoreError`] with the kind `NotFound`, `NotAVault`, `NewerSchema`, `OlderSchema`, `Denied`, `Locked`, `Retryable` or
    /// `Corrupt`; what is there is unchanged.
    pub async fn open(&self) -> Result<Arc<dyn VaultStore>, StoreError> {
        match *self {
            #[cfg(feature = "redb")]
            StoreUrl::Redb { ref path } => Ok(Arc::new(
                vault_redb::RedbStore::open(path, vault_redb::RedbOptions::default()).await?,
            )),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite { ref path, ref tables } => {
                Ok(Arc::new(vault_sqlite::SqliteStore::open(path, sqlite(tables)).await?))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres { ref url, ref tables } => Ok(Arc::new(
                vault_postgres::PostgresStore::open(url.as_str(), postgres(tables)).await?,
            )),
        }
    }

    /// Makes an empty store for a new vault, which [`Vault::init`](vault_core::Vault::init) then makes a vault.
    ///
    /// # Errors
    /// [`StoreError`] with the kind `AlreadyExists` when anything is there; it is left alone. Else as [`open`](Self::open).
    pub async fn create(&self) -> Result<Arc<dyn VaultStore>, StoreError> {
        match *self {
            #[cfg(feature = "redb")]
            StoreUrl::Redb { ref path } => Ok(Arc::new(
                vault_redb::RedbStore::create(path, vault_redb::RedbOptions::default()).await?,
            )),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite { ref path, ref tables } => {
                Ok(Arc::new(vault_sqlite::SqliteStore::create(path, sqlite(tables)).await?))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres { ref url, ref tables } => Ok(Arc::new(
                vault_postgres::PostgresStore::create(url.as_str(), postgres(tables)).await?,
            )),
        }
    }

    /// Makes or upgrades the schema of a store; no record is changed or removed, and the result says what was done.
    ///
    /// # Errors
    /// As [`open`](Self::open); then nothing was changed.
    pub async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        match *self {
            // redb's tables have been the same since the first version, and opening checks them.
            #[cfg(feature = "redb")]
            StoreUrl::Redb { .. } => self.open().await.map(|_| MigrationReport::default()),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite { ref path, ref tables } => {
                let report = vault_sqlite::SqliteStore::migrate(path, sqlite(tables)).await?;
                Ok(MigrationReport {
                    changes: report.changes.iter().map(ToString::to_string).collect(),
                    shared_tokens: report.shared_tokens,
                    password_identities: report.password_identities,
                    password_links: report.password_links,
                })
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres { ref url, ref tables } => {
                use vault_postgres::Migration;
                let migration =
                    vault_postgres::PostgresStore::migrate(url.as_str(), postgres(tables)).await?;
                let changes = match migration {
                    Migration::Current => Vec::new(),
                    done => vec![done.to_string()],
                };
                Ok(MigrationReport { changes, ..MigrationReport::default() })
            }
        }
    }
}

#[cfg(feature = "sqlite")]
fn sqlite(tables: &vault_core::store::TableNames) -> vault_sqlite::SqliteOptions {
    let mut options = vault_sqlite::SqliteOptions::default();
    options.tables = tables.clone();
    options
}

#[cfg(feature = "postgres")]
fn postgres(tables: &vault_core::store::TableNames) -> vault_postgres::PostgresOptions {
    let mut options = vault_postgres::PostgresOptions::default();
    options.tables = tables.clone();
    options
}
