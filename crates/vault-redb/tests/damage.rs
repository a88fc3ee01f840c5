//! Files that are damaged where redb believes them: an error for everyone who calls, and nothing
//! worse.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{fs, path::Path, process::Command};

use futures::executor::block_on;
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{
    EnvelopeText, PageLimit, PutSetting, Record, RecordId, RecordSource, StoreErrorKind, Timestamp,
    Token, VaultStore,
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

#[test]
fn a_damaged_file_is_an_error_to_every_call_and_never_ends_the_process() {
    in_a_process(
        "a_damaged_file_is_an_error_to_every_call_and_never_ends_the_process",
        flip_many_bits,
    );
}

#[test]
fn overwritten_pages_are_errors_and_never_a_panic() {
    in_a_process("overwritten_pages_are_errors_and_never_a_panic", overwrite_each_page);
}

/// In a process of its own: a write over which redb panics holds its thread inside the panic hook
/// for good, and the test runner takes the hook when it ends.
fn in_a_process(test: &str, work: fn()) {
    if std::env::var_os(CHILD).is_some() {
        // A failed assertion must not reach the test runner, which would wait for the hook.
        let passed = std::panic::catch_unwind(work).is_ok();
        std::process::exit(i32::from(!passed));
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The bytes of a vault in which records were inserted and deleted.
fn vault_at(path: &Path) -> Vec<u8> {
    let store = block_on(RedbStore::create(path, RedbOptions::default())).unwrap();
    block_on(store.insert((0..300).map(record).collect())).unwrap();
    for number in 0..40 {
        block_on(store.delete(&record(number).id)).unwrap();
    }
    drop(store);
    fs::read(path).unwrap()
}

/// Not every damaged page is one that redb reads, so many files are tried, each in all ways.
fn flip_many_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.redb");
    let whole = vault_at(&path);
    let used: Vec<usize> =
        (0..whole.len()).step_by(8).filter(|at| whole[*at..][..8] != [0; 8]).collect();
    let (mut failed, mut sound) = (0, 0);
    for (number, at) in used.iter().step_by((used.len() / 1500).max(1)).enumerate() {
        let mut damaged = whole.clone();
        damaged[at + number % 8] ^= 1 << (number % 7);
        // A flipped bit can also be one of the schema's number.
        let refusals =
            [StoreErrorKind::Corrupt, StoreErrorKind::NotAVault, StoreErrorKind::NewerSchema];
        if use_all(&path, &damaged, &refusals) {
            failed += 1;
        } else {
            sound += 1;
        }
    }
    assert!(failed > 20 && sound > 20, "{failed} of {} were noticed", failed + sound);
}

fn overwrite_each_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.redb");
    let whole = vault_at(&path);
    let mut failed = 0;
    for page in 0..whole.len() / 4096 {
        for byte in [0x00, 0xff] {
            let mut damaged = whole.clone();
            if damaged[page * 4096..][..4096].iter().all(|stored| *stored == byte) {
                continue;
            }
            damaged[page * 4096..][..4096].fill(byte);
            let refusals = [StoreErrorKind::Corrupt, StoreErrorKind::NotAVault];
            failed += usize::from(use_all(&path, &damaged, &refusals));
        }
    }
    assert!(failed > 20, "only {failed} damages were noticed: the pages in use were not hit");
}

/// Whether any call on a file with these bytes failed: opening it as `refusals` say, and every
/// other call because the file is damaged.
fn use_all(path: &Path, bytes: &[u8], refusals: &[StoreErrorKind]) -> bool {
    // A leaked handle keeps the lock of its file: each file is a new one.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    let store = match open(path) {
        Ok(store) => store,
        Err(kind) => {
            assert!(refusals.contains(&kind), "{kind:?}");
            return true;
        }
    };
    let everything = PageLimit::new(10_000, usize::MAX);
    let tokens: Vec<_> = (0..300).map(|number| record(number).token).collect();
    let results = [
        block_on(store.read_page(None, everything)).err(),
        block_on(store.list(None, everything)).err(),
        block_on(store.find(&tokens)).err(),
        block_on(store.put_setting("name", "value", PutSetting::Always)).err(),
        block_on(store.delete(&record(250).id)).err(),
        block_on(store.insert(vec![record(1000)])).err(),
        block_on(store.count()).err(),
    ];
    for failure in results.iter().flatten() {
        assert_eq!(failure.kind(), StoreErrorKind::Corrupt, "{failure}");
    }
    results.iter().any(Option::is_some)
}
