//! The embedded backend of vaultstore: a vault in one file, managed by
//! [redb](https://docs.rs/redb), without a server.
//!
//! Choose it if one program on one machine uses the vault: there is nothing to install or run, and
//! a backup is a copy of the closed file. Choose a database server if several programs or machines
//! write at the same time.
//!
//! # Guarantees
//!
//! - **Atomic and durable.** Each call of [`VaultStore`], including a whole batch, is one
//!   transaction with *immediate* durability and a two-phase commit. When the future resolves, the
//!   change has been flushed to disk. A crash at any moment leaves the state from before or after
//!   the call. Two phases cost a second flush per commit; in exchange, recovery never has to guess
//!   from checksums which state is the newest, even if an attacker chose the contents of the file.
//! - **Certain outcomes.** A failed call changed nothing, with two exceptions:
//!   [`UnknownOutcome`](vault_store::StoreErrorKind::UnknownOutcome), which is returned only if the
//!   deciding write of a commit was attempted, and a panic of redb over a damaged file.
//! - **Cancellable.** A call whose future is dropped either completes in the background or never
//!   starts.
//! - **One process at a time.** The file is locked while it is open; a second opener gets
//!   [`Locked`](vault_store::StoreErrorKind::Locked). The lock disappears with the process, even
//!   after a crash. A call that still runs in the background after its future was dropped keeps the
//!   file open until it ends.
//! - **Opening does not modify.** Opening a file that is not a vault, or a vault of a newer
//!   version, changes no byte of it, even where redb would have repaired it.
//! - **Created as a whole.** A new vault is created in a folder next to its path, flushed, and then
//!   renamed. If the process is killed or the power fails at any moment, there is a complete vault
//!   at the path, or nothing.
//! - **Private.** A new file has mode 0600 from the start, whatever the umask.
//! - **Damage is an error.** Corruption that redb detects, even by a panic, is reported as
//!   [`Corrupt`](vault_store::StoreErrorKind::Corrupt). After a disk failure, the store refuses
//!   further calls until it is reopened. After a panic, its handle on the file, including the lock,
//!   is leaked on purpose until the process ends: redb's state is neither used again nor closed.
//!   Pages are not verified on every read: a damaged envelope is detected by its own authentication
//!   tag.
//! - **Bounded memory for hostile files.** redb reads a row whole before its length is known. A
//!   file that names a page of more than 64 MiB, which no vault needs, is `Corrupt`, and nothing of
//!   that page is loaded. Such a row stops the whole vault, because redb cannot pass over a page.
//! - **Read-only files can be read.** A file that this user cannot write to, or that lies on a
//!   read-only file system, can be opened, together with other readers of it. Changes fail with
//!   [`Denied`](vault_store::StoreErrorKind::Denied). After a crash, redb repairs it in memory.
//!
//! # What a thief of the file learns about a rekey
//!
//! A replaced or deleted envelope stays in the file's free pages until these are reused, and a
//! rewritten page moves. So the file tells, for most records, whether a rekey replaced them.
//!
//! [`scrub`](VaultStore::scrub) ends that: it writes every row, in the order of the ids, into a new
//! file that takes the place of this one in one step. [`stage`](VaultStore::stage) lets a rekey
//! write into that file directly. A process that opened the path before, and gets the lock
//! afterwards, notices and opens it again. Nothing reaches backups, snapshots, and blocks that the
//! disk or the file system has put aside; the report says what was done with the blocks of the old
//! file.
//!
//! # Threads
//!
//! redb blocks, so every call runs on one of the store's own threads, which works with any
//! executor; nothing blocks in an `async fn`. A store starts one thread when it is opened, and up
//! to eight while calls wait. If the system cannot start the first one, opening fails. Dropping the
//! last handle closes the file, which takes milliseconds; [`close`](VaultStore::close) does it on a
//! thread.
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

mod contents;
mod error;
mod file;
mod leak;
mod open;
mod pages;
mod queries;
mod reads;
mod rebuild;
mod record;
mod schema;
mod shared;
mod staged;
mod threads;
mod writes;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod power;

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use async_trait::async_trait;
use redb::{ReadTransaction, WriteTransaction};
use vault_store::{
    DeleteOutcome, InsertOutcome, Page, PageLimit, Purge, PutSetting, Query, Record, RecordHead,
    RecordId, RecordSink, RecordSource, RecordUpdate, Replacement, ScrubOptions, ScrubReport,
    SealedRecord, StagedStore, StoreError, Timestamp, Token, VaultStore, WriteCount, WriteOutcome,
};

use crate::error::Fault;
use crate::shared::{Shared, Verdict};
use crate::threads::{Threads, Work};

/// A vault in one redb file. Clones share the file, which is closed when the last one is dropped.
///
/// # Cancel safety
/// Every method can be dropped at any time: its operation is then done completely or not at all.
#[derive(Clone, Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
}

/// Options for opening a vault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Maximum memory for redb's page cache, in bytes. Default: 32 MiB.
    ///
    /// redb's own default of 1 GiB would eventually hold all pages of a million records in memory,
    /// although a rekey promises to stay below 200 MiB. A rekey scans the file from end to end, so
    /// a larger cache does not help. Measured with a million records of 600 bytes in pages of
    /// 16,384, reading and rewriting took as long with 32 MiB as with 64 or 96, and the whole
    /// process 100 to 135 MiB instead of up to 200 or 230.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 * 1024 * 1024 }
    }
}

impl RedbOptions {
    /// Sets the memory that redb may use for pages, in bytes.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }
}

impl RedbStore {
    /// Creates an empty vault in a new file that only its owner can read and write (mode 0600).
    ///
    /// # Errors
    /// [`AlreadyExists`](vault_store::StoreErrorKind::AlreadyExists) if anything exists at the
    /// path, including a dangling symbolic link, except what a creation that was broken off may
    /// have left: an empty file, one of zeros, one with nothing but a header, or a redb file
    /// without any table; `Locked` if another process is creating the same file. On any error, no
    /// file is left behind. A process that is killed leaves no file at the path either. It may
    /// leave a folder next to it, which the next call for this path reuses.
    pub async fn create(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        Self::create_with(path, options, &[]).await
    }

    /// As [`create`](Self::create), with these settings: the file appears with all of them or not
    /// at all.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_with(
        path: impl AsRef<Path>,
        options: RedbOptions,
        settings: &[(String, String)],
    ) -> Result<Self, StoreError> {
        let settings = settings.to_vec();
        let create =
            move |path: &Path, threads: Threads| open::create(path, &options, threads, &settings);
        Self::on_threads(path.as_ref(), create).await
    }

    /// Opens a vault and locks it. After a crash, redb first recovers it, which reads the whole
    /// file once.
    ///
    /// # Errors
    /// `NotFound`, `NotAVault`, `NewerSchema`, `Denied`, `Locked` or `Corrupt` of
    /// [`vault_store::StoreErrorKind`], depending on the file, which is left unchanged.
    pub async fn open(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        let open = move |path: &Path, threads: Threads| open::open(path, &options, &threads);
        Self::on_threads(path.as_ref(), open).await
    }

    async fn on_threads(
        path: &Path,
        open: impl FnOnce(&Path, Threads) -> Result<Shared, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let threads = Threads::start()
            .map_err(|error| vault_store::no_thread(&path.display()).with_source(error))?;
        let (owned, kept) = (path.to_owned(), threads.clone());
        let opened = threads.run(Work::Write, move || open(&owned, kept)).await;
        let shared = opened.unwrap_or_else(|| Err(Fault::Panicked.into_store_error(path)))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the path of the vault's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(Work::Read, move |shared| shared.read(work)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(Work::Write, move |shared| shared.write(work)).await
    }

    /// Runs one operation on the store's threads, one hop per call.
    async fn run<T: Send + 'static>(
        &self,
        work: Work,
        operation: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let answer = self.shared.threads().run(work, move || shared.guard(operation)).await;
        answer.unwrap_or_else(|| Err(self.shared.failed(Fault::Panicked)))
    }
}

#[async_trait]
impl RecordSource for RedbStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.read(move |read| reads::sealed_page(read, after.as_ref(), limit)).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |read| reads::sealed_records(read, &ids)).await
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        let after = after.cloned();
        self.read(move |read| reads::heads_page(read, after.as_ref(), limit)).await
    }
}

#[async_trait]
impl RecordSink for RedbStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.write(move |write| writes::batch(write, &batch)).await
    }
}

#[async_trait]
impl VaultStore for RedbStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.write(move |write| writes::insert(write, &records)).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let tokens = tokens.to_vec();
        self.read(move |read| reads::find(read, &tokens)).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        let query = query.clone();
        self.read(move |read| queries::query(read, &query, now)).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.read(move |read| queries::count(read, &query, now)).await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.write(move |write| writes::update(write, change)).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        let id = id.clone();
        self.write(move |write| writes::delete(write, &id)).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let after = after.cloned();
        self.write(move |write| writes::purge(write, purge, now, after.as_ref(), limit)).await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<Record>, StoreError> {
        let after = after.cloned();
        self.read(move |read| reads::record_page(read, after.as_ref(), limit)).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read(move |read| reads::setting(read, &name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.read(reads::settings).await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |write| writes::put_setting(write, &name, &value, put)).await
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        let settings = settings.to_vec();
        self.write(move |write| writes::init_settings(write, &settings)).await
    }

    /// No one else can have the file open: `external` stays 0.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        let count = self.shared.writes().count();
        Ok(count.map(|local| WriteCount { local, external: 0 }))
    }

    /// Replaces the file by a new one. Refused for a symbolic link, a file with another name (a
    /// hard link), one that also holds tables of another program, and one whose owner, mode or
    /// attributes a new file cannot be given.
    async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.run(Work::Write, move |shared| {
            if shared.is_rebuilding() {
                return Err(Fault::Rebuilding);
            }
            rebuild::scrub(shared, options)
        })
        .await
    }

    async fn stage(&self) -> Result<Arc<dyn StagedStore>, StoreError> {
        Ok(Arc::new(staged::Staged::begin(self).await?))
    }

    async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        // What redb cannot write any more it recovers when the vault is opened the next time.
        let _ = self.shared.threads().run(Work::Write, move || shared.close()).await;
    }
}
