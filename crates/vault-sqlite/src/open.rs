//! Creating and opening the database of a vault.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use futures::channel::oneshot;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::runtime::Handle;
use vault_files::{NewFile, Trouble};
use vault_store::{FoundTables, StoreError, TableNames, WriteCounter};

use crate::SqliteOptions;
use crate::connect::{connect_options, durable, left_by_another, sibling};
use crate::driver::Driver;
use crate::error::{self, Fault, SQLITE_CANTOPEN, SQLITE_READONLY};
use crate::schema::{self, Encoding, MetaTable, Schema, VaultTable};
use crate::shared::Shared;
use crate::statements::Statements;
use crate::take_up::{self, Found};
use crate::writes;

/// Number of concurrent readers.
const READERS: u32 = 4;

/// Creates a new vault with these settings, as a whole or not at all. What a creation that was
/// broken off has left at the path is replaced or, if it is a database without records, completed.
pub(crate) async fn create(
    path: &Path,
    options: &SqliteOptions,
    settings: &[(String, String)],
    runtime: Handle,
) -> Result<Shared, StoreError> {
    let location = location(path)?;
    let place = location.clone();
    let is_left = match take_up::look(&location, options, settings).await {
        Found::Completed => {
            return Ok(shared(path, options, &location, MetaTable::Present, runtime));
        }
        Found::Leftover => take_up::is_left,
        Found::Other => |_: &Path| false,
    };
    let new = blocking(move || NewFile::begin(&place, &is_left)).await;
    let new = new.map_err(|trouble| error::not_created(trouble, path))?;
    if let Some(left) = left_by_another(&location) {
        return Err(error::changes_of_another(path, &left));
    }
    let made = new.path();
    let file = blocking(move || make_file(&made).map_err(Trouble::Io)).await;
    file.map_err(|trouble| error::not_created(trouble, path))?;
    if let Err(fault) = fill(&new.path(), options, settings).await {
        let failed = error::creation_failed(fault, &new.path(), path);
        // Removing the folder is input and output, too.
        let remove = move || {
            drop(new);
            Ok(())
        };
        let _ = blocking(remove).await;
        return Err(failed);
    }
    let published = blocking(move || new.publish(&is_left).map_err(Trouble::Io)).await;
    published.map_err(|trouble| error::not_created(trouble, path))?;
    Ok(shared(path, options, &location, MetaTable::Present, runtime))
}

/// Opens a vault after making sure that it is one.
pub(crate) async fn open(
    path: &Path,
    options: &SqliteOptions,
    runtime: Handle,
) -> Result<Shared, StoreError> {
    let location = location(path)?;
    look_at(path)?;
    let mut shared = shared(path, options, &location, MetaTable::Absent, runtime);
    let inspected = shared.driver.unless_it_panics(inspect(&shared.readers, &options.tables)).await;
    let schema = match inspected.unwrap_or_else(|panicked| Err(panicked.into())) {
        Err(Fault::Sqlx(error)) if needs_log_files(&error) && !error::is_short_of_files() => {
            if has_log_or_journal(&location) {
                return Err(error::log_cannot_be_read(path).with_source(error));
            }
            let immutable = connect_options(&location, options, &shared.driver);
            shared.readers = readers(immutable.read_only(true).immutable(true));
            let inspected = inspect(&shared.readers, &options.tables);
            let inspected = shared.driver.unless_it_panics(inspected).await;
            inspected.unwrap_or_else(|panicked| Err(panicked.into()))
        }
        other => other,
    };
    let schema = schema.map_err(|fault| fault.into_open_error(path))?;
    let accepted = accept(&schema, path, &options.tables, &shared.readers);
    let accepted = shared.driver.unless_it_panics(accepted).await;
    shared.meta =
        accepted.unwrap_or_else(|panicked| Err(Fault::from(panicked).into_open_error(path)))?;
    shared.statements = Statements::new(&options.tables, schema.row);
    Ok(shared)
}

/// Opens a single connection, where a store would be too much.
pub(crate) async fn connect(
    path: &Path,
    options: &SqliteOptions,
    driver: &Driver,
) -> Result<SqliteConnection, StoreError> {
    let location = location(path)?;
    look_at(path)?;
    let options = durable(connect_options(&location, options, driver));
    let connected = driver.unless_it_panics(options.connect()).await;
    let connected =
        connected.map_err(Fault::from).and_then(|connected| connected.map_err(Fault::from));
    connected.map_err(|fault| fault.into_open_error(path))
}

/// Checks that the database is a vault that can be used as it is, and returns whether it has
/// settings.
async fn accept(
    schema: &Schema,
    path: &Path,
    tables: &TableNames,
    pool: &SqlitePool,
) -> Result<MetaTable, StoreError> {
    let look_around = async || -> Result<FoundTables, Fault> {
        schema::look_around(&mut *pool.acquire().await?).await
    };
    let in_words = |fault: Fault| fault.into_open_error(path);
    if schema.encoding == Encoding::Utf16 {
        return Err(error::not_utf_8(path));
    }
    match &schema.vault {
        VaultTable::Complete { .. } => {}
        VaultTable::Lacks(columns, _) => {
            return Err(error::older_schema(path, columns.first().copied().unwrap_or_default()));
        }
        VaultTable::Absent | VaultTable::Foreign => {
            let found = look_around().await.map_err(in_words)?;
            return Err(error::no_vault_in(path, tables.vault(), &found));
        }
    }
    if schema.meta == MetaTable::Present {
        return Ok(MetaTable::Present);
    }
    let found = look_around().await.map_err(in_words)?;
    if schema.meta == MetaTable::Foreign || schema::has_its_settings_elsewhere(&found) {
        return Err(error::no_vault_in(path, tables.meta(), &found));
    }
    Ok(MetaTable::Absent)
}

/// The path for SQLite: text, and absolute, because SQLite would interpret `file:` and `:memory:`.
fn location(path: &Path) -> Result<PathBuf, StoreError> {
    let absolute = std::path::absolute(path).map_err(|error| error::from_io(error, path))?;
    match absolute.to_str() {
        Some(text) if !text.contains('\0') => Ok(absolute),
        _ => Err(error::path_is_no_text(path)),
    }
}

/// Distinguishes a missing file from a directory, for which SQLite has one error code. It must not
/// open the file: closing it would release the locks that other connections of this process hold.
fn look_at(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|error| error::from_io(error, path))?;
    if metadata.is_dir() {
        return Err(error::not_a_vault(path, "a folder"));
    }
    if !metadata.is_file() {
        return Err(error::not_a_vault(path, "neither a file nor a folder"));
    }
    if has_other_names(&metadata) {
        return Err(error::hard_linked(path));
    }
    Ok(())
}

fn shared(
    path: &Path,
    options: &SqliteOptions,
    location: &Path,
    meta: MetaTable,
    runtime: Handle,
) -> Shared {
    let driver = Driver::new();
    let connect = connect_options(location, options, &driver);
    let writers = Arc::default();
    Shared {
        path: path.to_owned(),
        driver,
        readers: readers(connect.clone().pragma("query_only", "ON")),
        writer: writer(durable(connect), &writers),
        statements: Statements::new(&options.tables, schema::ROW_NUMBER),
        vault: options.tables.vault().clone(),
        meta,
        runtime,
        writes: WriteCounter::default(),
        writers,
    }
}

fn readers(options: SqliteConnectOptions) -> SqlitePool {
    pool().max_connections(READERS).connect_lazy_with(options)
}

fn writer(options: SqliteConnectOptions, writers: &Arc<AtomicU64>) -> SqlitePool {
    let writers = Arc::clone(writers);
    pool()
        .max_connections(1)
        .after_connect(move |connection, _| {
            writers.fetch_add(1, SeqCst);
            Box::pin(async move {
                // With a log, reading and writing can overlap. If it cannot be enabled (a network
                // file system, another process), the vault works as it is, which is as safe. If
                // nothing can be written at all, the first change will report it.
                let _ = connection.execute("PRAGMA journal_mode = WAL").await;
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        // There is no server that could have disconnected.
        .test_before_acquire(false)
        .after_release(|connection, _| {
            Box::pin(async move {
                // Whatever the driver assumes, the next user must not find a transaction. SQLite
                // answers a rollback without one with an error of the general class.
                Ok(match connection.execute("ROLLBACK").await {
                    Ok(_) => true,
                    Err(error) => error::primary_code(&error) == Some(error::SQLITE_ERROR),
                })
            })
        })
}

async fn inspect(pool: &SqlitePool, tables: &TableNames) -> Result<Schema, Fault> {
    let mut connection = pool.acquire().await?;
    schema::inspect(&mut connection, tables).await
}

/// A database with a write-ahead log needs files next to it, even for reading. If this user cannot
/// create any, the file may be read as immutable, provided that there are no pending changes next
/// to it.
fn needs_log_files(error: &sqlx::Error) -> bool {
    matches!(error::primary_code(error), Some(SQLITE_CANTOPEN | SQLITE_READONLY))
}

/// Whether a log or a journal may contain part of the database. They are next to the file itself,
/// not next to a link to it. If that cannot be determined, assume so.
fn has_log_or_journal(location: &Path) -> bool {
    let Ok(file) = fs::canonicalize(location) else { return true };
    let is_empty = |ending| match fs::metadata(sibling(&file, ending)) {
        Ok(found) => found.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    !["-wal", "-journal"].into_iter().all(is_empty)
}

/// SQLite finds the log of a database by name: a log under another name of the same file would be
/// missed.
#[cfg(unix)]
fn has_other_names(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.nlink() > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &fs::Metadata) -> bool {
    false
}

/// Creates an empty file that only its owner can read and write. SQLite gives its additional files
/// the same mode.
fn make_file(location: &Path) -> io::Result<()> {
    let mut flags = fs::OpenOptions::new();
    flags.write(true).create_new(true);
    owner_only(&mut flags);
    flags.open(location).map(drop)
}

/// Makes tables and settings in one transaction, and closes the file, so that no log or journal
/// remains.
async fn fill(
    location: &Path,
    options: &SqliteOptions,
    settings: &[(String, String)],
) -> Result<(), Fault> {
    // A file of our own, over which nothing panics.
    let driver = Driver::new();
    let mut connection = durable(connect_options(location, options, &driver)).connect().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    schema::create(&mut transaction, &options.tables).await?;
    let statements = Statements::new(&options.tables, schema::ROW_NUMBER);
    writes::init_settings(&mut transaction, &statements, settings).await?;
    transaction.commit().await.map_err(Fault::Commit)?;
    connection.close().await?;
    Ok(())
}

/// Runs what blocks on a thread of its own: the pool of the runtime panics where the system starts
/// no thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let (answer, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("vaultstore-sqlite".to_owned())
        .spawn(move || drop(answer.send(work())))?;
    receiver.await.map_err(io::Error::other)?
}

#[cfg(unix)]
fn owner_only(flags: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    flags.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut fs::OpenOptions) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn changes_are_looked_for_beside_the_file_and_not_beside_a_link_to_it() {
        for (ending, content, found) in
            [("", "", false), ("-wal", "x", true), ("-journal", "x", true), ("-wal", "", false)]
        {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("v.db");
            fs::write(&file, "").unwrap();
            fs::write(sibling(&file, ending), content).unwrap();
            let link = folder.path().join("elsewhere");
            std::os::unix::fs::symlink(&file, &link).unwrap();
            assert_eq!(has_log_or_journal(&link), found, "{ending:?} {content:?}");
            assert_eq!(has_log_or_journal(&file), found, "{ending:?} {content:?}");
        }
    }
}
