//! The open database shared by all clones of a store, and the guard around each operation on it.

use std::{
    fs::File,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use vault_store::{StoreError, WriteCounter};

use crate::RedbOptions;
use crate::error::{Fault, Stop};
use crate::file::VaultFile;
use crate::leak::LeakedByPanic;
use crate::threads::Threads;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Shared {
    /// `None` once the store is closed, or stopped by a panic. A rebuild puts another file here.
    open: Mutex<Option<Arc<Open>>>,
    path: PathBuf,
    options: RedbOptions,
    stop: OnceLock<Stop>,
    /// redb has found damage, after which it may refuse writes as if the disk had failed.
    is_damaged: AtomicBool,
    threads: Threads,
    writes: WriteCounter,
    /// Whether a copy is in the making that takes the vault's place, and would lose changes.
    rebuilding: AtomicBool,
}

/// An open file, and the database in it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) database: LeakedByPanic<Database>,
    pub(crate) file: VaultFile,
    /// The file of the system, unless the vault lies elsewhere. It shares the lock.
    pub(crate) disk: Option<File>,
}

/// The outcome of a write transaction.
pub(crate) enum Verdict<T> {
    /// Something changed: commit.
    Commit(T),
    /// Nothing changed: skip the disk flushes.
    Abort(T),
}

impl Shared {
    pub(crate) fn new(open: Open, path: &Path, options: &RedbOptions, threads: Threads) -> Self {
        Self {
            threads,
            open: Mutex::new(Some(Arc::new(open))),
            path: path.to_owned(),
            options: options.clone(),
            stop: OnceLock::new(),
            is_damaged: AtomicBool::new(false),
            writes: WriteCounter::default(),
            rebuilding: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn options(&self) -> &RedbOptions {
        &self.options
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    pub(crate) fn writes(&self) -> &WriteCounter {
        &self.writes
    }

    /// Runs an operation, and stops the store after a serious error or a panic of redb.
    pub(crate) fn guard<T>(
        &self,
        operation: impl FnOnce(&Self) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let fault = match self.stop.get() {
            Some(stop) => Fault::Stopped(*stop),
            None => match no_panic(|| operation(self)) {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            },
        };
        Err(self.failed(fault))
    }

    /// Puts a fault into words. After some, the store answers every later call with why it does not
    /// continue.
    pub(crate) fn failed(&self, fault: Fault) -> StoreError {
        let fault = match fault {
            Fault::Redb(redb::Error::PreviousIo) if self.is_damaged.load(Relaxed) => {
                Fault::Stopped(Stop::Damaged)
            }
            fault => fault,
        };
        if matches!(fault, Fault::Redb(redb::Error::Corrupted(_))) {
            self.is_damaged.store(true, Relaxed);
        }
        if let Some(stop) = fault.stop() {
            // Report the first reason.
            let _ = self.stop.set(stop);
        }
        if matches!(fault, Fault::Panicked) {
            // Leaked on purpose, with the file and its lock: what a panic has left half done in
            // redb's own state is neither used again nor closed, which would write it to the file
            // or panic a second time.
            mem::forget(self.handle().take());
        }
        fault.into_store_error(&self.path)
    }

    /// Closes the file, as soon as the calls that still run have ended.
    pub(crate) fn close(&self) -> Result<(), Fault> {
        let _ = self.stop.set(Stop::Closed);
        let open = self.handle().take();
        no_panic(|| {
            drop(open);
            Ok(())
        })
    }

    /// Runs a separate read transaction: no snapshot outlives the call, so redb can always reuse
    /// freed pages.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let open = self.opened()?;
        let transaction = LeakedByPanic::new(open.database.get()?.begin_read()?);
        work(transaction.get()?)
    }

    /// Runs one write transaction. An error drops it, and with it every change.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, Fault>,
    ) -> Result<T, Fault> {
        let open = self.opened()?;
        if open.file.is_read_only() {
            return Err(Fault::ReadOnly);
        }
        if self.rebuilding.load(SeqCst) {
            return Err(Fault::Rebuilding);
        }
        let _under_way = self.writes.begin();
        let mut transaction = open.database.get()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_two_phase_commit(true);
        let transaction = LeakedByPanic::new(transaction);
        match work(transaction.get()?)? {
            Verdict::Abort(value) => {
                transaction.take()?.abort()?;
                Ok(value)
            }
            Verdict::Commit(value) => {
                open.file.watch_commit();
                transaction.take()?.commit().map_err(|error| open.failed_commit(error.into()))?;
                Ok(value)
            }
        }
    }

    /// Refuses changes from now on; `false` if they are refused already. Runs where changes run, so
    /// none is under way.
    pub(crate) fn keep_changes_out(&self) -> bool {
        !self.rebuilding.swap(true, SeqCst)
    }

    pub(crate) fn let_changes_in(&self) {
        self.rebuilding.store(false, SeqCst);
    }

    pub(crate) fn is_rebuilding(&self) -> bool {
        self.rebuilding.load(SeqCst)
    }

    /// The file that calls work on now.
    pub(crate) fn opened(&self) -> Result<Arc<Open>, Fault> {
        self.handle().clone().ok_or(Fault::Stopped(Stop::Closed))
    }

    /// Lets later calls work on another file; those that run go on with the one that is returned.
    pub(crate) fn go_on_with(&self, open: Open) -> Option<Arc<Open>> {
        self.handle().replace(Arc::new(open))
    }

    fn handle(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn failed_commit(&self, error: redb::Error) -> Fault {
        if self.file.commit_may_have_happened() {
            Fault::CommitInDoubt(error)
        } else {
            Fault::Redb(error)
        }
    }
}

/// Closing writes to the file, over which redb may panic if it is damaged. So it is done on a
/// thread where a panic harms no caller, and waited for: the file can be opened again afterwards.
impl Drop for Shared {
    fn drop(&mut self) {
        let open = self.handle().take();
        if open.is_some() && !self.threads.run_and_wait(move || drop(open)) {
            let _ = self.stop.set(Stop::Damaged);
        }
    }
}

/// Turns a panic of redb, which damaged pages can cause, into an error.
pub(crate) fn no_panic<T>(operation: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // Asserted, because a panic can only leave redb's own state inconsistent, and the store is not
    // used after one.
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or(Err(Fault::Panicked))
}
