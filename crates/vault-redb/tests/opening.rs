//! What opening and creating say of every kind of file, and that they leave it alone.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use futures::executor::block_on;
use tempfile::TempDir;
use vault_redb::{RedbOptions, RedbStore};
use vault_store::{
    EnvelopeText, PageLimit, PutSetting, Record, RecordId, RecordSource, StoreErrorKind, Timestamp,
    Token, UnreadableReason, UnreadableRow, VaultStore,
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn create(path: &Path) -> Result<RedbStore, StoreErrorKind> {
    block_on(RedbStore::create(path, RedbOptions::default())).map_err(|error| error.kind())
}

fn open(path: &Path) -> Result<RedbStore, StoreErrorKind> {
    block_on(RedbStore::open(path, RedbOptions::default())).map_err(|error| error.kind())
}

fn open_error(path: &Path) -> StoreErrorKind {
    open(path).map(|_| "it opened").unwrap_err()
}

/// Opens a file that is not a vault and checks that not one byte of it changed.
fn open_error_without_change(path: &Path) -> StoreErrorKind {
    let before = fs::read(path).unwrap();
    let kind = open_error(path);
    assert!(fs::read(path).unwrap() == before, "{} was changed", path.display());
    kind
}

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:06}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("v3:{number}:").repeat(40).into_bytes()),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: number.is_multiple_of(2).then(|| Timestamp::from_micros(3)),
        soft_deleted_at: number.is_multiple_of(3).then(|| Timestamp::from_micros(4)),
    }
}

/// A closed vault with records in it.
fn vault_in(folder: &TempDir) -> (PathBuf, Vec<Record>) {
    let path = folder.path().join("vault.redb");
    let records: Vec<_> = (0..500).map(record).collect();
    let store = create(&path).unwrap();
    block_on(store.insert(records.clone())).unwrap();
    (path, records)
}

fn all_records(store: &RedbStore) -> Vec<Record> {
    block_on(store.list(None, PageLimit::new(10_000, usize::MAX))).unwrap().records
}

#[test]
fn everything_is_there_after_closing_and_opening() {
    let folder = folder();
    let (path, records) = vault_in(&folder);
    let store = open(&path).unwrap();
    block_on(store.put_setting("colour", "blue", PutSetting::Always)).unwrap();
    drop(store);

    let store = open(&path).unwrap();
    assert_eq!(all_records(&store), records);
    assert_eq!(block_on(store.setting("colour")).unwrap().as_deref(), Some("blue"));
    assert_eq!(block_on(store.count()).unwrap(), 500);
    let found = block_on(store.find(&[record(7).token, Token::new("other").unwrap()])).unwrap();
    assert_eq!(found, [Some(record(7)), None]);
}

#[test]
fn create_refuses_whatever_is_there_and_leaves_it() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert_eq!(create(&file).unwrap_err(), StoreErrorKind::AlreadyExists);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(create(folder.path()).unwrap_err(), StoreErrorKind::AlreadyExists);
    let (vault, records) = vault_in(&folder);
    assert_eq!(create(&vault).unwrap_err(), StoreErrorKind::AlreadyExists);
    assert_eq!(all_records(&open(&vault).unwrap()), records);
}

#[test]
fn create_in_a_missing_folder_is_not_found() {
    let folder = folder();
    let path = folder.path().join("missing/vault.redb");
    assert_eq!(create(&path).unwrap_err(), StoreErrorKind::NotFound);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn create_follows_no_link() {
    let folder = folder();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
    assert_eq!(create(&link).unwrap_err(), StoreErrorKind::AlreadyExists);
    assert!(!folder.path().join("target").exists());
}

#[test]
fn nothing_at_the_path_is_not_found() {
    let folder = folder();
    assert_eq!(open_error(&folder.path().join("vault.redb")), StoreErrorKind::NotFound);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(open_error(&file.join("vault.redb")), StoreErrorKind::NotFound);
}

#[test]
fn a_folder_is_not_a_vault() {
    assert_eq!(open_error(folder().path()), StoreErrorKind::NotAVault);
}

#[test]
fn other_files_are_not_vaults_and_stay_as_they_are() {
    let folder = folder();
    let path = folder.path().join("file");
    let contents: [&[u8]; 4] = [b"", b"r", b"SQLite format 3\0", &[0; 10_000]];
    for content in contents {
        fs::write(&path, content).unwrap();
        assert_eq!(open_error_without_change(&path), StoreErrorKind::NotAVault);
    }
}

#[test]
fn a_redb_file_of_another_program_is_not_a_vault_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("theirs.redb");
    let write = |definition: redb::TableDefinition<'_, &str, u64>| {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(definition).unwrap().insert("schema", 1).unwrap();
        transaction.commit().unwrap();
    };
    drop(redb::Database::create(&path).unwrap());
    assert_eq!(open_error_without_change(&path), StoreErrorKind::NotAVault);
    write(redb::TableDefinition::new("records"));
    assert_eq!(open_error_without_change(&path), StoreErrorKind::NotAVault);
    write(redb::TableDefinition::new("vaultstore"));
    assert_eq!(open_error_without_change(&path), StoreErrorKind::NotAVault);
}

/// Writes into a closed vault behind the store's back.
fn tamper(path: &Path, table: &str, key: &[u8], value: Option<&[u8]>) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let definition = redb::TableDefinition::<&[u8], &[u8]>::new(table);
    let mut table = transaction.open_table(definition).unwrap();
    match value {
        Some(value) => drop(table.insert(key, value).unwrap()),
        None => drop(table.remove(key).unwrap()),
    }
    drop(table);
    transaction.commit().unwrap();
}

#[test]
fn a_newer_schema_is_told_apart_and_stays_as_it_is() {
    let folder = folder();
    let (path, _) = vault_in(&folder);
    tamper(&path, "vaultstore", b"schema", Some(&2u32.to_le_bytes()));
    assert_eq!(open_error_without_change(&path), StoreErrorKind::NewerSchema);
}

#[test]
fn a_damaged_schema_is_corrupt_and_stays_as_it_is() {
    let folder = folder();
    let (path, _) = vault_in(&folder);
    for version in [b"\0\0\0\0".as_slice(), b"one"] {
        tamper(&path, "vaultstore", b"schema", Some(version));
        assert_eq!(open_error_without_change(&path), StoreErrorKind::Corrupt);
    }
    tamper(&path, "vaultstore", b"schema", None);
    assert_eq!(open_error_without_change(&path), StoreErrorKind::Corrupt);
    tamper(&path, "vaultstore", b"schema", Some(&1u32.to_le_bytes()));
    assert!(open(&path).is_ok());

    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let tokens = redb::TableDefinition::<&[u8], &[u8]>::new("tokens");
    assert!(transaction.delete_table(tokens).unwrap());
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(open_error_without_change(&path), StoreErrorKind::Corrupt);
}

#[test]
fn damaged_rows_are_named_and_leave_the_store_usable() {
    let folder = folder();
    let (path, _) = vault_in(&folder);
    tamper(&path, "records", b"\xff\xfe", Some(b"\x01"));
    tamper(&path, "tokens", b"dangling", Some(b"nowhere"));
    tamper(&path, "settings", b"\xff", Some(b"x"));
    let store = open(&path).unwrap();
    let limit = PageLimit::new(1000, usize::MAX);
    let kind = |error: vault_store::StoreError| error.kind();
    let corrupt = StoreErrorKind::Corrupt;
    let last = record(499).id;
    let rest = block_on(store.read_page(Some(&last), limit)).unwrap();
    let expected = [(r#"key "\xff\xfe""#, UnreadableReason::IdNotText)];
    let names = |rows: &[UnreadableRow]| {
        rows.iter().map(|row| (row.name.to_string(), row.reason)).collect::<Vec<_>>()
    };
    let expected = expected.map(|(name, reason)| (name.to_owned(), reason));
    assert_eq!((rest.len(), names(&rest.unreadable)), (0, expected.to_vec()));
    let rest = block_on(store.list(Some(&last), limit)).unwrap();
    assert_eq!((rest.len(), names(&rest.unreadable)), (0, expected.to_vec()));
    assert_eq!(block_on(store.settings()).map_err(kind), Err(corrupt));
    let dangling = Token::new("dangling").unwrap();
    assert_eq!(block_on(store.find(&[dangling])).map_err(kind), Err(corrupt));
    assert_eq!(block_on(store.find(&[record(1).token])).unwrap(), [Some(record(1))]);
    assert_eq!(
        block_on(store.read_page(None, PageLimit::new(500, usize::MAX))).unwrap().len(),
        500
    );
}

#[test]
fn a_truncated_vault_is_corrupt_or_not_a_vault_and_never_a_panic() {
    let folder = folder();
    let (path, _) = vault_in(&folder);
    let whole = fs::read(&path).unwrap();
    let lengths = [
        0,
        1,
        8,
        9,
        10,
        100,
        319,
        320,
        4096,
        8192,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        let expected = if length < 9 { StoreErrorKind::NotAVault } else { StoreErrorKind::Corrupt };
        assert_eq!(open_error_without_change(&path), expected, "{length} bytes");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(all_records(&open(&path).unwrap()).len(), 500);
}

#[test]
fn the_same_process_cannot_open_a_vault_twice() {
    let folder = folder();
    let (path, _) = vault_in(&folder);
    let store = open(&path).unwrap();
    assert_eq!(open_error(&path), StoreErrorKind::Locked);
    let clone = store.clone();
    drop(store);
    assert_eq!(open_error(&path), StoreErrorKind::Locked);
    drop(clone);
    assert!(open(&path).is_ok());
}

#[test]
fn a_vault_that_another_process_has_open_is_locked_until_that_is_killed() {
    let folder = folder();
    let (path, records) = vault_in(&folder);
    let mut holder = Holder::start(Job::Hold, &path);
    assert_eq!(holder.answer(), "opened");
    assert_eq!(open_error(&path), StoreErrorKind::Locked);
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    assert_eq!(all_records(&open(&path).unwrap()), records);
}

#[cfg(unix)]
#[test]
fn a_new_vault_is_its_owners_alone_also_under_umask_000() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let path = folder.path().join("vault.redb");
    let mut holder = Holder::start(Job::CreateUnderUmask000, &path);
    assert_eq!(holder.answer(), "created");
    // The control: another file of the same process is open to all.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path.with_extension("control")), 0o666);
    assert_eq!(mode(&path), 0o600);
}

#[cfg(unix)]
#[test]
fn a_vault_that_may_not_be_read_is_denied_and_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let (path, _) = vault_in(&folder);
    let before = fs::read(&path).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for mode in [0o000, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut holder = Holder::start(Job::OpenUnprivileged, &path);
        assert_eq!(holder.answer(), "Denied");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read(&path).unwrap() == before, "it was changed");
}

/// What another process is started for: this very test program, told by its environment to do the
/// job.
#[derive(Clone, Copy)]
enum Job {
    Hold,
    CreateUnderUmask000,
    OpenUnprivileged,
}

const JOB: &str = "VAULT_REDB_TEST_JOB";
const PATH: &str = "VAULT_REDB_TEST_PATH";

struct Holder {
    process: Child,
}

impl Holder {
    fn start(job: Job, path: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = match job {
            Job::Hold => Command::new(&program),
            Job::CreateUnderUmask000 => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(&program);
                shell
            }
            Job::OpenUnprivileged => unprivileged(&program, path),
        };
        command.args(["--exact", "the_job_of_another_process", "--nocapture", "--quiet"]);
        command.env(JOB, (job as u8).to_string()).env(PATH, path);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { process }
    }

    /// The line that the job prints, among those of the test harness.
    fn answer(&mut self) -> String {
        let lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        let mut answers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("answer: ").map(|(_, answer)| answer.to_owned()));
        answers.next().unwrap_or_else(|| "no answer".to_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// For the superuser, who may read everything, the program runs as nobody, from where nobody can
/// read it.
#[cfg(unix)]
fn unprivileged(program: &Path, vault: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let superuser = fs::OpenOptions::new().read(true).write(true).open(vault).is_ok();
    if !superuser {
        return Command::new(program);
    }
    let copy = vault.with_file_name("program");
    if !copy.exists() {
        fs::copy(program, &copy).unwrap();
    }
    let mut command = Command::new(copy);
    command.uid(65534).gid(65534).current_dir("/");
    command
}

#[cfg(not(unix))]
fn unprivileged(program: &Path, _: &Path) -> Command {
    Command::new(program)
}

#[test]
fn the_job_of_another_process() {
    let (Ok(job), Some(path)) = (std::env::var(JOB), std::env::var_os(PATH)) else {
        // Run by itself this is no job; the tests above fail when it gives no answer.
        return;
    };
    let path = PathBuf::from(path);
    let (_store, answer) = match job.as_str() {
        "0" => (open(&path).ok(), "opened".to_owned()),
        "1" => {
            fs::write(path.with_extension("control"), "").unwrap();
            (create(&path).ok(), "created".to_owned())
        }
        _ => (None, format!("{:?}", open_error(&path))),
    };
    println!("answer: {answer}");
    std::io::stdout().flush().unwrap();
    // Holds the vault until it is killed or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}
