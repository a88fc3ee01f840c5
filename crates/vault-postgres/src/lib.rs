//! The Postgres backend of vaultstore, based on [sqlx](https://docs.rs/sqlx): a vault is two tables
//! of a database.
//!
//! Choose it if several programs or machines share a vault, or if you already operate a server with
//! backups and monitoring. Choose the embedded backend if one program uses the vault: it needs no
//! server and is faster.
//!
//! # Guarantees
//!
//! - **Atomic.** Each change, including a whole batch, is one transaction at the isolation level
//!   *read committed*, whatever the database's default is. The rows of a batch are first locked in
//!   the order of their ids, so that two rekeys do not deadlock, and then compared.
//! - **Durable.** Each transaction that writes sets `synchronous_commit = on` (`remote_apply`,
//!   which
//!   promises more, is kept), so that an acknowledged commit survives a crash of the server even if
//!   the database or the role has relaxed that. The server's own `fsync` and `full_page_writes`
//!   must be on, as they are by default; no client can set them.
//! - **Certain outcomes.** A failed call changed nothing, except for
//!   [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome), which is returned only if the
//!   response to a commit was lost. Deadlocks, serialization failures, timeouts, lost connections,
//!   and a server that is starting, stopping or out of connections are
//!   [`Retryable`](vault_store::StoreErrorKind::Retryable).
//! - **Cancellable.** A call whose future is dropped completes in a separate task. (sqlx 0.9.0
//!   loses acknowledged writes if the future that begins a transaction is dropped. Here none is,
//!   and each connection is rolled back before it is reused.)
//! - **No long snapshot.** Each page is one statement, so a rekey of any duration does not keep the
//!   server from vacuuming. The server sums up the bytes of a page: it sends no more than
//!   requested, and no envelope over [`MAX_ENVELOPE_LEN`](vault_store::MAX_ENVELOPE_LEN).
//! - **All records.** Every transaction sets `row_security = off`: where row security would hide
//!   records from the user, the server returns an error. Opening refuses a view, a foreign table, a
//!   table with inheriting tables, a table without a unique key on `id` and on `token`, and columns
//!   of types that do not keep what is stored (`char(n)`) or that find it under another name
//!   (`citext`).
//! - **Behind a connection pooler** too, by session or by transaction: see below.
//! - **No record in a statement.** Ids, tokens and envelopes are parameters, never text. A
//!   transaction keeps its parameters out of the server's log if its role is a superuser's;
//!   otherwise [`statement_logs`](vault_store::VaultStore::statement_logs) names the settings by
//!   which they may be logged.
//! - **What was written is stored.** If the table has triggers or rules, what they made of an
//!   envelope is read before the commit. If it differs, nothing is changed and the call fails.
//! - **Altered tables.** A statement that the server rejects because the table was altered
//!   (`0A000`) is prepared again on another connection.
//! - **Pages in byte order**, whatever the database's collation is.
//! - **Opening does not modify.** Only [`PostgresStore::create`] and [`PostgresStore::migrate`]
//!   create tables.
//! - **Errors name the server** by host and port, and contain no password and no other part of the
//!   URL.
//!
//! # Limits
//!
//! A replaced or deleted envelope stays in dead rows until the server vacuums, and then in free
//! space, in the write-ahead log, in replicas and in backups, and each row names the transaction
//! that wrote it. [`scrub`](vault_store::VaultStore::scrub) ends all of this but the log, and says
//! what keeps that. It needs the rights of the table's owner, and locks the table until it is done.
//! Transactions at *repeatable read* that begin meanwhile and look at the table afterwards may find
//! it empty, so it waits for those that it sees.
//!
//! Ids and tokens of more than about 2,700 bytes do not fit into an index and are refused.
//!
//! # Silence
//!
//! A machine that loses its power closes no connection, and the driver sets no TCP options. A call
//! without an answer for 30 seconds ([`PostgresOptions::silence`]) is checked from a second
//! connection, and ends if the server is gone, or runs nothing for this store: a read as
//! [`Retryable`](vault_store::StoreErrorKind::Retryable), a write as
//! [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome).
//!
//! # Connection poolers
//!
//! Nothing is set outside of a transaction, and each read has one. Opening recognizes a pooler,
//! because it does not pass on a setting that the first connection asks for; behind one, no
//! statement gets a name, so that nothing is left behind on its connections. There is nothing to
//! configure. The one thing that a pooler that drops `options` cannot do is to pass on those of the
//! address: opening fails then, because they may name the schema.
//!
//! # Address and TLS
//!
//! A URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE` in libpq's grammar, with these of libpq's
//! parameters after a `?`: `host`, `port`, `dbname`, `user`, `password`, `options` (for example
//! `options=-csearch_path%3Dmyschema`), `application_name`, `connect_timeout`,
//! `target_session_attrs`, `sslmode`, `sslrootcert`, `sslcert` and `sslkey`. What the URL leaves
//! out comes from libpq's environment variables (`PGHOST`, `PGSSLMODE` and so on); the password can
//! also be in `~/.pgpass` or the file named by `PGPASSFILE`. The list is closed: any other
//! parameter is an error, and so is a variable of libpq with an unsupported value (`PGSERVICE`). An
//! empty variable counts as unset, except that an empty `PGUSER`, `PGPASSWORD`, `PGSSLCERT` or
//! `PGSSLKEY` is an error.
//!
//! A URL may name several servers, `HOST:PORT,HOST:PORT`, which are tried in their order until one
//! is what `target_session_attrs` asks for: `read-write` or `primary` finds the server that takes
//! writes. When the connection to it is lost, or it no longer takes writes, they are tried again,
//! so an open store survives a failover. The list is not a list of copies: all must be servers of
//! one replicated database. What was committed is there after a failover if replication is
//! synchronous.
//!
//! TLS is the feature `tls` (rustls, with the certificates that the operating system trusts and
//! those of `sslrootcert=FILE`; libpq's default files in `~/.postgresql` are not read). Without
//! `sslmode`, a URL gets `verify-full`, except on the loopback interface. There is no TLS on a Unix
//! socket.
//!
//! # Runtime
//!
//! sqlx needs tokio: open a store within a runtime with timer and I/O enabled, which then carries
//! the calls. The futures themselves may be polled by any executor.
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

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod around;
mod connect;
mod error;
mod open;
mod options;
mod outage;
mod place;
mod queries;
mod reads;
mod record;
mod schema;
mod scrub;
mod scrub_table;
mod session;
mod shared;
mod sqlstate;
mod statements;
mod table_kind;
mod transaction;
mod watch;
mod writes;

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use vault_store::WriteHook;
use vault_store::{
    DeleteOutcome, InsertOutcome, Page, PageLimit, Purge, PutSetting, Query, Record, RecordHead,
    RecordId, RecordSink, RecordSource, RecordUpdate, Replacement, ScrubOptions, ScrubReport,
    SealedRecord, StoreError, Timestamp, Token, Trace, VaultStore, WriteOutcome,
};

pub use crate::address::{InvalidPostgresUrl, Setting};
use crate::error::Effect::{Maintains, Reads, Writes};
pub use crate::options::{Migration, PostgresOptions};
pub use crate::place::PostgresUrl;
use crate::schema::Missing;
use crate::shared::Shared;

/// A vault in two tables of a Postgres database. Clones share a connection pool, which is closed
/// when the last one is dropped.
///
/// # Cancel safety
/// Every method can be dropped at any time: its operation is then done completely or not at all.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

impl PostgresStore {
    /// Opens an existing vault.
    ///
    /// # Errors
    /// `NotAVault` (there is none), `NewerSchema`, `OlderSchema`, `Corrupt`, `Denied`, `NotFound`
    /// (no such database), `Retryable` (the server is down) or `Unsupported` (the URL) of
    /// [`vault_store::StoreErrorKind`]. Nothing was changed.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        Ok(Self { shared: Arc::new(open::open(url, &options).await?) })
    }

    /// Creates an empty vault and opens it.
    ///
    /// # Errors
    /// [`AlreadyExists`](vault_store::StoreErrorKind::AlreadyExists) if there is a vault; otherwise
    /// as [`migrate`](Self::migrate).
    pub async fn create(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        Self::create_with(url, options, &[]).await
    }

    /// As [`create`](Self::create), with these settings: tables and settings are made in one
    /// transaction.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_with(
        url: &str,
        options: PostgresOptions,
        settings: &[(String, String)],
    ) -> Result<Self, StoreError> {
        Ok(Self { shared: Arc::new(open::create(url, &options, settings).await?) })
    }

    /// Upgrades the tables of a vault to this version, or creates them in a database that has none;
    /// no record is changed or removed.
    ///
    /// Several processes may do this at the same time: one creates the tables, the others find
    /// them.
    ///
    /// # Errors
    /// `NotAVault` if there are tables and not those of the vault, whose names may be mistyped;
    /// otherwise as [`open`](Self::open). Nothing was changed.
    pub async fn migrate(url: &str, options: PostgresOptions) -> Result<Migration, StoreError> {
        open::migrate(url, &options, &[], Missing::Refuse).await
    }

    /// As [`migrate`](Self::migrate), and creates the tables of a vault next to those of other
    /// programs too.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate). The table of settings of another vault is refused.
    pub async fn migrate_or_create(
        url: &str,
        options: PostgresOptions,
    ) -> Result<Migration, StoreError> {
        open::migrate(url, &options, &[], Missing::Create).await
    }
}

#[async_trait]
impl RecordSource for PostgresStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
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

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        let after = after.cloned();
        self.shared
            .run(Reads, move |shared| async move {
                reads::heads_page(&shared, after.as_ref(), limit).await
            })
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
    ) -> Result<Page<Record>, StoreError> {
        let after = after.cloned();
        self.shared
            .run(Reads, move |shared| async move {
                reads::record_page(&shared, after.as_ref(), limit).await
            })
            .await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
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

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        let settings = settings.to_vec();
        self.shared
            .run(
                Writes,
                move |shared| async move { writes::init_settings(&shared, &settings).await },
            )
            .await
    }

    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::hooks(&shared).await }).await
    }

    /// What any session can read: the transaction that wrote a row version, and where it lies.
    async fn traces(&self) -> Result<Vec<Trace>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::traces(&shared).await }).await
    }

    async fn statement_logs(&self) -> Result<Vec<String>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::statement_logs(&shared).await }).await
    }

    /// Made of the server's system identifier, the database and the table. A replica has those of
    /// its primary.
    async fn place_id(&self) -> Result<Option<String>, StoreError> {
        self.shared.run(Reads, |shared| async move { reads::place_id(&shared).await }).await
    }

    /// Locks the table for as long as it is written again, and needs its owner's rights. Readers
    /// and writers wait.
    async fn scrub(&self, _options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.shared.run(Maintains, |shared| async move { scrub::scrub(&shared).await }).await
    }

    /// Also waits for the calls of dropped futures.
    async fn close(&self) {
        self.shared.pool.close().await;
    }
}
