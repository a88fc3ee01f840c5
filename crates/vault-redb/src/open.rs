//! Creating and opening the file of a vault.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, backends::FileBackend};
use vault_files::NewFile;
use vault_store::{FileKind, StoreError};

use crate::RedbOptions;
use crate::error::{self, Fault};
use crate::file::{Access, VaultFile};
use crate::leak::LeakedByPanic;
use crate::schema::{self, Schema};
use crate::shared::{Shared, Verdict, no_panic};
use crate::threads::Threads;
use crate::writes;

/// Creates a new vault with these settings, as a whole or not at all.
pub(crate) fn create(
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
    settings: &[(String, String)],
) -> Result<Shared, StoreError> {
    let new = NewFile::begin(path).map_err(|trouble| error::not_created(trouble, path))?;
    let made = no_panic(|| {
        let mut flags = OpenOptions::new();
        flags.read(true).write(true).create_new(true);
        owner_only(&mut flags);
        let file = flags.open(new.path())?;
        create_in(FileBackend::new(file)?, path, options, threads, settings)
    });
    let shared = made.map_err(|fault| error::creation_failed(fault, path))?;
    // redb has committed and flushed, and continues in the file under its new name.
    new.publish().map_err(|error| error::from_creation(error, path))?;
    Ok(shared)
}

/// Opens a vault after making sure that it is one.
pub(crate) fn open(
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
) -> Result<Shared, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| error::from_open(error, path))?;
    if metadata.is_dir() {
        return Err(error::not_a_vault(path, "a folder"));
    }
    if !metadata.is_file() {
        return Err(error::not_a_vault(path, "neither a file nor a folder"));
    }
    let (mut file, access) = open_file(path).map_err(|error| error::from_open(error, path))?;
    // redb would create a new database in an empty file.
    match kind_of(&mut file).map_err(|error| error::from_open(error, path))? {
        FileKind::Redb => {}
        other => return Err(error::not_a_vault(path, &other.to_string())),
    }
    let opened = no_panic(|| {
        let file = FileBackend::new(file)?;
        open_in(file, access, path, options, threads)
    });
    match opened.map_err(|fault| fault.into_store_error(path))? {
        Opened::Vault(shared) => Ok(shared),
        Opened::Other(Schema::Newer(version)) => Err(error::newer_schema(path, version)),
        Opened::Other(Schema::Foreign) => {
            Err(error::not_a_vault(path, "a redb file of another program"))
        }
        Opened::Other(Schema::Damaged | Schema::Ours) => Err(error::damaged_schema(path)),
    }
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
    Other(Schema),
}

/// Creates a vault on an empty backend.
pub(crate) fn create_in(
    backend: impl StorageBackend,
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
    settings: &[(String, String)],
) -> Result<Shared, Fault> {
    let file = VaultFile::held_back(backend, Access::ReadWrite);
    file.release()?;
    let shared = Shared::new(database_on(&file, options)?, file, path, threads);
    shared.write(|transaction| {
        schema::create(transaction)?;
        writes::init_settings(transaction, settings)?;
        Ok(Verdict::Commit(()))
    })?;
    Ok(shared)
}

/// Opens a vault on a backend, without writing to it before it is known to hold one. If it is
/// opened for reading only, nothing is ever written: what redb repairs after a crash stays in
/// memory.
pub(crate) fn open_in(
    backend: impl StorageBackend,
    access: Access,
    path: &Path,
    options: &RedbOptions,
    threads: Threads,
) -> Result<Opened, Fault> {
    let file = VaultFile::held_back(backend, access);
    let database = database_on(&file, options)?;
    let transaction = LeakedByPanic::new(database.get()?.begin_read()?);
    let schema = schema::inspect(transaction.get()?)?;
    drop(transaction);
    let shared = Shared::new(database, file.clone(), path, threads);
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

fn kind_of(file: &mut File) -> io::Result<FileKind> {
    let mut start = Vec::with_capacity(FileKind::MAGIC_LEN);
    file.take(FileKind::MAGIC_LEN as u64).read_to_end(&mut start)?;
    Ok(FileKind::of(&start))
}

#[cfg(unix)]
fn owner_only(flags: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    flags.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}
