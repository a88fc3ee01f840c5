//! Tests on a disk that fails: at each write in turn, once or permanently, before and during the
//! commit.

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::executor::block_on;
use redb::{BackendError, StorageBackend, backends::InMemoryBackend};
use vault_store::{
    EnvelopeText, PageLimit, Record, RecordId, RecordSink, RecordSource, Replacement,
    StoreErrorKind, Timestamp, Token, VaultStore, WriteOutcome,
};

use crate::file::Access;
use crate::open::{self, Opened};
use crate::shared::Shared;
use crate::threads::Threads;
use crate::{RedbOptions, RedbStore};

/// The operating system's error when the disk is full.
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// An in-memory file that survives its handle, and fails from the n-th change on.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    changes_left: Arc<AtomicUsize>,
    errno: Arc<Mutex<i32>>,
}

impl Disk {
    fn new() -> Self {
        Self {
            bytes: Arc::default(),
            changes_left: Arc::new(AtomicUsize::new(usize::MAX)),
            errno: Arc::new(Mutex::new(ENOSPC)),
        }
    }

    fn holding(bytes: &[u8]) -> Self {
        let disk = Self::new();
        disk.bytes.set_len(bytes.len() as u64).unwrap();
        disk.bytes.write(0, bytes).unwrap();
        disk
    }

    fn fail_after(&self, changes: usize, errno: i32) {
        *self.errno.lock().unwrap() = errno;
        self.changes_left.store(changes, Ordering::SeqCst);
    }

    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.bytes.len().unwrap()).unwrap()];
        self.bytes.read(0, &mut bytes).unwrap();
        bytes
    }

    fn change(&self) -> std::io::Result<()> {
        let take = |left: usize| left.checked_sub(1);
        match self.changes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(std::io::Error::from_raw_os_error(*self.errno.lock().unwrap())),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.change()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.change()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.change()?;
        self.bytes.write(offset, data)
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn threads() -> Threads {
    Threads::start().unwrap()
}

fn store_of(shared: Shared) -> RedbStore {
    RedbStore { shared: Arc::new(shared) }
}

fn created_on(disk: &Disk) -> RedbStore {
    store_of(
        open::create_in(
            disk.clone(),
            None,
            Path::new("disk"),
            &RedbOptions::default(),
            threads(),
            &[],
        )
        .unwrap(),
    )
}

fn opened_on(disk: &Disk) -> RedbStore {
    match open::open_in(
        disk.clone(),
        None,
        Access::ReadWrite,
        &|| true,
        Path::new("disk"),
        &RedbOptions::default(),
        threads(),
    )
    .unwrap()
    {
        Opened::Vault(shared) => store_of(shared),
        Opened::Replaced => panic!("it is replaced"),
        Opened::Other(schema) => panic!("{schema:?}"),
    }
}

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:04}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("old {number}").into_bytes()),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: None,
        soft_deleted_at: None,
    }
}

fn rewrite_all(store: &RedbStore, text: &str) -> Arc<[Replacement]> {
    let sealed = EnvelopeText::from_stored(text.repeat(600).into_bytes());
    let replace = |record: vault_store::SealedRecord| Replacement {
        id: record.id,
        expected: record.envelope,
        new: sealed.clone(),
    };
    page_of(store).into_iter().map(replace).collect()
}

fn page_of(store: &RedbStore) -> Vec<vault_store::SealedRecord> {
    block_on(store.read_page(None, PageLimit::new(1000, usize::MAX))).unwrap().records
}

/// Moves the point of failure through a batch until nothing fails any more, reopening after each
/// run, and counts the kinds.
fn sweep(errno: i32) -> std::collections::HashMap<StoreErrorKind, usize> {
    let mut kinds = std::collections::HashMap::new();
    for changes in 0.. {
        let disk = Disk::new();
        let store = created_on(&disk);
        block_on(store.insert((0..100).map(record).collect())).unwrap();
        let before = page_of(&store);
        let batch = rewrite_all(&store, "new");
        disk.fail_after(changes, errno);
        let outcome = block_on(store.swap_batch(Arc::clone(&batch)));
        let Err(error) = outcome else {
            assert_eq!(outcome.unwrap(), vec![WriteOutcome::Applied; 100]);
            break;
        };
        *kinds.entry(error.kind()).or_insert(0) += 1;

        let read_on = block_on(store.count()).unwrap_err().kind();
        assert_eq!(read_on, StoreErrorKind::Stopped, "a failed store continues");
        drop(store);
        disk.fail_after(usize::MAX, errno);
        let store = opened_on(&disk);
        let after = page_of(&store);
        let done = after.iter().zip(batch.iter()).all(|(now, change)| now.envelope == change.new);
        let certain = error.kind() != StoreErrorKind::UnknownOutcome;
        assert!(
            after == before || (done && !certain),
            "{:?} after {changes} changes",
            error.kind()
        );

        let outcomes = block_on(store.swap_batch(rewrite_all(&store, "again"))).unwrap();
        assert_eq!(outcomes, vec![WriteOutcome::Applied; 100]);
        assert_eq!(
            block_on(store.find(&[record(7).token])).unwrap()[0].as_ref().unwrap().id,
            record(7).id
        );
    }
    kinds
}

#[test]
fn a_full_disk_changes_nothing_or_says_that_nobody_knows() {
    let kinds = sweep(ENOSPC);
    assert!(kinds[&StoreErrorKind::Full] > 1, "{kinds:?}");
    assert!(kinds[&StoreErrorKind::UnknownOutcome] > 1, "{kinds:?}");
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

#[test]
fn a_failing_disk_changes_nothing_or_says_that_nobody_knows() {
    let kinds = sweep(EIO);
    assert!(kinds[&StoreErrorKind::Stopped] > 1, "{kinds:?}");
    assert!(kinds[&StoreErrorKind::UnknownOutcome] > 1, "{kinds:?}");
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

#[test]
fn a_vault_that_was_not_closed_is_recovered_however_the_recovery_fails() {
    let disk = Disk::new();
    let store = created_on(&disk);
    block_on(store.insert((0..50).map(record).collect())).unwrap();
    let before = page_of(&store);
    let crashed = disk.contents();
    drop(store);

    let mut failures = 0;
    for changes in 0.. {
        let disk = Disk::holding(&crashed);
        disk.fail_after(changes, ENOSPC);
        let opened = open::open_in(
            disk.clone(),
            None,
            Access::ReadWrite,
            &|| true,
            Path::new("disk"),
            &RedbOptions::default(),
            threads(),
        );
        let failed = opened.is_err();
        drop(opened);
        disk.fail_after(usize::MAX, ENOSPC);
        assert_eq!(page_of(&opened_on(&disk)), before);
        if !failed {
            break;
        }
        failures += 1;
    }
    assert!(failures > 1, "the recovery wrote nothing, so nothing was tested");
}

#[test]
fn a_file_of_another_program_that_was_not_closed_is_left_as_it_is() {
    let disk = Disk::new();
    let database = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    let crashed = disk.contents();
    drop(database);

    let disk = Disk::holding(&crashed);
    let opened = open::open_in(
        disk.clone(),
        None,
        Access::ReadWrite,
        &|| true,
        Path::new("disk"),
        &RedbOptions::default(),
        threads(),
    )
    .unwrap();
    assert!(matches!(opened, Opened::Other(crate::schema::Schema::Foreign)));
    drop(opened);
    assert!(disk.contents() == crashed, "opening changed a foreign file");
}
