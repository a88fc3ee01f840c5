//! The SQLite backend of vaultstore: a vault is two tables of an SQLite database, in the schema of
//! the Go package dracory/vaultstore, so that a Go program and this one can share a file.
//!
//! Choose it for an existing vault, for one that other programs should be able to inspect, or for
//! one that several processes on a machine use at the same time. Choose redb for a vault used by
//! one process, and Postgres if several machines write.
//!
//! # Guarantees
//!
//! - **Atomic and durable.** Each call of [`VaultStore`], including a whole batch, is one
//!   transaction. A change starts as a writer (`BEGIN IMMEDIATE`), and `synchronous = EXTRA`
//!   ensures that it has been flushed when the future resolves, in every journal mode. A page is a
//!   separate read transaction.
//! - **Certain outcomes.** A failed call changed nothing, except for
//!   [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome), which is returned only if the
//!   disk failed during a commit, or if the runtime ended during it.
//! - **Cancellable.** A call whose future is dropped completes in the background: each transaction
//!   is a separate task that is never dropped half-way.
//! - **Opening does not modify.** The first write enables the write-ahead log (WAL), which is
//!   persistent in the file. [`SqliteStore::migrate`] creates what a schema lacks. Nothing else
//!   changes anything that was not requested.
//! - **Shared.** Other processes can read and write at the same time. A call that waits for another
//!   writer longer than [`busy_timeout`](SqliteOptions::busy_timeout) gets
//!   [`Retryable`](vault_store::StoreErrorKind::Retryable).
//! - **Read-only files can be read.** A file that this user may not write can be opened; changes
//!   fail with [`Denied`](vault_store::StoreErrorKind::Denied). If the directory does not permit
//!   the files that a write-ahead log needs, and there is neither a log nor a journal next to the
//!   file itself (wherever a link leads), the file is read as immutable: no one else should write
//!   to it then.
//! - **What was written is stored.** If the database has triggers, what they made of an envelope is
//!   read before the commit. If it differs, nothing is changed and the call fails.
//! - **Created as a whole.** A new vault is created in a folder next to its path, flushed, and then
//!   renamed. If the process is killed or the power fails at any moment, there is a complete vault
//!   at the path, or nothing.
//! - **Private.** A new file, its log and the index of the log have mode 0600 from the start,
//!   whatever the umask.
//!
//! # What a thief of the file learns about a rekey
//!
//! A rekey replaces envelopes in place, so the pages tell nothing once the log has been moved into
//! the file, which [`close`](VaultStore::close) does unless another process has the vault open.
//! While the log is there, it tells everything. [`scrub`](VaultStore::scrub) writes the database
//! again and empties the log; if another process keeps the log in use, its report says so. Nothing
//! reaches backups, snapshots, and disk blocks that were put aside.
//!
//! # Rows
//!
//! Times are whole seconds, rounded down. All three generations of the Go package's tables are read
//! and written as they are. Their rows may be unusual; every one of them is part of a scan and can
//! be changed:
//!
//! | in the row | is read as |
//! | --- | --- |
//! | an envelope that is NULL | an empty text; a compare-and-swap never matches it |
//! | an envelope over [`MAX_ENVELOPE_LEN`](vault_store::MAX_ENVELOPE_LEN) | its length, without loading it |
//! | a token that is NULL | an empty one |
//! | a token that is no UTF-8 | with replacement characters |
//! | `created_at` or `updated_at` that is no time | 1970-01-01 00:00:00 |
//! | `expires_at` or `soft_deleted_at` that is no time, or a time before 1970 (Go's zero time) | never, as the Go package reads it |
//!
//! A row whose id is NULL, of another type, not UTF-8 or longer than
//! [`MAX_KEY_LEN`](vault_store::MAX_KEY_LEN), or whose token is longer than that, is not a record:
//! a page names it by its `rowid` ([`UnreadableRow`](vault_store::UnreadableRow)) and continues
//! after it. Nothing over a limit is ever loaded.
//!
//! Settings are rows of the settings table with the object `vault` / `settings`, where the Go
//! package keeps its own. A vault of its oldest generation has no such table: it has no settings
//! until it is migrated.
//!
//! # Limits
//!
//! `secure_delete` overwrites what was replaced or deleted, but the write-ahead log keeps it until
//! the last process closes the database ([`VaultStore::close`]). This does not reach backups, or
//! blocks that the disk itself has remapped. A file in a network directory is as safe as the locks
//! of that file system, which often are not.
//!
//! # Threads
//!
//! A store belongs to the tokio runtime in which it was opened, which must be running while a call
//! is awaited. The calls themselves may be awaited on any executor. Each connection has its own
//! thread; nothing blocks in an `async fn`.
//!
//! # Example
//!
//! ```
//! use vault_store::{RecordSource, VaultStore};
//! use vault_sqlite::{SqliteOptions, SqliteStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vault.sqlite");
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let store = SqliteStore::create(&path, SqliteOptions::default()).await?;
//! assert_eq!(store.count().await?, 0);
//! store.close().await;
//! # Ok::<(), vault_store::StoreError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connect;
mod driver;
mod error;
mod identities;
mod migrate;
mod open;
mod packed;
mod queries;
mod reads;
mod record;
mod schema;
mod scrub;
mod shared;
mod statements;
mod take_up;
mod time;
mod writes;

#[cfg(test)]
mod faults;

use std::{num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::Handle;
use vault_store::WriteHook;
use vault_store::{
    DeleteOutcome, InsertOutcome, Page, PageLimit, PasswordIdentities, Purge, PurgedIdentities,
    PutSetting, Query, Record, RecordHead, RecordId, RecordSink, RecordSource, RecordUpdate,
    Replacement, ScrubOptions, ScrubReport, SealedRecord, StoreError, TableNames, Timestamp, Token,
    VaultStore, WriteCount, WriteOutcome,
};

pub use migrate::{MigrationReport, SchemaChange};

use crate::error::Fault;
use crate::migrate::Missing;
use crate::schema::MetaTable;
use crate::shared::Shared;

/// A vault in an SQLite database. Clones share its connections.
///
/// # Cancel safety
/// Every method can be dropped at any time: its operation is then done completely or not at all.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// Options for opening a vault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The names of the two tables. Default: `vault` and `vault_meta`.
    pub tables: TableNames,
    /// How long a call waits for a lock that another process holds. Default: 5 seconds, enough for
    /// a program that writes a batch, and short enough to notice one that hangs.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { tables: TableNames::default(), busy_timeout: Duration::from_secs(5) }
    }
}

impl SqliteOptions {
    /// Sets the names of the two tables.
    #[must_use]
    pub fn tables(mut self, tables: TableNames) -> Self {
        self.tables = tables;
        self
    }

    /// Sets how long a call waits for another process that holds a lock.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }
}

impl SqliteStore {
    /// Creates an empty vault in a new file that only its owner can read and write (mode 0600).
    ///
    /// # Errors
    /// [`AlreadyExists`](vault_store::StoreErrorKind::AlreadyExists) if anything exists at the
    /// path, including a dangling symbolic link, except what a creation that was broken off may
    /// have left: an empty file, one of zeros, one with nothing but a header, or a database whose
    /// only tables are those of this vault without any row; `Locked` if another process is creating
    /// the same file. On any error, no file is left behind. A process that is killed leaves no file
    /// at the path either. It may leave a folder next to it, which the next call for this path
    /// reuses. Fails outside a tokio runtime.
    pub async fn create(
        path: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<Self, StoreError> {
        Self::create_with(path, options, &[]).await
    }

    /// As [`create`](Self::create), with these settings: the file appears with all of them or not
    /// at all.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_with(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        settings: &[(String, String)],
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let runtime = Handle::try_current().map_err(|_| error::no_runtime(path))?;
        let shared = open::create(path, &options, settings, runtime).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a vault without changing anything; read-only if this user may not write.
    ///
    /// # Errors
    /// `NotFound`, `NotAVault`, `OlderSchema`, `Denied`, `Locked`, `Unsupported` or `Corrupt` of
    /// [`vault_store::StoreErrorKind`], depending on the file. Fails outside a tokio runtime.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let runtime = Handle::try_current().map_err(|_| error::no_runtime(path))?;
        Ok(Self { shared: Arc::new(open::open(path, &options, runtime).await?) })
    }

    /// Creates what the tables of a vault lack: the table of settings, a column that later versions
    /// added, the index that keeps tokens unique. It deletes and changes no record. In a database
    /// without any table it creates both.
    ///
    /// The columns of an old table keep their types and stay nullable: rewriting the table would
    /// gain nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open): also `NotAVault` for a database that has tables and not those of
    /// the vault, whose names may be mistyped. Nothing was changed then. Reopen any store that was
    /// open meanwhile.
    pub async fn migrate(
        path: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<MigrationReport, StoreError> {
        Self::migrate_tables(path.as_ref(), options, Missing::Refuse).await
    }

    /// As [`migrate`](Self::migrate), and creates the tables of a vault within another program's
    /// database too.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate). The table of settings of another vault is refused.
    pub async fn migrate_or_create(
        path: impl AsRef<Path>,
        options: SqliteOptions,
    ) -> Result<MigrationReport, StoreError> {
        Self::migrate_tables(path.as_ref(), options, Missing::Create).await
    }

    async fn migrate_tables(
        path: &Path,
        options: SqliteOptions,
        missing: Missing,
    ) -> Result<MigrationReport, StoreError> {
        let path = path.to_owned();
        let runtime = Handle::try_current().map_err(|_| error::no_runtime(&path))?;
        let task = runtime.spawn({
            let path = path.clone();
            async move { migrate::migrate(&path, &options, missing).await }
        });
        task.await.unwrap_or_else(|error| Err(Fault::WriteEnded(error).into_store_error(&path)))
    }
}

#[async_trait]
impl RecordSource for SqliteStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move {
                    reads::sealed_page(connection, statements, after.as_ref(), limit).await
                })
            })
            .await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move { reads::sealed_records(connection, statements, &ids).await })
            })
            .await
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        let after = after.cloned();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move {
                    reads::heads_page(connection, statements, after.as_ref(), limit).await
                })
            })
            .await
    }
}

#[async_trait]
impl RecordSink for SqliteStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move { writes::batch(connection, statements, &batch).await })
            })
            .await
    }
}

#[async_trait]
impl VaultStore for SqliteStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move { writes::insert(connection, statements, &records).await })
            })
            .await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let tokens = tokens.to_vec();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move { reads::find(connection, statements, &tokens).await })
            })
            .await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<Record>, StoreError> {
        let after = after.cloned();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move {
                    reads::record_page(connection, statements, after.as_ref(), limit).await
                })
            })
            .await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        let query = query.clone();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move { queries::query(connection, statements, &query, now).await })
            })
            .await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move { queries::count(connection, statements, &query, now).await })
            })
            .await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let after = after.cloned();
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move {
                    writes::purge(connection, statements, purge, now, after.as_ref(), limit).await
                })
            })
            .await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move { writes::update(connection, statements, &change).await })
            })
            .await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        let id = id.clone();
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move { writes::delete(connection, statements, &id).await })
            })
            .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.shared
            .read(|connection, statements| Box::pin(reads::count(connection, statements)))
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        if self.shared.meta != MetaTable::Present {
            return Ok(None);
        }
        let name = name.to_owned();
        self.shared
            .read(move |connection, statements| {
                Box::pin(async move { reads::setting(connection, statements, &name).await })
            })
            .await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        if self.shared.meta != MetaTable::Present {
            return Ok(Vec::new());
        }
        self.shared
            .read(|connection, statements| Box::pin(reads::settings(connection, statements)))
            .await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        if self.shared.meta != MetaTable::Present {
            return Err(Fault::NoMetaTable.into_store_error(&self.shared.path));
        }
        let (name, value) = (name.to_owned(), value.to_owned());
        self.shared
            .write(move |connection, statements| {
                Box::pin(async move {
                    writes::put_setting(connection, statements, &name, &value, put).await
                })
            })
            .await
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        if self.shared.meta != MetaTable::Present {
            return Err(Fault::NoMetaTable.into_store_error(&self.shared.path));
        }
        let settings = settings.to_vec();
        self.shared
            .write(move |connection, statements| {
                Box::pin(
                    async move { writes::init_settings(connection, statements, &settings).await },
                )
            })
            .await
    }

    /// `external` comes from SQLite's `data_version`, which reflects every other connection to the
    /// file.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        self.shared.write_count().await
    }

    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        self.shared
            .read(|connection, statements| Box::pin(reads::hooks(connection, statements)))
            .await
    }

    /// `VACUUM` in place, then the log is emptied: see the [guarantees](crate#guarantees). A log
    /// that another process keeps in use stays, and is in the report. There is no old file, so the
    /// options change nothing.
    async fn scrub(&self, _: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.shared.scrub().await
    }

    async fn password_identities(&self) -> Result<PasswordIdentities, StoreError> {
        identities::count(&self.shared).await
    }

    async fn purge_password_identities(&self) -> Result<PurgedIdentities, StoreError> {
        identities::purge(&self.shared).await
    }

    /// The last connection of all processes moves the write-ahead log into the database and removes
    /// it. Without this call, that happens in the background once the last clone is dropped.
    async fn close(&self) {
        Arc::clone(&self.shared).close().await;
    }
}
