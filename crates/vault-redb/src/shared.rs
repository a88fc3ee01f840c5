//! The open database shared by all clones of a store, and the guard around each operation on it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use vault_store::{StoreError, WriteCounter};

use crate::error::{Fault, Stop};
use crate::file::VaultFile;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Shared {
    /// `None` only while being dropped.
    database: Option<Database>,
    file: VaultFile,
    path: PathBuf,
    stop: OnceLock<Stop>,
    writes: WriteCounter,
}

/// The outcome of a write transaction.
pub(crate) enum Verdict<T> {
    /// Something changed: commit.
    Commit(T),
    /// Nothing changed: skip the disk flushes.
    Abort(T),
}

impl Shared {
    pub(crate) fn new(database: Database, file: VaultFile, path: &Path) -> Self {
        Self {
            database: Some(database),
            file,
            path: path.to_owned(),
            stop: OnceLock::new(),
            writes: WriteCounter::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        if let Some(stop) = fault.stop() {
            // Report the first reason.
            let _ = self.stop.set(stop);
        }
        Err(fault.into_store_error(&self.path))
    }

    /// Runs a separate read transaction: no snapshot outlives the call, so redb can always reuse
    /// freed pages.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        work(&self.database()?.begin_read()?)
    }

    /// Runs one write transaction. An error drops it, and with it every change.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Verdict<T>, Fault>,
    ) -> Result<T, Fault> {
        let _under_way = self.writes.begin();
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_two_phase_commit(true);
        match work(&transaction)? {
            Verdict::Abort(value) => {
                transaction.abort()?;
                Ok(value)
            }
            Verdict::Commit(value) => {
                self.file.watch_commit();
                transaction.commit().map_err(|error| self.failed_commit(error.into()))?;
                Ok(value)
            }
        }
    }

    fn failed_commit(&self, error: redb::Error) -> Fault {
        if self.file.commit_may_have_happened() {
            Fault::CommitInDoubt(error)
        } else {
            Fault::Redb(error)
        }
    }

    fn database(&self) -> Result<&Database, Fault> {
        self.database.as_ref().ok_or(Fault::Stopped(Stop::Failed))
    }
}

/// Closing writes to the file, and on a damaged one redb may panic. A drop must not.
impl Drop for Shared {
    fn drop(&mut self) {
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// Turns a panic of redb, which damaged pages can cause, into an error.
pub(crate) fn no_panic<T>(operation: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // Asserted, because a panic can only leave redb's own state inconsistent, and the store is not
    // used after one.
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or(Err(Fault::Panicked))
}
