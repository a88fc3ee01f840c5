//! Opening, creating and upgrading a vault's store by its address.

use std::sync::Arc;

use vault_core::{StoreError, VaultStore};

use crate::StoreUrl;

/// The result of [`StoreUrl::migrate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// A sentence per change; empty if the schema was current.
    pub changes: Vec<String>,
    /// Number of tokens that belong to more than one record (SQLite only), which keeps the database
    /// from enforcing unique ones. Only their owner knows which record is the right one.
    pub shared_tokens: u64,
    /// Number of password identities that an old version of the Go package left behind: password
    /// hashes, which anyone who reads the database can attack offline.
    pub password_identities: u64,
    /// Number of rows of the Go package that say which record was sealed under which of these
    /// passwords.
    pub password_links: u64,
}

#[cfg_attr(
    not(any(feature = "redb", feature = "sqlite", feature = "postgres")),
    expect(clippy::unused_async, reason = "without a backend there is nothing to wait for")
)]
impl StoreUrl {
    /// Opens the store of an existing vault.
    ///
    /// The SQL backends need a tokio runtime, which then carries their calls.
    ///
    /// # Errors
    /// [`StoreError`] of kind `NotFound`, `NotAVault`, `NewerSchema`, `OlderSchema`, `Denied`,
    /// `Locked`, `Retryable` or `Corrupt`. Nothing was changed.
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
                vault_postgres::PostgresStore::open(url.as_str(), postgres(url, tables)).await?,
            )),
        }
    }

    /// Creates an empty store, for [`Vault::init`](vault_core::Vault::init).
    ///
    /// # Errors
    /// [`StoreError`] of kind `AlreadyExists` if anything exists there, which is left unchanged.
    /// Otherwise as [`open`](Self::open).
    pub async fn create(&self) -> Result<Arc<dyn VaultStore>, StoreError> {
        self.create_with(&[]).await
    }

    /// As [`create`](Self::create), with these settings, of which
    /// [`InitOptions::settings`](vault_core::InitOptions::settings) makes those of a new vault: the
    /// store appears with all of them or not at all, whenever the process is killed or the power is
    /// cut.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    #[cfg_attr(
        not(any(feature = "redb", feature = "sqlite", feature = "postgres")),
        expect(unused_variables, reason = "without a backend nothing is created")
    )]
    pub async fn create_with(
        &self,
        settings: &[(String, String)],
    ) -> Result<Arc<dyn VaultStore>, StoreError> {
        match *self {
            #[cfg(feature = "redb")]
            StoreUrl::Redb { ref path } => Ok(Arc::new(
                vault_redb::RedbStore::create_with(
                    path,
                    vault_redb::RedbOptions::default(),
                    settings,
                )
                .await?,
            )),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite { ref path, ref tables } => {
                let options = sqlite(tables);
                Ok(Arc::new(vault_sqlite::SqliteStore::create_with(path, options, settings).await?))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres { ref url, ref tables } => Ok(Arc::new(
                vault_postgres::PostgresStore::create_with(
                    url.as_str(),
                    postgres(url, tables),
                    settings,
                )
                .await?,
            )),
        }
    }

    /// Creates or upgrades the schema of a store, and returns what was done; no record is changed
    /// or removed.
    ///
    /// # Errors
    /// As [`open`](Self::open). Nothing was changed then.
    pub async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        self.migrate_tables(false).await
    }

    /// As [`migrate`](Self::migrate), and creates the tables of a vault in a database that holds
    /// other tables too, which `migrate` refuses, since the names of the tables may be mistyped.
    ///
    /// # Errors
    /// As [`open`](Self::open). Nothing was changed then.
    pub async fn migrate_or_create(&self) -> Result<MigrationReport, StoreError> {
        self.migrate_tables(true).await
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(unused_variables, reason = "a file has no other tables")
    )]
    async fn migrate_tables(&self, create: bool) -> Result<MigrationReport, StoreError> {
        match *self {
            // redb's tables have been the same since the first version, and opening checks them.
            #[cfg(feature = "redb")]
            StoreUrl::Redb { .. } => self.open().await.map(|_| MigrationReport::default()),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite { ref path, ref tables } => {
                use vault_sqlite::SqliteStore;
                let report = if create {
                    SqliteStore::migrate_or_create(path, sqlite(tables)).await?
                } else {
                    SqliteStore::migrate(path, sqlite(tables)).await?
                };
                Ok(MigrationReport {
                    changes: report.changes.iter().map(ToString::to_string).collect(),
                    shared_tokens: report.shared_tokens,
                    password_identities: report.password_identities,
                    password_links: report.password_links,
                })
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres { ref url, ref tables } => {
                use vault_postgres::{Migration, PostgresStore};
                let (url, options) = (url.as_str(), postgres(url, tables));
                let migration = if create {
                    PostgresStore::migrate_or_create(url, options).await?
                } else {
                    PostgresStore::migrate(url, options).await?
                };
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
fn postgres(
    url: &vault_postgres::PostgresUrl,
    tables: &vault_core::store::TableNames,
) -> vault_postgres::PostgresOptions {
    url.options().clone().tables(tables.clone())
}
