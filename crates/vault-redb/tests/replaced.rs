//! A vault's file that another one takes the place of: what is kept, what is refused, and what a
//! copy in the making does to others.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use futures::executor::block_on;
use redb::TableDefinition;
use tempfile::TempDir;
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{
    EnvelopeText, InsertOutcome, OldBlocks, PageLimit, PutSetting, Record, RecordId, RecordSink,
    RecordSource, Replacement, ScrubOptions, StoreErrorKind, Timestamp, Token, VaultStore,
    WriteOutcome,
};

const ALL: PageLimit = PageLimit {
    records: std::num::NonZeroUsize::new(100_000).unwrap(),
    bytes: std::num::NonZeroUsize::new(1 << 30).unwrap(),
};

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:05}")),
        token: Token::from_stored(format!("tk_{number}")),
        envelope: EnvelopeText::from_stored(vec![b'a'; 50 + number % 9 * 100]),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: number.is_multiple_of(7).then(|| Timestamp::from_micros(3)),
        soft_deleted_at: None,
    }
}

fn replacement(record: &Record) -> Replacement {
    let new = EnvelopeText::from_stored([b"new ", record.envelope.as_bytes().unwrap()].concat());
    Replacement { id: record.id.clone(), expected: record.envelope.clone(), new }
}

fn vault(records: usize) -> (TempDir, PathBuf, RedbStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.redb");
    let store = block_on(RedbStore::create(&path, RedbOptions::default())).unwrap();
    let all: Vec<Record> = (0..records).map(record).collect();
    let outcomes = block_on(store.insert(all)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Inserted));
    block_on(store.put_setting("format", "v3", PutSetting::Always)).unwrap();
    (folder, path, store)
}

fn open(path: &Path) -> RedbStore {
    block_on(RedbStore::open(path, RedbOptions::default())).unwrap()
}

fn contents(store: &RedbStore) -> Vec<Record> {
    block_on(store.list(None, ALL)).unwrap().records
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_scrub_keeps_the_mode_and_goes_on_in_the_new_file() {
    for old_blocks in [OldBlocks::Auto, OldBlocks::Overwrite, OldBlocks::Punch, OldBlocks::Leave] {
        let (folder, path, store) = vault(500);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        let mut old = fs::File::open(&path).unwrap();
        let options = ScrubOptions::default().old_blocks(old_blocks);
        let report = block_on(store.scrub(options)).unwrap();
        assert_eq!((report.rows, report.is_complete()), (500, true));
        let after = fs::metadata(&path).unwrap();
        assert_ne!(after.ino(), before.ino());
        assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
        assert_eq!(names(&folder), ["v.redb"]);
        // A process that had opened the old file does not take it for a vault any more.
        let mut head = vec![1; 4096];
        std::io::Read::read_exact(&mut old, &mut head).unwrap();
        assert_eq!(head, vec![0; 4096]);
        // Each handle goes on, and what it writes is in the new file.
        let clone = store.clone();
        block_on(clone.insert(vec![record(900)])).unwrap();
        drop((store, clone));
        let expected: Vec<Record> = (0..500).chain([900]).map(record).collect();
        assert_eq!(contents(&open(&path)), expected);
    }
}

#[test]
fn what_a_new_file_could_not_keep_is_refused_by_name() {
    let refused = |store: &RedbStore, word: &str| {
        let error = block_on(store.scrub(ScrubOptions::default())).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    let (folder, path, store) = vault(10);
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    let other = folder.path().join("other");
    fs::hard_link(&path, &other).unwrap();
    refused(&store, "hard link");
    fs::remove_file(&other).unwrap();
    fs::rename(&path, &other).unwrap();
    refused(&store, "does not lead");
    fs::rename(&other, &path).unwrap();
    drop(store);
    symlink(&path, &other).unwrap();
    refused(&open(&other), "symbolic link");
    fs::remove_file(&other).unwrap();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let theirs: TableDefinition<'_, &str, &str> = TableDefinition::new("theirs");
    transaction.open_table(theirs).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused(&open(&path), "theirs");
    assert_eq!((inode(), names(&folder)), (before, vec!["v.redb".to_owned()]));
}

#[test]
fn what_a_killed_scrub_left_is_removed_by_the_next_one() {
    let (folder, path, store) = vault(10);
    let left = folder.path().join(".v.redb.vaultstore-new");
    fs::create_dir(&left).unwrap();
    fs::set_permissions(&left, Permissions::from_mode(0o700)).unwrap();
    fs::write(left.join("vault"), vec![7; 10_000]).unwrap();
    block_on(store.scrub(ScrubOptions::default())).unwrap();
    assert_eq!(names(&folder), ["v.redb"]);
    drop(store);
    assert_eq!(contents(&open(&path)).len(), 10);
}

#[test]
fn what_is_staged_takes_the_place_of_the_vault_at_once() {
    let (folder, path, store) = vault(1000);
    let before = contents(&store);
    let staged = block_on(store.stage()).unwrap();
    let batch = |numbers: &[usize]| -> Vec<Replacement> {
        numbers.iter().map(|number| replacement(&before[*number])).collect()
    };
    let swap = |batch: Vec<Replacement>| block_on(staged.swap_batch(batch.into())).unwrap();
    assert_eq!(swap(batch(&[3, 200, 5])), [WriteOutcome::Applied; 3]);
    // Behind what was copied, with the old and with the new envelope expected, and nobody's.
    assert_eq!(swap(batch(&[4, 5])), [WriteOutcome::Applied, WriteOutcome::Conflict]);
    let nobody = Record { id: RecordId::from_stored("00150 x"), ..record(1) };
    let stale = Replacement { expected: nobody.envelope.clone(), ..replacement(&before[600]) };
    let stale = Replacement { expected: EnvelopeText::from_stored(*b"stale"), ..stale };
    let outcomes = swap(vec![stale, replacement(&nobody), replacement(&before[999])]);
    assert_eq!(outcomes, [WriteOutcome::Conflict, WriteOutcome::Missing, WriteOutcome::Applied]);

    let mut expected = before.clone();
    for number in [3, 4, 5, 200, 999] {
        expected[number].envelope = replacement(&before[number]).new;
    }
    // The copy reads as it will be; the vault as it was, and nobody changes it.
    let mut read = Vec::new();
    while let page =
        block_on(staged.read_page(read.last().map(|(id, _)| id), PageLimit::new(90, usize::MAX)))
            .unwrap()
        && !page.is_empty()
    {
        read.extend(page.records.into_iter().map(|record| (record.id, record.envelope)));
    }
    let sealed = |records: &[Record]| -> Vec<_> {
        records.iter().map(|record| (record.id.clone(), record.envelope.clone())).collect()
    };
    assert_eq!(read, sealed(&expected));
    assert_eq!(contents(&store), before);
    let busy = block_on(store.insert(vec![record(5000)])).unwrap_err();
    assert_eq!(busy.kind(), StoreErrorKind::Retryable);
    assert_eq!(block_on(store.stage()).err().unwrap().kind(), StoreErrorKind::Retryable);

    let report = block_on(staged.publish(ScrubOptions::default())).unwrap();
    assert_eq!(report.rows, 1000);
    assert_eq!(contents(&store), expected);
    block_on(store.insert(vec![record(5000)])).unwrap();
    assert!(block_on(staged.publish(ScrubOptions::default())).is_err());
    drop((staged, store));
    expected.push(record(5000));
    assert_eq!(contents(&open(&path)), expected);
    assert_eq!(names(&folder), ["v.redb"]);
}

#[test]
fn what_is_staged_and_dropped_changes_nothing() {
    let (folder, path, store) = vault(100);
    let before = contents(&store);
    let inode = fs::metadata(&path).unwrap().ino();
    let staged = block_on(store.stage()).unwrap();
    let batch: Vec<Replacement> = before.iter().map(replacement).collect();
    assert_eq!(
        block_on(staged.swap_batch(batch.into())).unwrap(),
        vec![WriteOutcome::Applied; 100]
    );
    drop(staged);
    assert_eq!((contents(&store), names(&folder)), (before, vec!["v.redb".to_owned()]));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    block_on(store.insert(vec![record(5000)])).unwrap();
}
