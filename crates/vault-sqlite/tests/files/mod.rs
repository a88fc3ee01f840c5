//! Database files of a test, made and looked at with SQL of its own.

use std::{fs, path::Path};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{PageLimit, StoreError};

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default()
}

pub(crate) async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, options()).await
}

/// A limit that no test reaches.
pub(crate) fn wide() -> PageLimit {
    PageLimit::new(100_000, usize::MAX)
}

pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// The file holds what it held, and no log or journal was left next to it.
pub(crate) fn is_unchanged(path: &Path, before: &[u8]) {
    assert!(fs::read(path).unwrap() == before, "{} was changed", path.display());
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "something was left next to {}", path.display());
}

/// A connection of the test's own, to a file that is made if there is none.
pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.unwrap()
}

pub(crate) async fn execute(path: &Path, sql: &str) {
    let mut connection = connect(path).await;
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}
