//! The open database shared by all clones of a store, and the transaction around each operation on
//! it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use futures::future::BoxFuture;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::runtime::Handle;
use vault_store::{ScrubReport, StoreError, TableName, WriteCount, WriteCounter};

use crate::connect::sibling;
use crate::driver::{Driver, Panicked};
use crate::error::{self, Fault};
use crate::schema::MetaTable;
use crate::scrub;
use crate::statements::Statements;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) driver: Driver,
    pub(crate) readers: SqlitePool,
    /// One connection: SQLite has one writer at a time, and a queue is fairer than its
    /// sleep-and-retry.
    pub(crate) writer: SqlitePool,
    pub(crate) statements: Statements,
    /// The name of the table of records.
    pub(crate) vault: TableName,
    pub(crate) meta: MetaTable,
    pub(crate) runtime: Handle,
    pub(crate) writes: WriteCounter,
    /// How often the writer has connected: each connection starts its own count of foreign changes.
    pub(crate) writers: Arc<AtomicU64>,
}

impl Shared {
    /// Runs work within a read transaction.
    ///
    /// The task is never dropped half-way, and any executor may wait for it.
    pub(crate) async fn read<T, W>(self: &Arc<Self>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Work<T>,
    {
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let mut transaction = shared.readers.begin().await?;
            let value = work(&mut transaction, &shared.statements).await?;
            transaction.rollback().await?;
            Ok(value)
        });
        let answer = self.driver.unless_it_panics(task).await;
        let answer = answer.unwrap_or(Ok(Err(Panicked.into())));
        let answer = answer.unwrap_or_else(|error| Err(Fault::ReadEnded(error)));
        answer.map_err(|fault| fault.into_store_error(&self.path))
    }

    /// Runs work within an immediate transaction, and commits unless the work fails.
    ///
    /// The task is never dropped half-way: a dropped `begin` or `commit` would leave the connection
    /// in a state that the driver does not know, and would mix in the next caller's changes.
    pub(crate) async fn write<T, W>(self: &Arc<Self>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Work<T>,
    {
        if self.driver.has_panicked() {
            return Err(Fault::from(Panicked).into_store_error(&self.path));
        }
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let _under_way = shared.writes.begin();
            let mut transaction = begin_write(&shared.writer).await?;
            let value = work(&mut transaction, &shared.statements).await?;
            transaction.commit().await.map_err(Fault::Commit)?;
            Ok(value)
        });
        let answer = self.driver.unless_it_panics(task).await;
        let answer = answer.unwrap_or(Ok(Err(Fault::PanickedWhileWriting)));
        let answer = answer.unwrap_or_else(|error| Err(Fault::WriteEnded(error)));
        answer.map_err(|fault| fault.into_store_error(&self.path))
    }

    /// Scrubs the database, outside any transaction, while no other write can start.
    pub(crate) async fn scrub(self: &Arc<Self>) -> Result<ScrubReport, StoreError> {
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let _under_way = shared.writes.begin();
            let mut writer = shared.writer.acquire().await?;
            scrub::scrub(&mut writer, &shared.path, &shared.vault).await
        });
        let answer = task.await.unwrap_or_else(|error| Err(Fault::WriteEnded(error)));
        answer.map_err(|fault| fault.into_store_error(&self.path))
    }

    /// Counts the writes through this store, and asks the one connection that makes them whether
    /// another one, of this or another process, has changed the database.
    pub(crate) async fn write_count(self: &Arc<Self>) -> Result<Option<WriteCount>, StoreError> {
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let mut writer = shared.writer.acquire().await?;
            let version: i64 =
                sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *writer).await?;
            // While the writer is held, no write through this store can start.
            let Some(local) = shared.writes.count() else { return Ok(None) };
            let external = shared.writers.load(SeqCst) << 32 | version.unsigned_abs();
            Ok(Some(WriteCount { local, external }))
        });
        let answer = self.driver.unless_it_panics(task).await;
        let answer = answer.unwrap_or(Ok(Err(Panicked.into())));
        let answer = answer.unwrap_or_else(|error| Err(Fault::ReadEnded(error)));
        answer.map_err(|fault: Fault| fault.into_store_error(&self.path))
    }

    /// Moves the log into the database and empties it. Returns whether it is empty: a reader in any
    /// process keeps it.
    pub(crate) async fn empty_log(self: &Arc<Self>) -> Result<bool, StoreError> {
        let shared = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let file = std::fs::canonicalize(&shared.path)
                .map_err(|error| error::from_io(error, &shared.path))?;
            let mut writer = shared.writer.acquire().await?;
            scrub::empty_log(&mut writer, &sibling(&file, "-wal")).await
        });
        let answer = task.await.unwrap_or_else(|error| Err(Fault::ReadEnded(error)));
        answer.map_err(|fault: Fault| fault.into_store_error(&self.path))
    }

    /// Waits for running work and closes all connections, the writer's last.
    ///
    /// The last connection moves the log into the database and removes it.
    pub(crate) async fn close(self: Arc<Self>) {
        let shared = Arc::clone(&self);
        let task = self.runtime.spawn(async move {
            shared.readers.close().await;
            shared.writer.close().await;
        });
        // It fails only if the runtime ends, and then the connections end with their threads. That
        // of a thread that has panicked is not closed any more.
        let _ = self.driver.unless_it_panics(task).await;
    }
}

/// Work to run within a transaction.
pub(crate) trait Work<T>:
    for<'c> FnOnce(&'c mut SqliteConnection, &'c Statements) -> BoxFuture<'c, Result<T, Fault>>
    + Send
    + 'static
{
}

impl<T, W> Work<T> for W where
    W: for<'c> FnOnce(&'c mut SqliteConnection, &'c Statements) -> BoxFuture<'c, Result<T, Fault>>
        + Send
        + 'static
{
}

/// Starts as a writer: a reader that becomes one may fail because it is too late.
async fn begin_write(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
}
