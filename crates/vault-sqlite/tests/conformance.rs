//! The contract of a store.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{
    future::Future,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vault_conformance::{Planted, StoreUnderTest};
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{InsertOutcome, Record, VaultStore};

/// One runtime for all cases: a store belongs to the one in which it was opened.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// New files in a folder of the case's own.
struct Sqlite {
    folder: TempDir,
    /// By the number in its name, which of the files is open: the latest is last.
    paths: Mutex<Vec<PathBuf>>,
}

impl Sqlite {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), paths: Mutex::default() }
    }

    fn latest(&self) -> PathBuf {
        self.paths.lock().unwrap().last().unwrap().clone()
    }
}

impl StoreUnderTest for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        let path = {
            let mut paths = self.paths.lock().unwrap();
            let path = self.folder.path().join(format!("{}.sqlite", paths.len()));
            paths.push(path.clone());
            path
        };
        SqliteStore::create(path, SqliteOptions::default()).await.unwrap()
    }

    async fn reopen(&self, store: SqliteStore) -> SqliteStore {
        store.close().await;
        SqliteStore::open(self.latest(), SqliteOptions::default()).await.unwrap()
    }

    async fn plant_too_long(&self, store: SqliteStore, record: Record, len: u64) -> SqliteStore {
        let id = record.id.clone();
        assert_eq!(store.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
        let options = SqliteConnectOptions::new().filename(self.latest());
        let mut connection = options.connect().await.unwrap();
        let plant = "UPDATE vault SET vault_value = CAST(zeroblob(?2) AS TEXT) WHERE id = ?1";
        let query = sqlx::query(plant).bind(id.as_str()).bind(i64::try_from(len).unwrap());
        assert_eq!(query.execute(&mut connection).await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
        store
    }

    /// A row whose id is no UTF-8.
    async fn plant_unreadable(&self, store: SqliteStore, row: Record) -> (SqliteStore, Planted) {
        let id = row.id.clone();
        assert_eq!(store.insert(vec![row]).await.unwrap(), [InsertOutcome::Inserted]);
        let options = SqliteConnectOptions::new().filename(self.latest());
        let mut connection = options.connect().await.unwrap();
        let plant = "UPDATE vault SET id = CAST(CAST(id AS BLOB) || x'ff' AS TEXT) WHERE id = ?1";
        let query = sqlx::query(plant).bind(id.as_str());
        assert_eq!(query.execute(&mut connection).await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
        (store, Planted::Yes)
    }

    fn time_step(&self) -> i64 {
        1_000_000
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        RUNTIME.block_on(future)
    }
}

vault_conformance::suite!(Sqlite::new());
