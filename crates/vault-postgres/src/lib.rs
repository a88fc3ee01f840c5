//! The Postgres backend of vaultstore, over [sqlx](https://docs.rs/sqlx): a vault is two tables of a database.
//!
//! Choose it when several programs or machines share a vault, or when there is a server already that is backed up and
//! watched. Choose the embedded backend when one program keeps the vault: it needs no server and is faster.
//!
//! # What it guarantees
//!
//! - **Atomic.** Each change is one transaction, a whole batch included, at the isolation level *read committed*
//!   whatever the database's default is: the rows of a batch are locked in the order of their ids, so that two rekeys do
//!   not run into a deadlock, and compared after that.
//! - **Durable.** Each of our connections sets `synchronous_commit = on` (`remote_apply`, which promises more, is left),
//!   so that an answered commit survives a crash of the server, also where the database or the role has relaxed that. The
//!   server's own `fsync` and `full_page_writes` must be on, as they are by default; no client can set them.
//! - **Nothing half known.** An error of any kind means that the call changed nothing, except
//!   [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome), which is given only when the answer to a commit was
//!   lost. Deadlocks, serialization failures, time limits, lost connections, and a server that starts, stops or is full of
//!   connections are [`Retryable`](vault_store::StoreErrorKind::Retryable).
//! - **Cancellable.** A call whose future is dropped runs to its end in a task of its own. (sqlx 0.9.0 loses writes that
//!   were answered well if the future that begins a transaction is dropped; here none is, and each connection is rolled
//!   back before anyone else has it.)
//! - **No long snapshot.** Each page is one statement, so that a rekey of any length does not keep the server from
//!   vacuuming. The server adds up the bytes of a page: it sends no more than was asked for, and no envelope over
//!   [`MAX_ENVELOPE_LEN`](vault_store::MAX_ENVELOPE_LEN).
//! - **All records.** Every connection sets `row_security = off`: where row security would hide records from the user
//!   the server refuses. A view, a foreign table or a table that others inherit from is refused when it is opened.
//! - **What was written is stored.** Where the table has triggers or rules, what they have made of an envelope is read
//!   before the commit; if it is something else, nothing is changed and the call fails.
//! - **Altered tables.** A statement that the server does not run any more because the table was altered
//!   (`0A000`) is prepared anew on another connection.
//! - **Pages in byte order** whatever the database's collation is.
//! - **Looking does not touch.** Opening changes nothing; only [`PostgresStore::create`] and [`PostgresStore::migrate`]
//!   make tables.
//! - **Errors name the server** by host and port, and hold no password and no other part of the URL.
//!
//! # What it does not do
//!
//! An envelope that was replaced or deleted stays in dead rows until the server vacuums, and then in free space, in the
//! write-ahead log, in replicas and in backups. After a rekey because a password leaked, run `VACUUM FULL` on the table
//! and let the log turn over; nothing reaches the rest.
//!
//! Ids and tokens of more than about 2,700 bytes do not fit into an index and are refused.
//!
//! Connections keep settings and prepared statements, so a pooler between must pool by session, not by transaction.
//!
//! # Address and TLS
//!
//! A URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE` in libpq's grammar, with these of libpq's parameters after a
//! `?`: `host`, `port`, `dbname`, `user`, `password`, `options` (for example `options=-csearch_path%3Dmyschema`),
//! `application_name`, `connect_timeout`, `sslmode`, `sslrootcert`, `sslcert` and `sslkey`. What the URL leaves open, libpq's
//! environment variables say (`PGHOST`, `PGSSLMODE` and so on), and the password may stand in `~/.pgpass` or the
//! file that `PGPASSFILE` names. The list is closed: any other parameter is an error, and so is a variable of libpq's that is set
//! to what is not supported (`PGSERVICE`, several hosts). A variable that is set to nothing counts as unset.
//!
//! TLS is the feature `tls` (rustls, with the certificates that the operating system trusts and those of
//! `sslrootcert=FILE`; libpq's default files in `~/.postgresql` are not read). A URL that does not say `sslmode` gets
//! `verify-full`, except on the loopback interface. There is no TLS on a Unix socket.
//!
//! # Runtime
//!
//! sqlx needs tokio: opening must happen within a runtime with its timer and I/O enabled, which then carries the calls.
//! The futures themselves may be polled by any executor.
//!
//! # Example
//!
//! ```no_run
//! use vault_store::VaultStore;
//! use vault_postgres::{PostgresOptions, PostgresStore};
//!
//! # async fn example() -> Result<(), vault_store::StoreError> {
//! let url = "postgres://app:secret@localhost/app";
//! PostgresStore::migrate(url, PostgresOptions::default()).await?;
//! let store = PostgresStore::open(url, PostgresOptions::default()).await?;
//! println!("{} records", store.count().await?);
//! # Ok(())
//! # }
//! ```

mod address;
mod error;
mod open;
mod options;
mod place;
mod queries;
mod reads;
mod record;
mod schema;
mod shared;
mod statements;
mod table_kind;
mod writes;

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use vault_store::WriteHook;
use vault_store::{
    DeleteOutcome, InsertOutcome, PageLimit, Purge, PutSetting, Query, Record, RecordId,
    RecordSink, RecordSource, RecordUpdate, Replacement, SealedRecord, StoreError, Timestamp,
    Token, VaultStore, WriteOutcome,
};

pub use crate::address::{InvalidPostgresUrl, Setting};
pub use crate::options::{Migration, PostgresOptions};
pub use crate::place::PostgresUrl;
use crate::shared::Effect::{Reads, Writes};
use crate::shared::Shared;

/// A vault in two tables of a Postgres database. Clones share a pool of connections, which are closed when the last one
/// is dropped.
///
/// # Cancel safety
/// Every method may be dropped at any time: what it was to do is then done wholly or not at all.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

impl PostgresStore {
    /// Opens the vault that is there.
    ///
    /// # Errors
    /// `NotAVault` when there is none, `NewerSchema`, `OlderSchema`, `Corrupt`, `Denied`, `NotFound` (no such database),
    /// `Retryable` (the server is down) or `Unsupported` (the URL) of [`vault_store::StoreErrorKind`]. Nothing was
    /// changed.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self { shared: Arc::new(open::open(url, &options).await?) })
    }

    /// Makes an empty vault and opens it.
    ///
    /// # Errors
    /// [`AlreadyExists`](vault_store::StoreErrorKind::AlreadyExists) when there is a vault, and what
    /// [`migrate`](Self::migrate) answers.
    pub async fn create(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self { shared: Arc::new(open::create(url, &options).await?) })
    }

    /// Makes the tables of a vault, or upgrades them to what this version writes; no record is changed or removed.
    ///
    /// Several processes may do so at once: one makes the tables, the others find them made.
    ///
    /// # Errors
    /// `NotAVault` when the tables are another program's, else as [`open`](Self::open). Nothing was changed.
    pub async fn migrate(url: &str, options: PostgresOptions) -> Result<Migration, StoreError> {
        open::migrate(url, &options).await
    }
}

#[async_trait]
impl RecordSource for PostgresStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.shared
            .run(Reads, move |shared| async move {
                reads::sealed_page(&shared, after.as_ref(), limit).await
            })
            .await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.shared
            .run(Reads, move |shared| async move { reads::sealed_records(&shared, &ids).await })
            .await
    }
}

#[async_trait]
impl RecordSink for PostgresStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.shared
            .run(Writes, move |shared| async move { writes::batch(&shared, &batch).await })
            .await
    }
}

#[async_trait]
impl VaultStore for PostgresStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        let records: Arc<[Record]> = records.into();
        self.shared
            .run(Writes, move |shared| async move { writes::insert(&shared, &records).await })
            .await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let tokens = tokens.to_vec();
        self.shared
            .run(Reads, move |shared| async move { reads::find(&shared, &tokens).await })
            .await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, StoreError> {
        let after = after.cloned();
        self.shared
            .run(Reads, move |shared| async move {
                reads::record_page(&shared, after.as_ref(), limit).await
            })
            .await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError> {
        let query = query.clone();
        self.shared
            .run(Reads, move |shared| async move { queries::query(&shared, &query, now).await })
            .await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.shared
            .run(Reads, move |shared| async move { queries::count(&shared, &query, now).await })
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
            .run(Writes, move |shared| async move {
                writes::purge(&shared, purge, now, after.as_ref(), limit).await
            })
            .await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.shared
            .run(Writes, move |shared| async move { writes::update(&shared, &change).await })
            .await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        let id = id.clone();
        self.shared
            .run(Writes, move |shared| async move { writes::delete(&shared, &id).await })
            .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::count(&shared).await }).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.shared
            .run(Reads, move |shared| async move { reads::setting(&shared, &name).await })
            .await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::settings(&shared).await }).await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.shared
            .run(Writes, move |shared| async move {
                writes::put_setting(&shared, &name, &value, put).await
            })
            .await
    }

    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::hooks(&shared).await }).await
    }

    /// The calls of dropped futures are waited for as well.
    async fn close(&self) {
        self.shared.pool.close().await;
    }
}
