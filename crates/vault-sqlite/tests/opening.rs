//! What opening and creating say of every kind of file, and what writing says of locks and
//! permissions.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod files;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use files::{bytes_of, connect, execute, folder, is_unchanged, open, options, wide};
use sqlx::{Connection, Executor};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{
    DeleteOutcome, EnvelopeText, PutSetting, Record, RecordId, RecordSink, RecordSource,
    RecordUpdate, Replacement, StoreErrorKind, Timestamp, Token, VaultStore,
};

async fn open_error(path: &Path) -> StoreErrorKind {
    open(path).await.map(|_| "it opened").unwrap_err().kind()
}

async fn create_error(path: &Path) -> StoreErrorKind {
    SqliteStore::create(path, options()).await.map(|_| "it was made").unwrap_err().kind()
}

fn impatient() -> SqliteOptions {
    let mut options = options();
    options.busy_timeout = Duration::from_millis(50);
    options
}

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:06}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("v3:{number}:").repeat(40).into_bytes()),
        created_at: Timestamp::from_micros(1_000_000),
        updated_at: Timestamp::from_micros(2_000_000),
        expires_at: None,
        soft_deleted_at: None,
    }
}

/// A closed vault with 500 records in it.
async fn vault_in(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("vault.sqlite");
    let store = SqliteStore::create(&path, options()).await.unwrap();
    store.insert((0..500).map(record).collect()).await.unwrap();
    store.close().await;
    path
}

#[tokio::test]
async fn opening_and_reading_changes_nothing() {
    let folder = folder();
    let path = vault_in(&folder).await;
    let before = bytes_of(&path);
    let store = open(&path).await.unwrap();
    assert_eq!(store.list(None, wide()).await.unwrap(), (0..500).map(record).collect::<Vec<_>>());
    assert_eq!(store.find(&[record(7).token]).await.unwrap(), [Some(record(7))]);
    store.close().await;
    is_unchanged(&path, &before);
}

#[tokio::test]
async fn create_refuses_whatever_is_there_and_leaves_it() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert_eq!(create_error(&file).await, StoreErrorKind::AlreadyExists);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(create_error(folder.path()).await, StoreErrorKind::AlreadyExists);
    let vault = vault_in(&folder).await;
    assert_eq!(create_error(&vault).await, StoreErrorKind::AlreadyExists);
    assert_eq!(open(&vault).await.unwrap().count().await.unwrap(), 500);
}

/// SQLite would roll a journal back into the new database, and replay a log.
#[tokio::test]
async fn create_next_to_a_log_or_journal_of_a_lost_database_is_refused() {
    for ending in ["-wal", "-journal"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.sqlite");
        let left = folder.path().join(format!("vault.sqlite{ending}"));
        fs::write(&left, "pages").unwrap();
        assert_eq!(create_error(&path).await, StoreErrorKind::Other);
        assert_eq!(fs::read(&left).unwrap(), b"pages");
        assert!(!path.exists());
        fs::write(&left, "").unwrap();
        SqliteStore::create(&path, options()).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn create_in_a_missing_folder_is_not_found() {
    let folder = folder();
    let path = folder.path().join("missing/vault.sqlite");
    assert_eq!(create_error(&path).await, StoreErrorKind::NotFound);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn create_follows_no_link() {
    let folder = folder();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
    assert_eq!(create_error(&link).await, StoreErrorKind::AlreadyExists);
    assert!(!folder.path().join("target").exists());
}

#[tokio::test]
async fn nothing_at_the_path_is_not_found() {
    let folder = folder();
    assert_eq!(open_error(&folder.path().join("vault.sqlite")).await, StoreErrorKind::NotFound);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(open_error(&file.join("vault.sqlite")).await, StoreErrorKind::NotFound);
    let error = SqliteStore::migrate(folder.path().join("vault.sqlite"), options()).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn paths_that_mean_something_to_sqlite_are_paths() {
    let folder = folder();
    for name in ["file:a?mode=memory", "a%41#b.sqlite", "ключ 🔑.sqlite"] {
        let path = folder.path().join(name);
        SqliteStore::create(&path, options()).await.unwrap().close().await;
        assert!(path.exists(), "{name}");
        open(&path).await.unwrap().close().await;
    }
    assert_eq!(open_error(Path::new(":memory:")).await, StoreErrorKind::NotFound);
    assert_eq!(open_error(Path::new("")).await, StoreErrorKind::Unsupported);
    assert_eq!(open_error(Path::new("a\0b")).await, StoreErrorKind::Unsupported);
}

#[tokio::test]
async fn other_files_are_not_vaults_and_stay_as_they_are() {
    assert_eq!(open_error(folder().path()).await, StoreErrorKind::NotAVault);
    let contents: [&[u8]; 5] =
        [b"", b"S", b"redb\x1a\x0a\xa9\x0d\x0a", &[0; 10_000], &[b'x'; 10_000]];
    for content in contents {
        let folder = folder();
        let path = folder.path().join("file");
        fs::write(&path, content).unwrap();
        assert_eq!(open_error(&path).await, StoreErrorKind::NotAVault);
        is_unchanged(&path, content);
    }
}

#[tokio::test]
async fn databases_of_other_programs_are_not_vaults_and_stay_as_they_are() {
    let schemas = [
        "CREATE TABLE customers (id)",
        "CREATE TABLE vault (id, name)",
        // Without a key a record could come twice.
        "CREATE TABLE vault (id, vault_token, vault_value, created_at, updated_at, expires_at, soft_deleted_at)",
        "CREATE TABLE x (id PRIMARY KEY); CREATE VIEW vault AS SELECT id, id AS vault_token, id AS vault_value, \
         id AS created_at, id AS updated_at, id AS expires_at, id AS soft_deleted_at FROM x",
    ];
    for schema in schemas {
        let folder = folder();
        let path = folder.path().join("theirs.sqlite");
        execute(&path, schema).await;
        let before = bytes_of(&path);
        assert_eq!(open_error(&path).await, StoreErrorKind::NotAVault, "{schema}");
        is_unchanged(&path, &before);
        if schema.contains("vault") {
            let error = SqliteStore::migrate(&path, options()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::NotAVault, "{schema}");
            is_unchanged(&path, &before);
        }
    }
}

fn named(vault: &str, meta: &str) -> SqliteOptions {
    let mut options = options();
    let name = |text| vault_store::TableName::new(text).unwrap();
    options.tables = vault_store::TableNames::new(name(vault), name(meta)).unwrap();
    options
}

/// A mistyped name is answered with the tables that are there, and nothing is created for it.
#[tokio::test]
async fn a_wrong_name_of_a_table_is_answered_with_the_right_one() {
    let folder = folder();
    let path = folder.path().join("app.sqlite");
    SqliteStore::create(&path, named("secrets", "secrets_meta")).await.unwrap().close().await;
    execute(&path, "CREATE TABLE customers (id)").await;
    let before = bytes_of(&path);
    for (vault, meta) in [
        ("vault", "vault_meta"),
        ("secret", "secrets_meta"),
        ("secrets", "secret_meta"),
        ("customers", "secrets_meta"),
        ("secrets", "customers"),
    ] {
        let opened = SqliteStore::open(&path, named(vault, meta)).await.unwrap_err();
        let migrated = SqliteStore::migrate(&path, named(vault, meta)).await.unwrap_err();
        for error in [opened, migrated] {
            assert_eq!(error.kind(), StoreErrorKind::NotAVault, "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("?table=secrets&meta=secrets_meta"), "{error} {hint}");
        }
        is_unchanged(&path, &before);
    }
    // The settings of one vault are not those of another.
    let error = SqliteStore::migrate_or_create(&path, named("more", "secrets_meta")).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::NotAVault);
    SqliteStore::migrate_or_create(&path, named("more", "more_meta")).await.unwrap();
    SqliteStore::open(&path, named("more", "more_meta")).await.unwrap().close().await;
}

#[tokio::test]
async fn a_file_of_another_kind_is_named_with_the_beginning_of_its_address() {
    let folder = folder();
    let path = folder.path().join("file");
    for (content, kind) in [
        (&b"redb\x1a\x0a\xa9\x0d\x0a and so on"[..], "redb:"),
        (b"vaultstore-rekey and so on", "the state of a rekey"),
    ] {
        fs::write(&path, content).unwrap();
        let opened = SqliteStore::open(&path, options()).await.unwrap_err();
        let migrated = SqliteStore::migrate(&path, options()).await.unwrap_err();
        for error in [opened, migrated] {
            assert_eq!(error.kind(), StoreErrorKind::NotAVault);
            assert!(error.to_string().contains(kind), "{error}");
        }
    }
}

#[tokio::test]
async fn a_database_in_utf_16_is_refused_since_its_order_is_another_one() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let mut connection = connect(&path).await;
    connection.execute("PRAGMA encoding = 'UTF-16le'").await.unwrap();
    connection.execute("CREATE TABLE vault (id)").await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(open_error(&path).await, StoreErrorKind::Unsupported);
}

#[tokio::test]
async fn damaged_pages_are_an_error() {
    let folder = folder();
    let path = vault_in(&folder).await;
    let mut bytes = bytes_of(&path);
    for byte in &mut bytes[4096..] {
        *byte = 0x5a;
    }
    fs::write(&path, &bytes).unwrap();
    let store = open(&path).await.unwrap();
    let error = store.read_page(None, wide()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[test]
fn opening_needs_a_runtime() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let error = futures::executor::block_on(SqliteStore::create(&path, options())).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Other);
    assert!(!path.exists());
}

#[test]
fn calls_may_be_awaited_on_any_executor_while_the_runtime_runs() {
    let folder = folder();
    let runtime = Runtime::new().unwrap();
    let path = runtime.block_on(vault_in(&folder));
    let store = runtime.block_on(open(&path)).unwrap();
    assert_eq!(futures::executor::block_on(store.count()).unwrap(), 500);
    runtime.shutdown_timeout(Duration::from_secs(5));
    let error = futures::executor::block_on(store.count()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stopped);
}

#[tokio::test]
async fn a_database_that_somebody_holds_is_locked() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    SqliteStore::create(&path, options()).await.unwrap().close().await;
    // Without a log a writer keeps out the readers, too.
    execute(&path, "PRAGMA journal_mode = DELETE").await;
    let mut holder = connect(&path).await;
    holder.execute("BEGIN EXCLUSIVE").await.unwrap();
    let error = SqliteStore::open(&path, impatient()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Locked);
    let error = SqliteStore::migrate(&path, impatient()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Locked);
    holder.close().await.unwrap();
    assert!(open(&path).await.is_ok());
}

#[tokio::test]
async fn a_write_beside_another_writer_can_be_tried_again() {
    let folder = folder();
    let path = vault_in(&folder).await;
    let store = SqliteStore::open(&path, impatient()).await.unwrap();
    let mut holder = connect(&path).await;
    holder.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(store.count().await.unwrap(), 500);
    let error = store.delete(&record(1).id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Retryable);
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(store.delete(&record(1).id).await.unwrap(), DeleteOutcome::Deleted);
    holder.close().await.unwrap();
}

#[tokio::test]
async fn the_first_write_turns_on_the_log_and_closing_takes_it_in() {
    let folder = folder();
    let path = vault_in(&folder).await;
    execute(&path, "PRAGMA journal_mode = DELETE").await;
    let log = path.with_extension("sqlite-wal");
    let store = open(&path).await.unwrap();
    store.count().await.unwrap();
    assert!(!log.exists());
    store.delete(&record(1).id).await.unwrap();
    assert!(log.exists());
    store.close().await;
    assert!(!log.exists());
}

#[tokio::test]
async fn a_replaced_envelope_is_not_in_the_file_once_it_is_closed() {
    let folder = folder();
    let path = vault_in(&folder).await;
    let mut secret = record(1000);
    secret.envelope = EnvelopeText::from_stored(*b"v3:to be gone after the rekey");
    let store = open(&path).await.unwrap();
    store.insert(vec![secret.clone()]).await.unwrap();
    store.close().await;
    let holds = |text: &[u8]| bytes_of(&path).windows(text.len()).any(|window| window == text);
    let old = secret.envelope.as_bytes().unwrap();
    assert!(holds(old));
    let store = open(&path).await.unwrap();
    let sealed = EnvelopeText::from_stored(*b"v3:new");
    let batch = [Replacement { id: secret.id, expected: secret.envelope.clone(), new: sealed }];
    store.swap_batch(batch.into()).await.unwrap();
    store.close().await;
    assert!(!holds(old));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_vault_is_its_owners_alone_also_under_umask_000() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let mut process = Process::start(Job::CreateUnderUmask000, &path);
    assert_eq!(process.answer(), "created");
    let mode = |ending: &str| {
        let path = format!("{}{ending}", path.display());
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    // The control: another file of the same process is open to all.
    assert_eq!(mode("-control"), 0o666);
    for ending in ["", "-wal", "-shm"] {
        assert_eq!(mode(ending), 0o600, "{ending}");
    }
}

/// Lets a user read and do no more, and tells what that user's process could do.
#[cfg(unix)]
fn answer_without_permission(folder: &TempDir, path: &Path, mode: u32) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let program = Process::program_for(path);
    set(path, mode);
    set(folder.path(), 0o555);
    let answer = Process::start_program(Job::ReadUnprivileged, path, &program).answer();
    set(folder.path(), 0o755);
    set(path, 0o600);
    answer
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_vault_is_read_and_every_change_is_denied() {
    for journal in ["WAL", "DELETE"] {
        let folder = folder();
        let path = vault_in(&folder).await;
        execute(&path, &format!("PRAGMA journal_mode = {journal}")).await;
        let before = bytes_of(&path);
        let answer = answer_without_permission(&folder, &path, 0o444);
        let denied = "Denied Denied Denied Denied Denied Denied";
        assert_eq!(answer, format!("500 listed, 500 scanned, found, {denied}"), "{journal}");
        assert!(bytes_of(&path) == before, "it was changed");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_vault_that_may_not_be_read_is_denied_and_stays_as_it_is() {
    let folder = folder();
    let path = vault_in(&folder).await;
    let before = bytes_of(&path);
    assert_eq!(answer_without_permission(&folder, &path, 0o000), "Denied");
    assert!(bytes_of(&path) == before, "it was changed");
}

/// What another process is started for: this very test program, told by its environment to do the
/// job.
#[derive(Clone, Copy)]
enum Job {
    CreateUnderUmask000,
    ReadUnprivileged,
}

const JOB: &str = "VAULT_SQLITE_TEST_JOB";
const PATH: &str = "VAULT_SQLITE_TEST_PATH";

struct Process(Child);

impl Process {
    fn start(job: Job, path: &Path) -> Self {
        Self::start_program(job, path, &std::env::current_exe().unwrap())
    }

    fn start_program(job: Job, path: &Path, program: &Path) -> Self {
        let mut command = match job {
            Job::CreateUnderUmask000 => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(program);
                shell
            }
            Job::ReadUnprivileged => unprivileged(program),
        };
        command.args(["--exact", "the_job_of_another_process", "--nocapture", "--quiet"]);
        command.env(JOB, (job as u8).to_string()).env(PATH, path);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// The superuser may read everything, so the program will run as nobody, who must be able to
    /// read the program.
    fn program_for(vault: &Path) -> PathBuf {
        let program = std::env::current_exe().unwrap();
        let copy = vault.with_file_name("program");
        fs::copy(program, &copy).unwrap();
        copy
    }

    /// The line that the job prints, among those of the test harness.
    fn answer(&mut self) -> String {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut answers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("answer: ").map(|(_, answer)| answer.to_owned()));
        answers.next().unwrap_or_else(|| "no answer".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
fn unprivileged(program: &Path) -> Command {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    let mut command = Command::new(program);
    if fs::metadata(program).unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    command.current_dir("/");
    command
}

#[cfg(not(unix))]
fn unprivileged(program: &Path) -> Command {
    Command::new(program)
}

#[test]
fn the_job_of_another_process() {
    let (Ok(job), Some(path)) = (std::env::var(JOB), std::env::var_os(PATH)) else {
        // Run by itself this is no job; the tests above fail when it gives no answer.
        return;
    };
    let path = PathBuf::from(path);
    let runtime = Runtime::new().unwrap();
    let (_store, answer) = runtime.block_on(async {
        if job == "0" {
            fs::write(format!("{}-control", path.display()), "").unwrap();
            let store = SqliteStore::create(&path, options()).await.unwrap();
            // The first change makes the log.
            store.put_setting("a", "b", PutSetting::Always).await.unwrap();
            (Some(store), "created".to_owned())
        } else {
            match open(&path).await {
                Ok(store) => (None, read_and_try_to_write(&store).await),
                Err(error) => (None, format!("{:?}", error.kind())),
            }
        }
    });
    println!("answer: {answer}");
    std::io::stdout().flush().unwrap();
    // Holds the vault until it is killed or its parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

async fn read_and_try_to_write(store: &SqliteStore) -> String {
    let listed = store.list(None, wide()).await.unwrap().len();
    let scanned = store.read_page(None, wide()).await.unwrap().len();
    let found = store.find(&[record(3).token]).await.unwrap() == [Some(record(3))];
    let change = RecordUpdate {
        updated_at: Some(Timestamp::from_micros(0)),
        ..RecordUpdate::of(record(1).id)
    };
    let replacement =
        Replacement { id: record(1).id, expected: record(1).envelope, new: record(2).envelope };
    let kinds = [
        store.insert(vec![record(1000)]).await.err(),
        store.insert(vec![record(1)]).await.err(),
        store.swap_batch([replacement].into()).await.err(),
        store.update(change).await.err(),
        store.delete(&record(1).id).await.err(),
        store.put_setting("a", "b", PutSetting::IfAbsent).await.err(),
    ];
    let kinds: Vec<_> = kinds
        .iter()
        .map(|error| {
            error.as_ref().map_or("done".to_owned(), |error| format!("{:?}", error.kind()))
        })
        .collect();
    let found = if found { "found" } else { "not found" };
    format!("{listed} listed, {scanned} scanned, {found}, {}", kinds.join(" "))
}
