//! Creating and opening the file of a vault.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, backends::FileBackend};
use vault_store::StoreError;

use crate::RedbOptions;
use crate::error::{self, Fault};
use crate::file::VaultFile;
use crate::schema::{self, Schema};
use crate::shared::{Shared, Verdict, no_panic};

/// Creates a new vault, and removes the file again if that fails.
pub(crate) fn create(path: &Path, options: &RedbOptions) -> Result<Shared, StoreError> {
    let mut flags = OpenOptions::new();
    // Exclusive: fails if anything exists at the path, and follows no symbolic link.
    flags.read(true).write(true).create_new(true);
    owner_only(&mut flags);
    let file = flags.open(path).map_err(|error| error::from_open(error, path))?;
    let made = no_panic(|| {
        let shared = create_in(FileBackend::new(file)?, path, options)?;
        sync_folder_of(path)?;
        Ok(shared)
    });
    made.map_err(|fault| {
        // This is the file created above. If it cannot be removed, the original error is still the
        // one to report.
        let _ = fs::remove_file(path);
        fault.into_store_error(path)
    })
}

/// Opens a vault after making sure that it is one.
pub(crate) fn open(path: &Path, options: &RedbOptions) -> Result<Shared, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| error::from_open(error, path))?;
    if metadata.is_dir() {
        return Err(error::not_a_vault(path, "a folder"));
    }
    if !metadata.is_file() {
        return Err(error::not_a_vault(path, "neither a file nor a folder"));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| error::from_open(error, path))?;
    // redb would create a new database in an empty file.
    if !starts_with_magic(&mut file).map_err(|error| error::from_open(error, path))? {
        return Err(error::not_a_vault(path, "a file of another kind"));
    }
    let opened = no_panic(|| {
        let file = FileBackend::new(file)?;
        open_in(file, path, options)
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
) -> Result<Shared, Fault> {
    let file = VaultFile::held_back(backend);
    file.release()?;
    let shared = Shared::new(database_on(&file, options)?, file, path);
    shared.write(|transaction| schema::create(transaction).map(Verdict::Commit))?;
    Ok(shared)
}

/// Opens a vault on a backend, without writing to it before it is known to hold one.
pub(crate) fn open_in(
    backend: impl StorageBackend,
    path: &Path,
    options: &RedbOptions,
) -> Result<Opened, Fault> {
    let file = VaultFile::held_back(backend);
    let database = database_on(&file, options)?;
    let schema = schema::inspect(&database.begin_read()?)?;
    let shared = Shared::new(database, file.clone(), path);
    if schema != Schema::Ours {
        return Ok(Opened::Other(schema));
    }
    file.release()?;
    Ok(Opened::Vault(shared))
}

fn database_on(file: &VaultFile, options: &RedbOptions) -> Result<Database, Fault> {
    // "create" is redb's only way to open a backend for writing; both callers know what the file
    // contains.
    Ok(Builder::new().set_cache_size(options.cache_bytes).create_with_backend(file.clone())?)
}

fn starts_with_magic(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::with_capacity(schema::MAGIC.len());
    file.take(schema::MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == schema::MAGIC)
}

#[cfg(unix)]
fn owner_only(flags: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    flags.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

/// A new file is durable only once its directory entry is.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}
