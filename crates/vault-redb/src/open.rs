//! Creating and opening the file of a vault.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, backends::FileBackend};
use vault_files::{Identity, NewFile, is_leftover};
use vault_store::{FileKind, StoreError};

use crate::RedbOptions;
use crate::error::{self, Fault};
use crate::file::{Access, VaultFile};
use crate::leak::LeakedByPanic;
use crate::schema::{self, Schema};
use crate::shared::{Open, Shared, Verdict, no_panic};
use crate::threads::Threads;
use crate::writes;

/// How often to open a path again at which another file has appeared meanwhile.
const MOST_ATTEMPTS: usize = 8;

/// Creates a new vault with these settings, as a whole or not at all. A file at the path that holds
/// nothing, because its creation was broken off, is replaced.
pub(crate) fn create(
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
    settings: &[(String, String)],
) -> Result<Shared, StoreError> {
    let is_left = |path: &Path| is_leftover(path, header_len) || is_without_tables(path, options);
    let new =
        NewFile::begin(path, &is_left).map_err(|trouble| error::not_created(trouble, path))?;
    let made = no_panic(|| {
        let mut flags = OpenOptions::new();
        flags.read(true).write(true).create_new(true);
        owner_only(&mut flags);
        let file = flags.open(new.path())?;
        let disk = file.try_clone()?;
        create_in(FileBackend::new(file)?, Some(disk), path, options, threads, settings)
    });
    let shared = made.map_err(|fault| error::creation_failed(fault, path))?;
    // redb has committed and flushed, and continues in the file under its new name.
    new.publish(&is_left).map_err(|error| error::from_creation(error, path))?;
    Ok(shared)
}

/// Opens a vault after making sure that it is one.
///
/// Another process may put a new file at the path between the moment at which this one opens the
/// old one and the moment at which it has the lock. So the path is looked at once more.
pub(crate) fn open(
    path: &Path,
    options: &RedbOptions,
    threads: &Threads,
) -> Result<Shared, StoreError> {
    let mut opened = None;
    for _ in 0..MOST_ATTEMPTS {
        let (outcome, is_current) = open_what_is_there(path, options, threads.clone());
        if is_current {
            return outcome;
        }
        opened = Some(outcome);
    }
    match opened {
        Some(Err(error)) => Err(error),
        _ => Err(error::replaced_too_often(path)),
    }
}

/// Opens the file that is at a path now, and returns whether it was still there at the end.
fn open_what_is_there(
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
) -> (Result<Shared, StoreError>, bool) {
    let failed = |error: io::Error| (Err(error::from_open(error, path)), true);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failed(error),
    };
    if metadata.is_dir() {
        return (Err(error::not_a_vault(path, "a folder")), true);
    }
    if !metadata.is_file() {
        return (Err(error::not_a_vault(path, "neither a file nor a folder")), true);
    }
    let (mut file, access) = match open_file(path) {
        Ok(opened) => opened,
        Err(error) => return failed(error),
    };
    let identity = match Identity::of(&file) {
        Ok(identity) => identity,
        Err(error) => return failed(error),
    };
    let is_current = || Identity::at(path).is_ok_and(|there| there.is_same_file(&identity));
    // redb would create a new database in an empty file.
    match kind_of(&mut file) {
        Ok(FileKind::Redb) => {}
        Ok(other) => return (Err(error::not_a_vault(path, &other.to_string())), is_current()),
        Err(error) => return failed(error),
    }
    let opened = no_panic(|| {
        let disk = file.try_clone()?;
        let file = FileBackend::new(file)?;
        open_in(file, Some(disk), access, &is_current, path, options, threads)
    });
    let outcome = match opened.map_err(|fault| fault.into_store_error(path)) {
        Err(error) => Err(error),
        Ok(Opened::Vault(shared)) => return (Ok(shared), true),
        Ok(Opened::Replaced) => return (Err(error::replaced_too_often(path)), false),
        Ok(Opened::Other(Schema::Newer(version))) => Err(error::newer_schema(path, version)),
        Ok(Opened::Other(Schema::Foreign)) => {
            Err(error::not_a_vault(path, "a redb file of another program"))
        }
        Ok(Opened::Other(Schema::Damaged | Schema::Ours)) => Err(error::damaged_schema(path)),
    };
    (outcome, is_current())
}

/// Opens a file for reading only where it may not be written.
fn open_file(path: &Path) -> io::Result<(File, Access)> {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok((file, Access::ReadWrite)),
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
            Ok((File::open(path)?, Access::ReadOnly))
        }
        Err(error) => Err(error),
    }
}

/// What an open file turned out to be.
pub(crate) enum Opened {
    Vault(Shared),
    /// Another file has taken its place meanwhile; nothing was written to it.
    Replaced,
    Other(Schema),
}

/// Creates a vault on an empty backend.
pub(crate) fn create_in(
    backend: impl StorageBackend,
    disk: Option<File>,
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
    settings: &[(String, String)],
) -> Result<Shared, Fault> {
    let shared = Shared::new(empty_in(backend, disk, options)?, path, options, threads);
    shared.write(|transaction| {
        schema::create(transaction)?;
        writes::init_settings(transaction, settings)?;
        Ok(Verdict::Commit(()))
    })?;
    Ok(shared)
}

/// Makes an empty database, without the tables of a vault.
pub(crate) fn empty_in(
    backend: impl StorageBackend,
    disk: Option<File>,
    options: &RedbOptions,
) -> Result<Open, Fault> {
    let file = VaultFile::held_back(backend, Access::ReadWrite);
    file.release()?;
    Ok(Open { database: database_on(&file, options)?, file, disk })
}

/// Opens a vault on a backend, without writing to it before it is known to hold one and to be the
/// one at the path. If it is opened for reading only, nothing is ever written: what redb repairs
/// after a crash stays in memory.
pub(crate) fn open_in(
    backend: impl StorageBackend,
    disk: Option<File>,
    access: Access,
    is_current: &dyn Fn() -> bool,
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
) -> Result<Opened, Fault> {
    let file = VaultFile::held_back(backend, access);
    let database = database_on(&file, options)?;
    let transaction = LeakedByPanic::new(database.get()?.begin_read()?);
    let schema = schema::inspect(transaction.get()?)?;
    drop(transaction);
    let open = Open { database, file: file.clone(), disk };
    let shared = Shared::new(open, path, options, threads);
    if !is_current() {
        return Ok(Opened::Replaced);
    }
    if schema != Schema::Ours {
        return Ok(Opened::Other(schema));
    }
    if access == Access::ReadWrite {
        file.release()?;
    }
    Ok(Opened::Vault(shared))
}

fn database_on(file: &VaultFile, options: &RedbOptions) -> Result<LeakedByPanic<Database>, Fault> {
    // "create" is redb's only way to open a backend for writing; both callers know what the file
    // contains.
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes);
    Ok(LeakedByPanic::new(builder.create_with_backend(file.clone())?))
}

/// The length of redb's header page, if a file has the start of one: the magic number, which redb
/// writes last, or none yet, and the fixed size of its pages.
fn header_len(start: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    const PAGE_SIZE: [u8; 4] = 4096_u32.to_le_bytes();
    let magic = start.get(..9)?;
    let is_redb = FileKind::of(magic) == FileKind::Redb || magic.iter().all(|byte| *byte == 0);
    (is_redb && start.get(12..16)? == PAGE_SIZE).then_some(PAGE)
}

/// Whether a file is a redb database of this user that no one has opened and in which no table was
/// ever created. Nothing is written to it.
fn is_without_tables(path: &Path, options: &RedbOptions) -> bool {
    if !vault_files::is_ours_alone(path) {
        return false;
    }
    let Ok(mut file) = File::open(path) else { return false };
    if !matches!(kind_of(&mut file), Ok(FileKind::Redb)) {
        return false;
    }
    let tables = no_panic(|| {
        let file = VaultFile::held_back(FileBackend::new(file)?, Access::ReadOnly);
        let database = database_on(&file, options)?;
        let transaction = LeakedByPanic::new(database.get()?.begin_read()?);
        schema::has_tables(transaction.get()?)
    });
    matches!(tables, Ok(false))
}

fn kind_of(file: &mut File) -> io::Result<FileKind> {
    let mut start = Vec::with_capacity(FileKind::MAGIC_LEN);
    file.take(FileKind::MAGIC_LEN as u64).read_to_end(&mut start)?;
    Ok(FileKind::of(&start))
}

#[cfg(unix)]
pub(crate) fn owner_only(flags: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    flags.mode(0o600);
}

#[cfg(not(unix))]
pub(crate) fn owner_only(_: &mut OpenOptions) {}
