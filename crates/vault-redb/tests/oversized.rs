//! Pages larger than a vault needs: redb would take their memory before it reads them.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{fs, path::Path, process::Command};

use futures::executor::block_on;
use redb::{Database, TableDefinition};
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{
    EnvelopeText, MAX_ENVELOPE_LEN, PageLimit, Record, RecordId, RecordSource as _, StoreError,
    StoreErrorKind, Timestamp, Token, VaultStore as _,
};

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
const RECORDS: Bytes = TableDefinition::new("records");
const SETTINGS: Bytes = TableDefinition::new("settings");

fn record(number: usize, envelope: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:06}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(vec![b'e'; envelope]),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: None,
        soft_deleted_at: None,
    }
}

/// A vault with enough records for a tree of several pages.
fn vault(path: &Path) {
    let store = block_on(RedbStore::create(path, RedbOptions::default())).unwrap();
    block_on(store.insert((0..100).map(|number| record(number, 300)).collect())).unwrap();
}

/// Puts a value into a table, as another program can.
fn plant(path: &Path, table: Bytes, key: &[u8], len: usize) {
    let database = Database::open(path).unwrap();
    let write = database.begin_write().unwrap();
    let mut reserved = write.open_table(table).unwrap();
    reserved.insert_reserve(key, len).unwrap().as_mut().fill(b'1');
    drop(reserved);
    write.commit().unwrap();
}

/// Opens the vault and reads everything.
fn read_all(path: &Path) -> Result<(), StoreError> {
    let store = block_on(RedbStore::open(path, RedbOptions::default()))?;
    block_on(store.read_page(None, PageLimit::new(10_000, usize::MAX)))?;
    block_on(store.settings()).map(drop)
}

fn assert_oversized(path: &Path, mib: u32) {
    let error = read_all(path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(&format!("a page of {mib} MiB")), "{error}");
}

#[test]
fn the_longest_envelope_is_read_and_so_is_one_that_is_too_long_by_little() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.redb");
    vault(&path);
    let store = block_on(RedbStore::open(&path, RedbOptions::default())).unwrap();
    block_on(store.insert(vec![record(50_000, MAX_ENVELOPE_LEN)])).unwrap();
    drop(store);
    plant(&path, SETTINGS, b"longer than any", 200_000);
    plant(&path, RECORDS, b"!no record", MAX_ENVELOPE_LEN + 1000);
    let store = block_on(RedbStore::open(&path, RedbOptions::default())).unwrap();
    let page = block_on(store.read_page(None, PageLimit::new(10_000, usize::MAX))).unwrap();
    assert_eq!((page.len(), page.unreadable.len()), (101, 1));
    // The length of a setting is told where it can be read.
    let refused = block_on(store.settings()).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{refused}");
    assert!(!refused.to_string().contains("a page of"), "{refused}");
}

/// Set in the process whose memory is measured.
const CHILD: &str = "VAULTSTORE_TEST_OVERSIZED";

#[test]
fn a_planted_value_of_a_larger_page_is_refused_before_its_memory_is_taken() {
    if let Some(path) = std::env::var_os(CHILD) {
        assert_oversized(Path::new(&path), 128);
        // Linux alone tells the peak.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        assert!(peak.unwrap_or(0) < 64 << 10, "{peak:?} KiB");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (table, name) in [(SETTINGS, "setting"), (RECORDS, "record")] {
        let path = folder.path().join(name);
        vault(&path);
        plant(&path, table, b"kdf", 70 << 20);
        let name = "a_planted_value_of_a_larger_page_is_refused_before_its_memory_is_taken";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, &path).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// In a file of 1 MiB, redb would take 4 GiB for each of these pages.
#[test]
fn a_page_number_of_any_tree_is_checked_wherever_it_is() {
    const ROOT_OF_TABLES: [usize; 2] = [64 + 8, 192 + 8];
    const ROOT_OF_REDBS_OWN: [usize; 2] = [64 + 40, 192 + 40];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.redb");
    vault(&path);
    let whole = fs::read(&path).unwrap();
    let (mut in_leaves, mut in_branches) = (0, 0);
    let roots: Vec<u64> =
        (0..whole.len()).filter_map(|at| root_in_definition(&whole, at)).collect();
    for at in 4096..whole.len() - 8 {
        // The root of a table, after its kind, its length and that it exists; or a child of a
        // branch.
        let is_root = root_in_definition(&whole, at).is_some();
        let is_child = child_of_branch(&whole, at, &roots);
        if !is_root && !is_child {
            continue;
        }
        let mut hostile = whole.clone();
        hostile[at + 7] |= 20 << 3;
        fs::write(&path, &hostile).unwrap();
        match read_all(&path) {
            // Neither the old version of a page nor redb's own tables are read.
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains("a page of 4096 MiB"), "{error}");
                in_leaves += u32::from(is_root);
                in_branches += u32::from(is_child);
            }
        }
    }
    assert!(in_leaves >= 2 && in_branches >= 2, "{in_leaves} and {in_branches}");
    for at in ROOT_OF_TABLES.into_iter().chain(ROOT_OF_REDBS_OWN) {
        let mut hostile = whole.clone();
        hostile[at + 7] |= 20 << 3;
        fs::write(&path, &hostile).unwrap();
        // The checksum of a slot detects it as well.
        assert_eq!(read_all(&path).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
}

/// The root at this place, if it belongs to the definition of one of our tables.
fn root_in_definition(file: &[u8], at: usize) -> Option<u64> {
    const TYPE: &[u8] = b"\x00\x02&[u8]";
    let definition = file.get(at.checked_sub(10)?..at + 80)?;
    let is_ours = definition[0] == 3 && definition[9] == 1;
    (is_ours && definition.windows(TYPE.len() - 2).any(|part| part == &TYPE[2..]))
        .then(|| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()))
}

/// Whether this place is the number of a child in a branch that is the root of a table.
fn child_of_branch(file: &[u8], at: usize, roots: &[u64]) -> bool {
    let page = at / 4096 * 4096;
    let children = usize::from(u16::from_le_bytes([file[page + 2], file[page + 3]])) + 1;
    let numbers = page + 8 + 16 * children;
    let is_root = roots.iter().any(|root| {
        // Regions have one page of their own, and the file begins with one.
        let index = (root & 0xf_ffff) as usize;
        page == (1 + region_header_pages(file) + index) * 4096
    });
    is_root
        && file[page] == 2
        && (numbers..numbers + 8 * children).contains(&at)
        && (at - numbers).is_multiple_of(8)
}

fn region_header_pages(file: &[u8]) -> usize {
    u32::from_le_bytes(file[16..20].try_into().unwrap()) as usize
}
