//! The embedded backend of vaultstore: a vault is one file, written by [redb](https://docs.rs/redb), with no server.
//!
//! Choose it when one program on one machine keeps the vault: nothing is to be installed or run, and a backup is a
//! copy of the closed file. Choose a server's database when several programs or machines write at a time.
//!
//! # What it guarantees
//!
//! - **Atomic and durable.** Each call of [`VaultStore`] is one transaction, a whole batch included, with durability
//!   *immediate* and a two-phase commit: when the future resolves the change is flushed to the disk, and a crash at any
//!   moment leaves the state before the call or after it. Two phases cost a second flush per commit; in exchange
//!   recovery never has to guess from checksums which state is the newest, even when the file's contents are chosen by
//!   an attacker.
//! - **Nothing half known.** A failed call says what is certain: an error changed nothing, except
//!   [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome), which is given only when the deciding write of a
//!   commit had been attempted, and a panic of redb over a damaged file.
//! - **Cancellable.** A call whose future is dropped runs to its end in the background or never starts.
//! - **One process at a time.** The file is locked as long as it is open; a second opener is told
//!   [`Locked`](vault_store::StoreErrorKind::Locked). The lock goes with the process, also on a crash. A call still
//!   running in the background after its future was dropped keeps the file open until it ends.
//! - **Looking does not touch.** Opening a file that is not a vault, or a vault of a newer version, changes not one
//!   byte of it, even where redb would have repaired it.
//! - **Private.** A new file has the mode 0600 from its first moment, whatever the umask.
//! - **Damage is an error.** What redb finds corrupted, also where it panics over it, is reported as
//!   [`Corrupt`](vault_store::StoreErrorKind::Corrupt); after a panic or a failure of the disk the store refuses to go
//!   on until it is opened again. Such a panic still passes the program's panic hook, which by default prints it. Pages
//!   are not checked on every read: a damaged envelope is found by its own authentication tag.
//!
//! # What it does not do
//!
//! An envelope that was replaced or deleted stays in the file's free pages until they are used again. After a rekey
//! because a password leaked, copy the vault to a new file and destroy the old one; neither reaches backups, nor blocks
//! that the disk itself put aside.
//!
//! # Threads
//!
//! redb blocks, so every call hops once to the thread pool of the `blocking` crate, which needs no particular
//! executor; nothing blocks in an `async fn`. Dropping the last handle closes the file, which takes milliseconds.
//!
//! # Example
//!
//! ```
//! use vault_store::{RecordSource, VaultStore};
//! use vault_redb::{RedbOptions, RedbStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vault.redb");
//! # futures::executor::block_on(async {
//! let store = RedbStore::create(&path, RedbOptions::default()).await?;
//! assert_eq!(store.count().await?, 0);
//! # Ok::<(), vault_store::StoreError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod file;
mod open;
mod queries;
mod reads;
mod record;
mod schema;
mod shared;
mod writes;

#[cfg(test)]
mod faults;

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use async_trait::async_trait;
use vault_store::{
    DeleteOutcome, InsertOutcome, PageLimit, Purge, PutSetting, Query, Record, RecordId,
    RecordSink, RecordSource, RecordUpdate, Replacement, SealedRecord, StoreError, Timestamp,
    Token, VaultStore, WriteCount, WriteOutcome,
};

use crate::error::Fault;
use crate::shared::Shared;

/// A vault in one redb file. Clones share the file; it is closed when the last one is dropped.
///
/// # Cancel safety
/// Every method may be dropped at any time: what it was to do is then done wholly or not at all.
#[derive(Clone, Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
}

/// How a vault is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedbOptions {
    /// The most memory that redb takes for pages, in bytes: 32 MiB by default.
    ///
    /// redb's own default of 1 GiB would in time hold all pages of a million records in memory, where a rekey
    /// promises to stay below 200 MiB. A rekey passes over the file from end to end, so a larger cache gains it nothing: measured
    /// with a million records of 600 bytes in pages of 16,384, reading and rewriting took as long with 32 MiB as with
    /// 64 or 96, and the whole process 100 to 135 MiB instead of up to 200 or 230.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 * 1024 * 1024 }
    }
}

impl RedbStore {
    /// Makes an empty vault in a new file, which only its owner may read and write (mode 0600).
    ///
    /// # Errors
    /// [`AlreadyExists`](vault_store::StoreErrorKind::AlreadyExists) when there is anything at the path, a symbolic
    /// link that leads nowhere included. On any error no file is left behind.
    pub async fn create(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let shared = blocking::unblock(move || open::create(&path, &options)).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a vault and locks it; after a crash redb recovers it first, which reads the whole file once.
    ///
    /// # Errors
    /// `NotFound`, `NotAVault`, `NewerSchema`, `Denied`, `Locked` or `Corrupt` of [`vault_store::StoreErrorKind`]: what the
    /// file is. With any of them the file is as it was before.
    pub async fn open(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let shared = blocking::unblock(move || open::open(&path, &options)).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The vault's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Runs one operation on the blocking pool, the one hop per call.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking::unblock(move || shared.guard(operation)).await
    }
}

#[async_trait]
impl RecordSource for RedbStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.run(move |shared| shared.read(|read| reads::sealed_page(read, after.as_ref(), limit)))
            .await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.run(move |shared| shared.read(|read| reads::sealed_records(read, &ids))).await
    }
}

#[async_trait]
impl RecordSink for RedbStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.run(move |shared| shared.write(|write| writes::batch(write, &batch))).await
    }
}

#[async_trait]
impl VaultStore for RedbStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.run(move |shared| shared.write(|write| writes::insert(write, &records))).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let tokens = tokens.to_vec();
        self.run(move |shared| shared.read(|read| reads::find(read, &tokens))).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError> {
        let query = query.clone();
        self.run(move |shared| shared.read(|read| queries::query(read, &query, now))).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.run(move |shared| shared.read(|read| queries::count(read, &query, now))).await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.run(move |shared| shared.write(|write| writes::update(write, change))).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        let id = id.clone();
        self.run(move |shared| shared.write(|write| writes::delete(write, &id))).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let after = after.cloned();
        self.run(move |shared| {
            shared.write(|write| writes::purge(write, purge, now, after.as_ref(), limit))
        })
        .await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, StoreError> {
        let after = after.cloned();
        self.run(move |shared| shared.read(|read| reads::record_page(read, after.as_ref(), limit)))
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.run(move |shared| shared.read(|read| reads::setting(read, &name))).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.run(|shared| shared.read(reads::settings)).await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.run(move |shared| shared.write(|write| writes::put_setting(write, &name, &value, put)))
            .await
    }

    /// Nobody else can have the file open: `external` stays 0.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        let count = self.shared.writes().count();
        Ok(count.map(|local| WriteCount { local, external: 0 }))
    }
}
