//! The contract of a store, kept by redb.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails panics, in its helpers too"
)]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Duration,
};

use redb::{ReadableTable, TableDefinition};
use tempfile::TempDir;
use vault_conformance::{Planted, StoreUnderTest};
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{InsertOutcome, Record, StoreErrorKind, VaultStore};

vault_conformance::suite!(Redb::new());

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Makes each store a file of its own in one folder.
struct Redb {
    folder: TempDir,
    files: AtomicUsize,
}

impl Redb {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), files: AtomicUsize::new(0) }
    }

    fn next_path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.redb", self.files.fetch_add(1, SeqCst)))
    }
}

impl StoreUnderTest for Redb {
    type Store = RedbStore;

    async fn fresh(&self) -> RedbStore {
        RedbStore::create(self.next_path(), RedbOptions::default()).await.unwrap()
    }

    /// No vault writes such a record, so the row of a short one is made longer in the closed file:
    /// the envelope is its tail.
    async fn plant_too_long(&self, store: RedbStore, record: Record, len: u64) -> RedbStore {
        let (path, id) = (store.path().to_owned(), record.id.clone());
        let short = record.envelope.len();
        assert_eq!(store.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
        drop(store);
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut records = transaction.open_table(RECORDS).unwrap();
            let mut row = records.get(id.as_bytes()).unwrap().unwrap().value().to_vec();
            row.resize(row.len() + usize::try_from(len - short).unwrap(), b'A');
            records.insert(id.as_bytes(), row.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        RedbStore::open(&path, RedbOptions::default()).await.unwrap()
    }

    /// A row whose key is no text.
    async fn plant_unreadable(&self, store: RedbStore, row: Record) -> (RedbStore, Planted) {
        let (path, id) = (store.path().to_owned(), row.id.clone());
        assert_eq!(store.insert(vec![row]).await.unwrap(), [InsertOutcome::Inserted]);
        drop(store);
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut records = transaction.open_table(RECORDS).unwrap();
            let row = records.remove(id.as_bytes()).unwrap().unwrap().value().to_vec();
            let key = [id.as_bytes(), b"\xff"].concat();
            records.insert(key.as_slice(), row.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        (RedbStore::open(&path, RedbOptions::default()).await.unwrap(), Planted::Yes)
    }

    async fn reopen(&self, store: RedbStore) -> RedbStore {
        let path = store.path().to_owned();
        drop(store);
        loop {
            match RedbStore::open(&path, RedbOptions::default()).await {
                Ok(store) => return store,
                // A call whose future was dropped still runs, and keeps the file.
                Err(error) if error.kind() == StoreErrorKind::Locked => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
