//! Files that are damaged where redb believes them: an error for everyone who calls, and nothing worse.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{fs, path::Path, process::Command};

use futures::executor::block_on;
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{
    EnvelopeText, PageLimit, Record, RecordId, RecordSource, StoreErrorKind, Timestamp, Token,
    VaultStore,
};

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:06}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("v3:{number}:").repeat(60).into_bytes()),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: None,
        soft_deleted_at: None,
    }
}

fn open(path: &Path) -> Result<RedbStore, StoreErrorKind> {
    block_on(RedbStore::open(path, RedbOptions::default())).map_err(|error| error.kind())
}

/// Set in the process that does the damage.
const CHILD: &str = "VAULTSTORE_TEST_DAMAGE";

/// In a process of its own: a write over which redb panics holds its thread inside the panic hook for
/// good, and the test runner takes the hook when it ends.
#[test]
fn a_damaged_file_is_an_error_to_every_call_and_never_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        damage_many_files();
        std::process::exit(0);
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.arg("--nocapture").env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Not every damaged page is one that redb reads, so many files are tried, each in all ways.
fn damage_many_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.redb");
    let store = block_on(RedbStore::create(&path, RedbOptions::default())).unwrap();
    block_on(store.insert((0..300).map(record).collect())).unwrap();
    for number in 0..40 {
        block_on(store.delete(&record(number).id)).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> =
        (0..whole.len()).step_by(8).filter(|at| whole[*at..][..8] != [0; 8]).collect();
    let (mut failed, mut sound) = (0, 0);
    for (number, at) in used.iter().step_by((used.len() / 1500).max(1)).enumerate() {
        let mut damaged = whole.clone();
        damaged[at + number % 8] ^= 1 << (number % 7);
        if use_all(&path, &damaged) {
            failed += 1;
        } else {
            sound += 1;
        }
    }
    assert!(failed > 20 && sound > 20, "{failed} of {} were noticed", failed + sound);
}

/// Whether any call on a file with these bytes failed. The first failure says that the file is
/// damaged; later calls may say that the store has stopped.
fn use_all(path: &Path, bytes: &[u8]) -> bool {
    // A leaked handle keeps the lock of its file: each file is a new one.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    let store = match open(path) {
        Ok(store) => store,
        Err(kind) => {
            let expected = [StoreErrorKind::Corrupt, StoreErrorKind::NotAVault];
            assert!(expected.contains(&kind) || kind == StoreErrorKind::NewerSchema, "{kind:?}");
            return true;
        }
    };
    let everything = PageLimit::new(10_000, usize::MAX);
    let results = [
        block_on(store.read_page(None, everything)).err(),
        block_on(store.delete(&record(250).id)).err(),
        block_on(store.insert(vec![record(1000)])).err(),
        block_on(store.count()).err(),
    ];
    let mut failures = results.iter().flatten();
    if let Some(first) = failures.next() {
        assert_eq!(first.kind(), StoreErrorKind::Corrupt, "{first}");
    }
    for later in failures {
        let expected = [StoreErrorKind::Corrupt, StoreErrorKind::Stopped];
        assert!(expected.contains(&later.kind()), "{later}");
    }
    results.iter().any(Option::is_some)
}
